local life = require "spec.simulation.life"
local seed, n, trace = tonumber(arg[1]), tonumber(arg[2]), arg[3]
local l = life.new(seed, n, nil, trace and print or nil)
local ok, err = xpcall(l.run, debug.traceback, l)
print(ok, err, l.world.violation, l.world.detail, l.steps)
print(table.concat(l.chance:script(), " "))
