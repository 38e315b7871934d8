-- Before 2.0 copas has no timers: the clock is its step. Later it is a thread.
local copas = require "copas"
local task = require "spec.hosts.task"

local done = false
task.start(copas.addthread, function() done = true end)
if copas.running == nil then
  while not done do
    copas.step(0.002)
    task.tick()
  end
else
  copas.addthread(function()
    while not done do
      copas.pause(0.002)
      task.tick()
    end
  end)
  copas.loop()
end
