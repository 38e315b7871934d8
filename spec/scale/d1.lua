-- Campaign D1: workers in every trouble, with the emulator's ledger as the judge.
--   lua spec/scale/d1.lua [EDITS [SECONDS [SEED]]]
-- Five workers make EDITS edits. Until SECONDS are over they are killed and paused past their
-- lease, the database is killed and its connections are cut; then all is left to end. Of what is in
-- doubt each is sent again by consent, which is counted. Judged is:
--   no edit was paid more often than once and its consents
--   every edit has its picture, and every task that was paid for is an edit's, or a stray that is
--   listed, or was in doubt when consent was given
--   the account never had more than its 24 tasks (a 429 would show it)
local core = require "kontext.core"
local emulator = require "spec.support.emulator"
local support = require "spec.scale.support"

local edits, seconds = tonumber(arg[1]) or 2000, tonumber(arg[2]) or 300
local seed = tonumber(arg[3]) or os.time()
math.randomseed(seed)
local workers_at_once = 5
local timeout, lease = 25, 30

support.enter({ ledger_size = 10 * edits })
support.fresh()
support.list("d", edits, " [emulate: slow 1]")
print(("D1: %d edits, %d s of trouble, seed %d"):format(edits, seconds, seed))
print((support.run("enqueue d.jsonl", 300)))

local alive, paused, troubles = {}, {}, {}
local function note(what) troubles[what] = (troubles[what] or 0) + 1 end

local function spawn(n)
  alive[n] = support.spawn(("worker --name w%d --timeout %d --lease %d --max-active 8"):format(n,
    timeout, lease), "worker" .. n)
end

local function sql(text)
  local done, found = pcall(support.sql, text)
  return done and found or nil
end

local turn = 0 -- the first four are one of each kind

local function trouble()
  turn = turn + 1
  local n, dice = math.random(workers_at_once), turn <= 4 and ({ 1, 5, 8, 10 })[turn]
    or math.random(10)
  if dice <= 4 then
    if paused[n] then return end
    support.signal("KILL", alive[n])
    note "killed"
    spawn(n)
  elseif dice <= 7 then
    if paused[n] then return end
    support.signal("STOP", alive[n])
    paused[n] = core.now() + (math.random(2) == 1 and 2 or lease + 3)
    note "paused"
  elseif dice <= 9 then
    sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> "
      .. "pg_backend_pid() AND usename = 'kontext'")
    note "connections cut"
  else
    support.server():stop "immediate"
    core.sleep(1)
    support.server():start()
    note "database killed"
  end
end

local function wake()
  for n, when in pairs(paused) do
    if core.now() >= when then
      support.signal("CONT", alive[n])
      paused[n] = nil
    end
  end
  for n, pid in pairs(alive) do
    if not support.is_alive(pid) then
      note "ended by itself"
      spawn(n)
    end
  end
end

for n = 1, workers_at_once do spawn(n) end
local began = core.now()
local next_trouble = began + 2
while core.now() < began + seconds do
  core.sleep(0.2)
  wake()
  if core.now() >= next_trouble then
    trouble()
    next_trouble = core.now() + 0.5 + 3 * math.random()
  end
end
for n in pairs(paused) do
  support.signal("CONT", alive[n])
  paused[n] = nil
end

-- Left to end; what is in doubt is sent again by consent.
local consents, in_doubt = {}, 0
local stop = core.now() + 400 + edits
while core.now() < stop do
  core.sleep(1)
  wake()
  local open = sql "SELECT count(*) FROM kontext.edits WHERE state NOT IN ('saved', 'ambiguous')"
  local doubtful = sql "SELECT string_agg(key, ' ') FROM kontext.edits WHERE state = 'ambiguous'"
  if open == "0" and doubtful == "" then break end
  if open == "0" and doubtful then
    for key in doubtful:gmatch "%S+" do
      consents[key], in_doubt = (consents[key] or 0) + 1, in_doubt + 1
    end
    support.run "requeue --kind ambiguous --consent"
  end
end
for _, pid in pairs(alive) do support.signal("TERM", pid) end
support.await(30, function()
  for _, pid in pairs(alive) do if support.is_alive(pid) then return false end end
  return true
end)

-- The judge.
local passed, failed = 0, 0
local function judge(what, good, more)
  if good then passed = passed + 1 else failed = failed + 1 end
  print(("%-6s %s%s"):format(good and "ok" or "BROKEN", what, more and ": " .. more or ""))
end

local times, accepted, limited = {}, 0, 0
for _, request in ipairs(support.emulator():requests("POST", "^/v1/flux")) do
  if request.status == 429 then limited = limited + 1 end
  if request.params and request.params.prompt and (request.status == 200 or not request.status) then
    local key = request.params.prompt:match "^%S+"
    times[key], accepted = (times[key] or 0) + 1, accepted + 1
  end
end
local twice = {}
for key, n in pairs(times) do
  if n > 1 + (consents[key] or 0) then twice[#twice + 1] = key .. " " .. n end
end
local totals = support.totals()
for what, n in pairs(troubles) do print(("       %s: %d"):format(what, n)) end
print(("       %d submits, %d accepted, %d refused with 429, %d consents"):format(totals.submits,
  totals.accepted, limited, in_doubt))
judge("no edit is paid more often than once and its consents", #twice == 0,
  table.concat(twice, ", "))
judge("every edit has its picture", support.states() == "saved " .. edits, support.states())
local files = emulator.shell("ls " .. support.folder() .. " | grep -c '^d-.*jpg$'"):match "%d+"
judge("a picture an edit, and no more", tonumber(files) == edits, files .. " files")
local strays = tonumber(support.sql "SELECT count(*) FROM kontext.strays")
judge("what was paid for is saved, a stray, or was given up by consent",
  totals.accepted <= edits + in_doubt and totals.accepted >= edits,
  ("%d accepted, %d saved, %d strays"):format(totals.accepted, edits, strays))
print(("%d passed, %d failed"):format(passed, failed))
if failed > 0 and os.getenv "KEEP" then
  emulator.shell(("cp -r %s %s"):format(support.folder(), os.getenv "KEEP"))
end
support.leave()
os.exit(failed == 0 and 0 or 1)
