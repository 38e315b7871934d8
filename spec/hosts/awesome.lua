-- xvfb-run awesome -c spec/hosts/awesome.lua
local GLib = require("lgi").GLib
local task = require "spec.hosts.task"

GLib.timeout_add(GLib.PRIORITY_DEFAULT, 2, function()
  task.tick()
  return true
end)
task.start(function(fn) coroutine.wrap(fn)() end, awesome.quit)
