--- How a job waits: which loop drives the running coroutine, or none.

local loop = {}

-- The loops, in the order in which they are asked when no `loop` option names one. Each is a module
-- kontext.loop.NAME with running(), which returns whether it drives the running coroutine, and
-- wait(client, seconds, job). The last three only know whether the host has loaded them.
local known = { "run", "cqueues", "ngx", "haproxy", "prosody", "darktable", "mpv", "copas", "uv",
  "glib" }

local adapters = {}

-- Returns the adapter of that name.
local function adapter(name)
  if not adapters[name] then adapters[name] = require("kontext.loop." .. name) end
  return adapters[name]
end

--- Returns whether a client may have this name for its `loop`.
---@param name string
---@return boolean
function loop.is_known(name)
  if name == "yield" then return true end
  local found, one = pcall(adapter, name)
  return found and type(one) == "table"
end

-- Returns whether the caller runs in a coroutine that may be yielded.
local function in_coroutine()
  local co, main = coroutine.running()
  return co ~= nil and not main
end

-- Returns the adapter of the loop that drives the running coroutine, or nil.
local function running()
  for _, name in ipairs(known) do
    if adapter(name).running() then return adapter(name) end
  end
end

local longest = 3600 -- seconds of one blocking wait without a limit

--- Waits until the job may have ended, or `seconds` (nil: no limit) have passed; may return early.
---@param client table
---@param seconds number?
---@param job table
function loop.wait(client, seconds, job)
  local chosen = client:loop()
  if type(chosen) == "function" then return chosen(client, seconds, job) end
  if chosen == "yield" and in_coroutine() then
    client:step()
    if not job:ended() then coroutine.yield(job) end
    return
  end
  if in_coroutine() then
    local found = chosen and chosen ~= "yield" and adapter(chosen) or not chosen and running()
    if found then return found.wait(client, seconds, job) end
  end
  client:poll(seconds or longest)
end

return loop
