-- The recipe of docs/hosts.md: a loop that kontext does not know, libevent's.
local callbacks = require "kontext.loop.callbacks"
local event = require "luaevent.core"
local task = require "spec.hosts.task"

local base = event.new()

local libevent = callbacks {
  watch = function(descriptor, fn)
    local watcher = base:addevent(descriptor, event.EV_READ + event.EV_PERSIST, fn)
    return function() watcher:close() end
  end,
  after = function(seconds, fn)
    local timer
    timer = base:addevent(nil, event.EV_TIMEOUT, function()
      timer = nil -- kept from the collector until now
      fn()
      return event.LEAVE
    end, math.max(seconds, 1e-6))
    return function() if timer then timer:close() end end
  end,
}

local done = false
local clock = base:addevent(nil, event.EV_TIMEOUT, function()
  task.tick()
  return done and event.LEAVE or event.EV_TIMEOUT
end, 0.002)
task.start(function(fn) coroutine.wrap(fn)() end, function() done = true end, libevent.wait)
base:loop()
clock:close()
