local cqueues = require "cqueues"
local task = require "spec.hosts.task"

local loop, done = cqueues.new(), false
loop:wrap(function()
  while not done do
    task.tick()
    cqueues.sleep(0.002)
  end
end)
task.start(function(fn) loop:wrap(fn) end, function() done = true end)
assert(loop:loop())
