-- What the specs of hosts share: is a program there, and how it is run against an emulator.
local emulator = require "spec.support.emulator"
local socket = require "socket"

local support = {}

--- The checkout.
support.root = os.getenv "PWD"

local PATIENCE = 180 -- seconds for one host: more than any takes

--- Photographs: one of 12 megapixels, or $PHOTO, and a smaller one where only the outcome matters.
support.photo = os.getenv "PHOTO" or "/usr/share/backgrounds/sunset_by_Aitzol_Berasategi.jpg"
support.small = "/usr/share/backgrounds/Picture_1A_by_freespace.jpg"

--- Runs a shell's command; returns all it said.
---@param command string
---@return string
function support.shell(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

--- Tells whether "command", or "lua module", is installed.
---@param need string
---@return boolean
function support.is_there(need)
  local lua, module = need:match "^(%S+) (%S+)$"
  local command = module and ("%s -e 'require %q'"):format(lua, module) or "command -v " .. need
  return os.execute(command .. " >/dev/null 2>&1") == true
end

--- Returns a port of 127.0.0.1 that nobody listens on.
---@return integer
function support.free_port()
  local probe = assert(socket.bind("127.0.0.1", 0))
  local _, port = probe:getsockname()
  probe:close()
  return port
end

local runner = {}
runner.__index = runner

--- Begins a run: an empty ledger, an empty folder.
function runner:afresh()
  self.server:forget()
  -- In memory: while others write to it, a disk may take a tenth of a second to sync a picture.
  self.out = self.out or support.shell "mktemp -d -p /dev/shm 2>/dev/null || mktemp -d":match "%S+"
  os.execute(("rm -rf %s && mkdir %s"):format(self.out, self.out))
end

--- Runs a host that finds this build of the module, the emulator, the picture and the folder.
---@param build string
---@param command string
---@return string said
function runner:host(build, command)
  return support.shell(([[
    export KONTEXT_OUT=%s KONTEXT_PHOTO=%s BFL_BASE_URL=%s BFL_API_KEY=spec
    export LUA_PATH="$PWD/lua/?.lua;$PWD/lua/?/init.lua;$PWD/?.lua;;"
    export LUA_CPATH="$PWD/build/%s/?.so;;"
    timeout -k 5 %d %s]]):format(
    self.out, self.photo, self.server.url, build, PATIENCE, command))
end

--- Ends the emulator and removes the folder.
function runner:stop()
  self.server:stop()
  if self.out then os.execute("rm -rf " .. self.out) end
end

--- Makes what runs hosts against an emulator of its own.
---@param photo string  the picture that is edited
---@param options nil|table  the emulator's
---@return table
function support.start(photo, options)
  return setmetatable({ photo = photo, server = emulator.start(options) }, runner)
end

return support
