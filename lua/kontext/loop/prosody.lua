-- Prosody: net.server watches the descriptor; util.async suspends and resumes, be it a runner of
-- Prosody's or a plain coroutine.
local callbacks = require "kontext.loop.callbacks"

local function watch(descriptor, fn)
  local watched = require("net.server").watchfd(descriptor, fn)
  return function() watched:close() end
end

local function after(seconds, fn)
  local timer = require "util.timer"
  local id = timer.add_task(seconds, function() fn() end) -- a number returned would repeat it
  return function() timer.stop(id) end
end

return callbacks {
  running = function() return rawget(_G, "prosody") ~= nil end,
  watch = watch,
  after = after,
  waiter = function() return require("util.async").waiter() end,
}
