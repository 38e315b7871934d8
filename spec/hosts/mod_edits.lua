-- A Prosody module. One edit runs in a plain coroutine, the others in runners of util.async.
local async = require "util.async"
local task = require "spec.hosts.task"
local timer = require "util.timer"

timer.add_task(0, function()
  task.tick()
  return 0.002
end)

local plain = false
timer.add_task(0.1, function()
  task.start(function(fn)
    if plain then return async.runner(fn):run(true) end
    plain = true
    coroutine.wrap(fn)()
  end, function()
    require("util.startup").shutdown()
  end)
end)
