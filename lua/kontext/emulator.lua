--- The API on a loopback port: the same requests and answers, with no key, no network and no cost.

local errors = require "kontext.errors"
local rehearsals = require "kontext.emulator.rehearsals"

local emulator = {}

--- What words in a prompt make an edit end how: { name, about, number } each.
emulator.rehearsals = rehearsals.list

-- Every option and the type it must have.
local OPTIONS = {
  port = "number", host = "string", tls = "boolean", ca_file = "string", ready_after = "number",
  max_active = "number", seed = "number", link_life = "number", credits = "number",
  threads = "number", ledger_size = "number", webhook_signature = "boolean",
  with_parent = "boolean", models = "string",
}

local function check_options(options, more)
  for name, value in pairs(options) do
    local wanted = OPTIONS[name] or more and more[name]
    if not wanted then error(("unknown option '%s'"):format(tostring(name)), 3) end
    if type(value) ~= wanted then
      error(("option '%s' is a %s, not a %s"):format(name, wanted, type(value)), 3)
    end
  end
end

-- Returns nil, the message and an error.
local function failed(message)
  return errors.result(errors.new { kind = "network", message = message })
end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

--- Serves until SIGINT or SIGTERM, in this process. The first line printed is the base URL; with
--- `tls` the second names the file with the certificate to trust.
---
--- port (0: any free one), host ("127.0.0.1"), tls (false), ca_file (where the certificate is
--- written; a temporary file), ready_after (seconds to a picture: 0.5), max_active (24), seed
--- (any), link_life (seconds: as the model's row says), models (a Lua file that is run first, for
--- rows of one's own), credits (1,000,000), threads (that paint: 1), ledger_size (entries kept:
--- 5000), webhook_signature (false: true also signs with X-BFL-Signature), with_parent (false: true
--- also stops when the process that started this one has ended)
---@param options? table
---@return true? stopped, string? message, kontext.Error? err
function emulator.serve(options)
  options = options or {}
  check_options(options)
  if options.models then
    local defined, why = pcall(dofile, options.models)
    if not defined then return failed(tostring(why)) end
  end
  local found, module = pcall(require, "kontext.emulator.server")
  if not found then return failed(module) end
  local server, message = module.new(options)
  if not server then return failed(message) end
  local ca_file = server.pem and (options.ca_file or os.tmpname())
  if ca_file then
    local file, why = io.open(ca_file, "w")
    if not file then return failed(why) end
    file:write(server.pem)
    file:close()
  end
  if not server.near then
    io.stderr:write("kontext emulator: other machines can reach it at this address, and use it "
      .. "without a key: listen at 127.0.0.1 unless that is meant\n")
  end
  io.write(server.url, "\n", ca_file and "certificate: " .. ca_file .. "\n" or "")
  io.flush()
  if not options.with_parent then -- a program that has begun it reads its address
    io.stderr:write("for another terminal:\n  export BFL_BASE_URL=", server.url,
      ca_file and " CURL_CA_BUNDLE=" .. quote(ca_file) or "", "\n")
  end
  server:run(options.with_parent)
  if ca_file and not options.ca_file then os.remove(ca_file) end
  return true
end

-- The interpreter that runs this script, or one of its version.
local function interpreter()
  local running = rawget(_G, "arg")
  local first = 0
  while running and running[first - 1] do first = first - 1 end
  if running and first < 0 and running[first]:match "lua[jit%d.-]*$" then return running[first] end
  return rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "%d+%.%d+"
end

-- A chunk that serves with these options. It finds modules where this Lua finds them; another
-- interpreter is told of our own folder alone.
local function program(options)
  local given = {}
  for name, value in pairs(options) do
    if name ~= "lua" and name ~= "with_parent" then
      given[#given + 1] = ("%s = %s"):format(name,
        type(value) == "string" and ("%q"):format(value) or tostring(value))
    end
  end
  local paths = ("package.path, package.cpath = %q, %q"):format(package.path, package.cpath)
  if options.lua then
    local here = debug.getinfo(1, "S").source:match "^@(.*)kontext/emulator.lua$"
    local ours = ("%s?.lua;%s?/init.lua;"):format(here, here)
    paths = ("package.path = %q .. package.path"):format(ours)
  end
  return ("%s local done, why = require('kontext.emulator').serve { with_parent = true, %s } "
    .. "if not done then print(why) end"):format(paths, table.concat(given, ", "))
end

local running = {}
running.__index = running

--- Stops the emulator and waits until it has ended; a second call does nothing.
function running:stop()
  if not self.pipe then return end
  os.execute(("kill %d 2>/dev/null"):format(self.pid))
  self.pipe:close()
  self.pipe = nil
end

local started = {} -- keeps each alive until the script ends, also where only its URL was kept

-- Calls a function when this Lua ends: a userdata, since tables have no __gc in Lua 5.1.
local function at_end(fn)
  local newproxy = rawget(_G, "newproxy")
  if not newproxy then return setmetatable({}, { __gc = fn }) end
  local guard = newproxy(true)
  getmetatable(guard).__gc = fn
  return guard
end

--- Starts an emulator in a process of its own, so that a script's blocking calls can talk to it,
--- and waits until it listens. Options as for `serve`, and `lua`, the interpreter to run.
---@param options? table
---@return { url: string, ca_file?: string, pid: integer, stop: fun(self) }? emulator
---@return string? message
---@return kontext.Error? err
function emulator.start(options)
  options = options or {}
  check_options(options, { lua = "string" })
  -- The shell tells its number and becomes the interpreter: the number stays.
  local pipe, message = io.popen(("echo $$; exec %s -e %s")
    :format(quote(options.lua or interpreter()), quote(program(options))), "r")
  if not pipe then return failed(message) end
  local self = setmetatable({ pipe = pipe, pid = tonumber(pipe:read "*l") }, running)
  self.url = pipe:read "*l" or "the emulator did not start: standard error tells why"
  if not self.url:match "^https?://" then
    self:stop()
    return failed(self.url)
  end
  started[#started + 1] = at_end(function() self:stop() end)
  if options.tls then self.ca_file = pipe:read "*l":match "^certificate: (.*)$" end
  return self
end

return emulator
