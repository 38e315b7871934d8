-- In darktable: its clock is another of its Lua threads.
local dt = require "darktable"
local task = require "spec.hosts.task"

local done = false
dt.control.dispatch(function()
  while not done do
    task.tick()
    dt.control.sleep(2)
  end
end)
task.start(dt.control.dispatch, function()
  done = true
  os.execute "kill -KILL $PPID" -- it has no other way out for a script
end)
