-- A busted helper: the collector starts over as soon as it has ended.
collectgarbage("setpause", 0)
collectgarbage("setstepmul", 10000)
