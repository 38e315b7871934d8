-- What a queue in PostgreSQL carries: enqueues COUNT edits, then takes LIVES of them through all
-- their facts as a worker does, with a stand-in for the service that answers at once.
--   kontext queue init --queue URL; lua bench/queue.lua URL [COUNT [LIVES [AT_ONCE]]]
-- COUNT 0: takes LIVES of what is there, and says no more.
local claims = require "kontext.journal.claims"
local core = require "kontext.core"
local postgres = require "kontext.journal.postgres"
local system = require "kontext.system"

local address = arg[1] or error("usage: lua bench/queue.lua URL [COUNT [LIVES [AT_ONCE]]]", 0)
local count, lives = tonumber(arg[2]) or 100000, tonumber(arg[3]) or 2000
local at_once, in_flight = 500, tonumber(arg[4]) or 24

local function memory()
  local text = io.open("/proc/self/status"):read "*a"
  return tonumber(text:match "VmRSS:%s+(%d+)") / 1024
end

local function say(what, n, seconds, ...)
  print(("%-34s %9d in %7.1f s: %7.0f a second"):format(what, n, seconds, n / seconds), ...)
end

local journal = assert(postgres.open(address, system, nil, {
  account = function() return "bench" end, timeout = 300 }))
local db = journal:database()

-- Enqueue.
local began, mark = core.now(), ("%d"):format(os.time())
for first = 1, count, at_once do
  local rows = {}
  for i = first, math.min(count, first + at_once - 1) do
    local key = ("%s-%d"):format(mark, i)
    rows[#rows + 1] = { key = key, identity = key, model = "flux-kontext-pro",
      save_as = "/share/out/" .. key .. ".jpg", params = claims.encode { prompt = "Make it red",
        input_image = { path = ("/share/in/%d.jpg"):format(i) } } }
  end
  assert(claims.add(db, rows))
end
if count > 0 then say("enqueued", count, core.now() - began, ("%.0f MB here"):format(memory())) end

-- A job as the journal sees one.
local Job = {}
Job.__index = Job
function Job:known()
  return { key = self.key, id = self.id, model = "flux-kontext-pro", save_as = self.path,
    polling_url = self.id and "https://api.bfl.ai/v1/get_result?id=" .. self.id, at = "1700000000",
    entry = self.entry }
end
function Job:set_entry(number) self.entry = number end
function Job.ended() return false end

began = core.now()
local done = 0
while done < lives do
  local rows = assert(claims.claim(journal, math.min(in_flight, lives - done)))
  if #rows == 0 then break end
  assert(journal.slots:reserve(#rows) > 0)
  for _, row in ipairs(rows) do
    local job = setmetatable({ key = row.key, path = "/share/out/" .. row.key .. ".jpg" }, Job)
    assert(journal.slots:take(job))
    assert(journal:record(job, "INTENT"))
    assert(select(2, journal:mark(job)) == nil)
    job.id, job.cost = "task-" .. row.id, 4
    assert(journal:record(job, "ACCEPTED"))
    assert(journal:may_save(job))
    assert(journal:record(job, "SAVED", { path = job.path, md5 = "x", size = "1000000" }))
    journal.slots:release(job)
  end
  done = done + #rows
end
journal.slots:give_back_spare()
say("whole lives, one worker", done, core.now() - began, ("%.0f MB here"):format(memory()))

if count == 0 then
  journal:close()
  return
end
began = core.now()
local status = assert(claims.status(db))
print(("status of %.0f rows: %.3f s"):format(status.total, core.now() - began))
for _, row in ipairs(db:run([[SELECT pg_size_pretty(pg_total_relation_size('kontext.edits')) AS all,
  pg_size_pretty(pg_relation_size('kontext.edits')) AS rows]])) do
  print(("on disk: %s, of that the rows %s"):format(row.all, row.rows))
end
journal:close()
