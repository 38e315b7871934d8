local life = require "spec.simulation.life"
local seed, from, to = tonumber(arg[1]), tonumber(arg[2]), tonumber(arg[3])
local kinds, first, edits, uploads, steps = {}, {}, 0, 0, 0
local t = os.clock()
local faults = {}
for n = from, to do
  local l = life.new(seed, n)
  local ok, err = xpcall(l.run, debug.traceback, l)
  local v = not ok and "HARNESS " .. tostring(err):sub(1, 600) or l.world.violation
  edits = edits + #l.ledger.edits
  steps = steps + l.steps
  for k, c in pairs(l.world.faults) do faults[k] = (faults[k] or 0) + c end
  if v then
    kinds[v] = (kinds[v] or 0) + 1
    first[v] = first[v] or (n .. ": " .. tostring(l.world.detail))
  end
end
local s = os.clock() - t
print(("%d lives, %d edits, %d steps, %.1f s, %.0f us an edit, %.0f us a life"):format(to - from + 1, edits, steps, s, s / edits * 1e6, s / (to - from + 1) * 1e6))
local list = {}
for k, c in pairs(kinds) do list[#list + 1] = { k, c } end
table.sort(list, function(a, b) return a[2] > b[2] end)
for _, r in ipairs(list) do print(r[2], r[1], first[r[1]]) end
