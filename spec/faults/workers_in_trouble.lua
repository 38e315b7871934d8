-- D1: workers in every trouble, with the emulator's ledger as the judge. Five workers make edits;
-- meanwhile they are killed and paused past their lease, the database is killed, its disk fills
-- up, and its connections are cut by a proxy and by itself. Then all is left to end. What is in
-- doubt is sent again by consent, which is counted. EDITS, SECONDS (of trouble) and SEED in the
-- environment; KEEP=FOLDER keeps what a failed run left.
local campaign = require "faults.campaign"
local core = require "kontext.core"
local emulator = require "spec.support.emulator"
local support = require "spec.scale.support"

local edits = tonumber(os.getenv "EDITS") or campaign.size(30, 150, 2000)
local seconds = tonumber(os.getenv "SECONDS") or campaign.size(12, 40, 300)
local seed = tonumber(os.getenv "SEED") or os.time()
local workers_at_once = 5
local timeout, lease = 25, 30

local run = campaign.new { id = "D1", title = "workers and a database in every trouble" }

local alive, paused, troubles, proxy_pid = {}, {}, {}, nil

local function note(what) troubles[what] = (troubles[what] or 0) + 1 end

local function spawn(n)
  alive[n] = support.spawn(("worker --name w%d --timeout %d --lease %d --max-active 8"):format(n,
    timeout, lease), "worker" .. n)
end

local function sql(text)
  local done, found = pcall(support.sql, text)
  return done and found or nil
end

-- Puts a proxy between the workers and the database.
local function start_proxy()
  local port_file = support.path "proxy-port"
  proxy_pid = tonumber((emulator.shell(("lua5.4 spec/scale/proxy.lua %d %d %d >%s 2>&1 & echo $!")
    :format(support.server().port, seconds, seed, port_file)):match "%d+"))
  local port = support.await(10, function() return emulator.read(port_file):match "^(%d+)\n" end)
  support.go_via((support.server().tcp_url:gsub(":%d+/", ":" .. port .. "/")))
end

local kinds = {
  function(n)
    if paused[n] then return end
    support.signal("KILL", alive[n])
    note "workers killed"
    spawn(n)
  end,
  function(n)
    if paused[n] then return end
    support.signal("STOP", alive[n])
    paused[n] = core.now() + (math.random(2) == 1 and 2 or lease + 3)
    note "workers paused"
  end,
  function()
    sql("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE pid <> "
      .. "pg_backend_pid() AND usename = 'kontext'")
    note "times all connections ended"
  end,
  function()
    support.server():stop "immediate"
    core.sleep(1)
    support.server():start()
    note "databases killed"
  end,
  function()
    if not support.server().disk then return end
    support.server():fill()
    core.sleep(2 + 2 * math.random())
    support.server():empty()
    if not sql "SELECT 1" then -- what cannot write its log ends itself
      support.server():stop "immediate"
      support.server():start()
    end
    note "full disks"
  end,
}
local shares = { 1, 1, 1, 1, 2, 2, 2, 3, 3, 4, 5 }

local turn = 0 -- the first ones are one of each kind

local function trouble()
  turn = turn + 1
  kinds[kinds[turn] and turn or shares[math.random(#shares)]](math.random(workers_at_once))
end

local function wake(at_once)
  for n, when in pairs(paused) do
    if at_once or core.now() >= when then
      support.signal("CONT", alive[n])
      paused[n] = nil
    end
  end
  for n, pid in pairs(alive) do
    if not support.is_alive(pid) then
      note "workers ended by themselves"
      spawn(n)
    end
  end
end

-- Leaves the workers to end; what is in doubt is sent again by consent. Returns how often each edit
-- was, by key, and how many in all.
local function leave_to_end()
  local consents, in_doubt = {}, 0
  local stop = core.now() + 200 + edits
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
  return consents, in_doubt
end

local function end_workers()
  for _, pid in pairs(alive) do support.signal("TERM", pid) end
  support.await(30, function()
    for _, pid in pairs(alive) do if support.is_alive(pid) then return false end end
    return true
  end)
  for _, pid in pairs(alive) do support.signal("KILL", pid) end
  if proxy_pid then support.signal("TERM", proxy_pid) end
end

-- Returns how many submits the service accepted of each edit, in all, and how many it refused.
local function ledger()
  local times, accepted, limited = {}, 0, 0
  for _, request in ipairs(support.emulator():requests("POST", "^/v1/flux")) do
    if request.status == 429 then limited = limited + 1 end
    local key = request.params and (request.params.prompt or ""):match "^%S+"
    if key and (request.status == 200 or not request.status) then
      times[key], accepted = (times[key] or 0) + 1, accepted + 1
    end
  end
  return times, accepted, limited
end

local function judge(what, good, more)
  if not good then run:violation(what, tostring(more)) end
end

local function judge_all(consents, in_doubt)
  local times, accepted, limited = ledger()
  for key, n in pairs(times) do
    judge("no edit is paid more often than once and its consents", n <= 1 + (consents[key] or 0),
      ("%s: %d times, %d consents"):format(key, n, consents[key] or 0))
  end
  judge("every edit has its picture", support.states() == "saved " .. edits, support.states())
  local files = tonumber((emulator.shell("ls " .. support.folder() .. " | grep -c '^d-.*jpg$'")
    :match "%d+"))
  judge("a picture an edit, and no more", files >= edits and files <= edits + in_doubt
    + (troubles["workers killed"] or 0) * 8, files .. " files")
  local missing = 0
  for path in support.sql("SELECT path FROM kontext.edits"):gmatch "[^\n]+" do
    local info = core.file_info(path)
    if not info or info.bytes == 0 then missing = missing + 1 end
  end
  judge("each row's picture is there", missing == 0, missing .. " are not")
  judge("the account never has more than its 24 tasks", limited == 0, limited .. " were refused")
  judge("what was paid for is saved, a stray, or was given up by consent",
    accepted <= edits + in_doubt and accepted >= edits, ("%d accepted"):format(accepted))
  run.notes = { ("%d edits, %d accepted, %d consents, %s strays"):format(edits, accepted, in_doubt,
    support.sql "SELECT count(*) FROM kontext.strays") }
  local names = {}
  for name in pairs(troubles) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    run.notes[#run.notes + 1] = ("%d %s"):format(troubles[name], name)
  end
end

run:run(function()
  local missing = support.missing()
  if missing then
    run.notes = { "skipped: " .. missing }
    return
  end
  math.randomseed(seed)
  run.limit = seconds
  support.enter({ ledger_size = 10 * edits }, { tcp = true, disk = "260m",
    settings = "max_wal_size = 64MB\nmin_wal_size = 32MB" })
  support.fresh()
  support.list("d", edits, " [emulate: slow 1]")
  support.run("enqueue d.jsonl", 300)
  start_proxy()
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
  wake(true)
  local consents, in_doubt = leave_to_end()
  end_workers()
  run.cases = edits
  judge_all(consents, in_doubt)
  if #run.violations > 0 then
    run:violation("the seed is", tostring(seed))
    if os.getenv "KEEP" then
      emulator.shell(("cp -r %s %s"):format(support.folder(), os.getenv "KEEP"))
    end
  end
  support.leave()
end)
