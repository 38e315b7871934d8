local GLib = require("lgi").GLib
local task = require "spec.hosts.task"

local main = GLib.MainLoop()
GLib.timeout_add(GLib.PRIORITY_DEFAULT, 2, function()
  task.tick()
  return true
end)
task.start(function(fn) coroutine.wrap(fn)() end, function() main:quit() end)
main:run()
