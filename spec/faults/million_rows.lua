-- D3: a queue of many rows in a real database, whose disk is synced. `kontext enqueue` streams the
-- list in, a second time too; then two workers take edits through all their facts, with a stand-in
-- for the service that answers at once (bench/queue.lua). ROWS, LIVES in the environment.
local campaign = require "faults.campaign"
local core = require "kontext.core"
local emulator = require "spec.support.emulator"
local support = require "spec.scale.support"

local rows = tonumber(os.getenv "ROWS") or campaign.size(2000, 20000, 1000000)
local lives = tonumber(os.getenv "LIVES") or campaign.size(200, 2000, 20000)
local workers = 2

local most_memory = 40 -- MB of a process, however many rows there are
local most_statements, most_log = 14, 20000 -- of one life: transactions, bytes of the WAL

local run = campaign.new { id = "D3", title = "a million rows in a real database" }

local function judge(what, good, more)
  if not good then run:violation(what, tostring(more)) end
end

-- Returns a process's peak memory in MB, 0 once it is gone.
local function peak(pid)
  local file = io.open(("/proc/%d/status"):format(pid))
  if not file then return 0 end
  local kilobytes = tonumber(file:read "*a":match "VmHWM:%s*(%d+)") or 0
  file:close()
  return kilobytes / 1024
end

-- Waits for processes; returns how long that took and the peak memory of any of them.
local function wait_for(pids, seconds)
  local began, most = core.now(), 0
  support.await(seconds, function()
    local alive = false
    for _, pid in ipairs(pids) do
      most, alive = math.max(most, peak(pid)), alive or support.is_alive(pid)
    end
    return not alive
  end)
  return core.now() - began, most
end

-- Returns the seconds of processor time that the database has used.
local function processor()
  local pid, ticks = support.server().pid, 0
  local own = emulator.shell(("ps -o pid= --ppid %d -p %d"):format(pid, pid))
  for each in own:gmatch "%d+" do
    local file = io.open("/proc/" .. each .. "/stat")
    if file then
      local fields, n = file:read "*a":match "%) (.*)", 0
      for number in fields:gmatch "%S+" do
        n = n + 1
        local children = each == ("%d"):format(pid) and (n == 14 or n == 15)
        if n == 12 or n == 13 or children then ticks = ticks + tonumber(number) end
      end
      file:close()
    end
  end
  return ticks / 100
end

local function number(sql) return tonumber((support.sql(sql))) end

local function load_so_far()
  support.sql "SELECT pg_stat_clear_snapshot()"
  core.sleep(1.5) -- the server counts with a delay
  return { log = number "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn", processor = processor(),
    done = number "SELECT xact_commit FROM pg_stat_database WHERE datname = 'kontext'" }
end

-- Enqueues the list, which is made while it is read. Returns seconds, memory and what was said.
local function enqueue()
  local list = ("seq 1 %d | awk '{print \"{\\\"key\\\":\\\"m-\" $1 \"\\\",\\\"prompt\\\":\\\""
    .. "Make it red\\\",\\\"input_image\\\":\\\"car.jpg\\\",\\\"save_as\\\":\\\"m-\" $1 "
    .. "\".jpg\\\"}\"}'"):format(rows)
  local pipe = support.path "pipe"
  os.execute("rm -f " .. pipe .. " && mkfifo " .. pipe)
  os.execute(("(%s) >%s &"):format(list, pipe))
  local pid = support.spawn("enqueue pipe", "enqueued")
  local seconds, memory = wait_for({ pid }, 20000)
  return seconds, memory, emulator.read(support.path "enqueued")
end

local function live()
  local pids = {}
  for i = 1, workers do
    local command = ("lua5.4 bench/queue.lua %s 0 %d %d >%s 2>&1 & echo $!"):format(
      emulator.quote(support.url()), math.floor(lives / workers), 24 / workers,
      support.path("lives" .. i))
    pids[i] = tonumber((emulator.shell(command):match "%d+"))
  end
  local seconds, memory = wait_for(pids, 20000)
  local said = ""
  for i = 1, workers do said = said .. emulator.read(support.path("lives" .. i)) end
  return seconds, memory, said
end

run:run(function()
  local missing = support.missing()
  if missing then
    run.notes = { "skipped: " .. missing }
    return
  end
  support.enter(nil, { settings = "shared_buffers = 128MB\nmax_wal_size = 1GB" })
  support.fresh()

  local seconds, memory, said = enqueue()
  local _
  judge("a row an edit of the list", said == ("kontext: %d added, 0 already there, 0 refused\n")
    :format(rows), said)
  judge("enqueue has flat memory", memory < most_memory, ("%.0f MB"):format(memory))
  run.notes[1] = ("%d rows: %.0f a second, %.0f MB"):format(rows, rows / seconds, memory)
  seconds, _, said = enqueue()
  judge("a second time adds nothing", said == ("kontext: 0 added, %d already there, 0 refused\n")
    :format(rows), said)
  run.notes[2] = ("a second time %.0f a second"):format(rows / seconds)

  local before = load_so_far()
  seconds, memory, said = live()
  local after = load_so_far()
  local saved = number "SELECT count(*) FROM kontext.edits WHERE state = 'saved'"
  judge("each worker makes its share", saved == math.floor(lives / workers) * workers,
    saved .. " saved: " .. said)
  judge("a worker has flat memory", memory < most_memory, ("%.0f MB"):format(memory))
  judge("no slot stays taken", number "SELECT count(*) FROM kontext.slots WHERE lease > now()" == 0)
  local statements = (after.done - before.done) / saved
  local log = (after.log - before.log) / saved
  judge("a life is some statements", statements < most_statements, ("%.1f"):format(statements))
  judge("a life is some KB of log", log < most_log, ("%.0f bytes"):format(log))
  run.notes[3] = ("%d lives: %.0f a second of %d workers, %.0f MB each"):format(saved,
    saved / seconds, workers, memory)
  run.notes[4] = ("a life: %.1f statements, %.1f KB of log, %.1f ms of the database's processor")
    :format(statements, log / 1024, (after.processor - before.processor) / saved * 1000)

  local began = core.now()
  local status = support.run("status --json", 300)
  judge("status counts them all", status:find('"total":' .. rows .. ",", 1, true), status)
  run.notes[5] = ("status in %.1f s"):format(core.now() - began)
  run.notes[6] = support.sql("SELECT 'on disk ' || "
    .. "pg_size_pretty(pg_total_relation_size('kontext.edits'))")
  run.cases = rows
  support.leave()
end)
