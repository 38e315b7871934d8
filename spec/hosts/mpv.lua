-- mpv --script=spec/hosts/mpv.lua
local mp = require "mp"
local task = require "spec.hosts.task"

mp.add_periodic_timer(0.002, task.tick)
task.start(function(fn) coroutine.wrap(fn)() end, function() mp.commandv "quit" end)
