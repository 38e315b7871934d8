local uv = require "luv"
local task = require "spec.hosts.task"

local clock = uv.new_timer()
clock:start(0, 2, task.tick)
task.start(function(fn) coroutine.wrap(fn)() end, function() clock:close() end)
uv.run()
