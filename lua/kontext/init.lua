--- kontext: edit images with words, through BFL's FLUX.1 Kontext API.
---
---   local kontext = require "kontext"
---   local image = assert(kontext.edit{ prompt = "Change the car color to red",
---     input_image = "car.jpg" }:wait())
---   assert(image:save "red-car.jpg")

-- Some programs load their Lua privately, and the C module finds no lua_ function there: only then
-- kontext.promote makes them visible (docs/hosts.md).
local loaded, problem = pcall(require, "kontext.core")
if not loaded and problem:find("undefined symbol: lua", 1, true) then
  pcall(require, "kontext.promote")
end

local core = require "kontext.core" -- first: `make install` lets it bring the others, compiled
local check = require "kontext.job.check"
local client = require "kontext.client.client"
local json = require "kontext.json"
local version = require "kontext.version"

local kontext = {
  _VERSION = "kontext " .. version,
  new = client.new,
  check = check.image,
}

local default -- made on first use

-- The methods of the default client, each under its own name.
for _, name in ipairs { "edit", "erase", "outpaint", "resume", "credits", "batch", "notify",
  "step", "poll", "pollfd", "getfd", "events", "timeout" } do
  kontext[name] = function(...)
    if ... == kontext then
      error(("kontext.%s takes a dot, not a colon"):format(name), 2)
    end
    default = default or client.new(nil, nil, 1)
    local result = default[name](default, ...) -- no tail call: Lua 5.1 would lose the line
    return result
  end
end

--- Closes the default client if there is one; the next call makes another.
function kontext.close()
  local closing = default
  default = nil
  if closing then closing:close() end
end

--- Returns the versions of the module and of the libraries that it uses.
---@return table info {module, lua, libcurl, tls, resolver, poller, json, stb, jpeg}
function kontext.info()
  local info = core.info()
  info.module, info.json = version, json.name
  return info
end

-- Loaded when first asked for: a module, or one function of it. Not all programs receive webhooks,
-- and the emulator needs lua-http.
local later = {
  emulator = { "emulator" },
  estimate = { "estimate", "estimate" },
  models = { "models" },
  webhook = { "webhook" },
  output_size = { "size", "output_size" },
  region = { "job.region", "region" },
  replace_text = { "prompt", "replace_text" },
  run = { "loop.run", "all" },
}

return setmetatable(kontext, {
  __index = function(self, name)
    local where = later[name]
    if not where then return nil end
    local module = require("kontext." .. where[1])
    self[name] = where[2] and module[where[2]] or module
    return self[name]
  end,
})
