-- An emulator for a spec: a process of its own, and its ledger.

local cjson = require "cjson"
local emulator = require "kontext.emulator"

local support = {}

local methods = {}

local function read(command)
  local pipe = assert(io.popen(command, "r"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

-- A curl command for this emulator.
function methods:curl(rest)
  local trust = self.ca_file and "--cacert '" .. self.ca_file .. "' " or ""
  return read("curl -sS --max-time 30 " .. trust .. rest .. " 2>&1")
end

--- What the emulator saw: { totals, requests, tasks, webhooks }.
function methods:ledger()
  return cjson.decode(self:curl("'" .. self.url .. "/_ledger'"))
end

--- Empties the ledger.
function methods:forget() self:curl("-X DELETE '" .. self.url .. "/_ledger'") end

--- The requests seen, those of one method and of paths that match a pattern.
function methods:requests(method, pattern)
  local found = {}
  for _, request in ipairs(self:ledger().requests) do
    if (not method or request.method == method)
      and (not pattern or request.path:find(pattern)) then
      found[#found + 1] = request
    end
  end
  return found
end

function methods:stop() self.process:stop() end

--- Starts an emulator with emulator.start's options; $KONTEXT_EMULATOR_LUA names the interpreter
--- (lua5.4), whichever Lua runs the spec.
---@param options? table
function support.start(options)
  options = options or {}
  options.ready_after = options.ready_after or 0.2
  options.lua = options.lua or os.getenv "KONTEXT_EMULATOR_LUA"
  local process = assert(emulator.start(options))
  return setmetatable({ process = process, url = process.url, ca_file = process.ca_file },
    { __index = methods })
end

return support
