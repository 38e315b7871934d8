-- Debian's copas has no timers: the clock is its step.
local copas = require "copas"
local task = require "spec.hosts.task"

local done = false
task.start(copas.addthread, function() done = true end)
while not done do
  copas.step(0.002)
  task.tick()
end
