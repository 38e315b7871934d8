-- D2: the protocol of the queue in a deterministic simulation. The real claims, facts, fences and
-- slots (lua/kontext/journal) work on a virtual database (spec/simulation/database.lua) with a
-- virtual clock. Workers die and pause between any two statements, also past their lease;
-- connections break before and after a commit; the database goes away; answers of the service are
-- lost. A person consents to what is in doubt once a minute. EDITS, SEED in the environment.
local campaign = require "faults.campaign"
local claims = require "kontext.journal.claims"
local database = require "kontext.journal.database"
local postgres = require "kontext.journal.postgres"
local schema = require "kontext.journal.schema"
local virtual = require "spec.simulation.database"

local rounds = campaign.size(2, 10, 100)
local edits = tonumber(os.getenv "EDITS") or campaign.size(200, 1000, 10000) -- of a round
local seed = tonumber(os.getenv "SEED") or 2026
local workers_at_once, at_once, account_limit = 5, 8, 24
local timeout, lease = 25, 30

local run = campaign.new { id = "D2", title = "the queue's protocol over a virtual database" }

local random = seed
local function roll() -- of our own, so that a round can be repeated
  random = (random * 48271) % 2147483647
  return random / 2147483647
end
local function chance(p) return roll() < p end

local death = {}
local World = {}
World.__index = World

function World:note(what) self.seen[what] = (self.seen[what] or 0) + 1 end

function World:broken(...) run:violation(("seed %d"):format(self.seed), ...) end

-- The service -----------------------------------------------------------------------------------

-- Returns what a submit comes to: "ok" and an id; "lost", "never" or "limited".
function World:submit(key)
  local busy = 0
  for id, task in pairs(self.active) do
    if task.ready <= self.now then self.active[id] = nil elseif task.heard then busy = busy + 1 end
  end
  if chance(0.02 * self.heat) then return "never" end
  if busy >= account_limit then
    self:note "refused with 429"
    return "limited"
  end
  self.accepted[key] = (self.accepted[key] or 0) + 1
  self.tasks = self.tasks + 1
  local id = ("task-%d"):format(self.tasks)
  local task = { id = id, key = key, ready = self.now + 2 + 4 * roll(), heard = true }
  self.active[id], self.all[id] = task, task
  if chance(0.01 * self.heat) then
    task.heard = false
    self:note "answers lost"
    return "lost"
  end
  return "ok", id
end

-- A job, as the journal sees one ----------------------------------------------------------------

local Job = {}
Job.__index = Job

function Job:known()
  return { key = self.key, id = self.id, entry = self.entry, at = "1700000000",
    polling_url = self.id and "https://virtual/" .. self.id }
end
function Job:set_entry(number) self.entry = number end
function Job:ended() return self.over end

-- A worker ---------------------------------------------------------------------------------------

local Worker = {}
Worker.__index = Worker

-- Says what becomes of a statement; here a worker dies or pauses, too.
function Worker:fate(when)
  local world = self.world
  if chance(0.0008 * world.heat) then error(death, 0) end
  if chance(0.0008 * world.heat) then
    world:note "pauses"
    coroutine.yield(chance(0.5) and lease + 2 + 20 * roll() or 3 * roll())
  end
  if when == "after" then return nil end
  if world.now < world.down_until then return "refused" end
  if chance(0.002 * world.heat) then
    world:note "connections broken"
    return chance(0.5) and "lost before" or "lost after"
  end
end

-- Ends a job, as client and worker do.
function Worker:finish(job, fact, err)
  job.error, job.over = err, true
  local journal = self.journal
  if fact then journal:record(job, fact, err and { kind = err.kind }) end
  journal:forget(job)
  journal.slots:release(job)
  self.jobs[job] = nil
  local held = journal:held(job) or journal:all_held()[tonumber(job.row.id)]
  if not err or not held or journal:all_held()[held.number] ~= held then return end
  if held.state == "accepted" then
    journal:release(held, false, 5, job)
  elseif held.state == "claimed" then
    journal:end_unsent(held, job)
  end
end

local stages = {}

function stages.new(self, job)
  local taken = self.journal.slots:take(job)
  if not taken then return 0.3 end
  local done, message, code = self.journal:record(job, "INTENT")
  if done then
    local _
    _, message, code = self.journal:mark(job)
    done = message == nil
  end
  if not done then
    return self:finish(job, "FAILED", { kind = "file", stage = "submit", code = code,
      message = message })
  end
  local what, id = self.world:submit(job.key)
  if what == "ok" then
    job.id, job.cost, job.stage = id, 4, "accepted"
    self.journal:record(job, "ACCEPTED")
    return 2
  elseif what == "lost" then
    return self:finish(job, "AMBIGUOUS", { kind = "ambiguous", message = "no answer" })
  end
  if what == "limited" then self.journal.slots:limited() end
  self.journal:record(job, "UNSENT")
  return self:finish(job, "FAILED", { kind = what == "limited" and "rate_limited" or "network",
    charged = false, message = "not sent" })
end

function stages.accepted(self, job)
  local world = self.world
  if job.resumed and not job.has_slot then
    if not self.journal.slots:take(job) then return 0.3 end
    job.has_slot = true
  end
  if world.now > job.deadline then
    return self:finish(job, nil, { kind = "timeout", message = "too late" })
  end
  if world.all[job.id].ready > world.now then return 0.5 end
  local may, message = self.journal:may_save(job)
  if may == nil then return 1 end
  if not may then return self:finish(job, nil, { kind = "fenced", message = message }) end
  job.path = ("%s-%d"):format(job.key, (world.files[job.key] or 0) + 1) -- the next free name
  world.files[job.key] = (world.files[job.key] or 0) + 1
  world.pictures[job.path] = job.id
  job.stage = "saved"
  return 0
end

function stages.saved(self, job)
  return self:finish2(job)
end

function Worker:finish2(job)
  job.over = true
  self.journal:record(job, "SAVED", { path = job.path, md5 = "x", size = "9" })
  self.journal:forget(job)
  self.journal.slots:release(job)
  self.jobs[job] = nil
end

function Worker:begin(row, fields)
  local job = setmetatable({ row = row, key = row.key, due = self.world.now,
    deadline = self.world.now + timeout }, Job)
  for name, value in pairs(fields) do job[name] = value end
  if job.resumed then
    self.journal:adopt { number = job.entry, key = job.key }
  end
  self.jobs[job], self.order = true, self.order + 1
  job.order = self.order
end

function Worker:beat()
  local journal = self.journal
  local busy = {}
  for job in pairs(self.jobs) do busy[tonumber(job.row.id)] = true end
  journal:let_idle_go(busy)
  local own = claims.heartbeat(journal)
  self.beat_at = self.world.now + (own and lease / 6 or 1)
  if not own then return end
  for _, job in ipairs(self:list()) do
    local held = journal:held(job)
    if held and journal:all_held()[held.number] and not own[held.number]
      and held.state ~= "sending" then
      journal:let_go(held)
      self:finish(job, nil, { kind = "fenced", message = "taken over" })
    end
  end
end

-- Returns the jobs in an order that a seed repeats.
function Worker:list()
  local list = {}
  for job in pairs(self.jobs) do list[#list + 1] = job end
  table.sort(list, function(a, b) return a.order < b.order end)
  return list
end

function Worker:tick()
  local world, journal = self.world, self.journal
  journal:flush()
  if world.now >= self.beat_at then self:beat() end
  local room = at_once - #self:list()
  if world.now >= self.look_at then
    self.look_at = world.now + 0.5 + roll()
    claims.expire(journal:database())
    for _, row in ipairs(room > 0 and claims.adopt(journal, room, "account") or {}) do
      local entry = claims.entry(row)
      self:begin(row, { id = entry.id, entry = entry.number, resumed = true, stage = "accepted" })
      world:note "adopted"
      room = room - 1
    end
  end
  local spare = room > 0 and journal.slots:reserve(room) or 0
  if spare > 0 then
    local rows = claims.claim(journal, math.min(room, spare)) or {}
    for _, row in ipairs(rows) do self:begin(row, { stage = "new" }) end
    if #rows == 0 then journal.slots:give_back_spare() end
  end
  for _, job in ipairs(self:list()) do
    if self.jobs[job] and job.due <= world.now then
      local pause = stages[job.stage](self, job)
      job.due = world.now + (pause or 0)
    end
  end
end

local function new_worker(world, number)
  local self = setmetatable({ world = world, jobs = {}, order = 0, beat_at = 0, look_at = 0,
    wake = world.now }, Worker)
  world.workers = world.workers + 1
  local connection = virtual.connect(world.tables, function(when)
    return self.born and self:fate(when) or nil
  end)
  database.new = function() return connection end
  self.journal = assert(postgres.open("postgres://virtual", { now = function() return world.now end,
    random = roll }, nil, { account = function() return "account" end, timeout = timeout,
    lease = lease, name = ("w%d-%d"):format(number, world.workers) }))
  self.born = true
  self.thread = coroutine.create(function()
    while true do
      self:tick()
      coroutine.yield(0.2)
    end
  end)
  return self
end

-- A round ----------------------------------------------------------------------------------------

local function judge(world)
  local strays = world.tables.strays
  for _, row in ipairs(world.tables.rows) do
    local key = row.key
    local paid, consents = world.accepted[key] or 0, world.consents[key] or 0
    if paid > 1 + consents then
      world:broken(key, "was paid", paid, "times, with", consents, "consents")
    end
    if row.state ~= "saved" then
      world:broken(key, "ended as", row.state)
    elseif not world.pictures[row.path] then
      world:broken(key, "has no picture")
    elseif world.pictures[row.path] ~= row.task then
      world:broken(key, "has another task's picture")
    end
  end
  for id, task in pairs(world.all) do -- what was paid for is somebody's
    local row = world.by_key[task.key]
    if row.task ~= id and not strays[id] and (world.consents[task.key] or 0) == 0 then
      world:broken(id, "of", task.key, "was paid for and is nobody's")
    end
  end
end

local function round(number)
  random = (seed * 7919 + number * 104729) % 2147483646 + 1
  local world = setmetatable({ seed = random, now = 1000, down_until = 0, seen = {}, active = {},
    all = {}, tasks = 0, accepted = {}, consents = {}, files = {}, pictures = {}, workers = 0,
    by_key = {}, heat = ({ 0.3, 1, 3 })[number % 3 + 1] }, World)
  world.tables = virtual.new(function() return world.now end)
  world.tables.on_consent = function(row)
    world.consents[row.key] = (world.consents[row.key] or 0) + 1
  end
  for i = 1, edits do world.tables:add("k" .. i) end
  for _, row in ipairs(world.tables.rows) do world.by_key[row.key] = row end
  local person = virtual.connect(world.tables, function() end)
  local workers = {}
  for i = 1, workers_at_once do workers[i] = new_worker(world, i) end
  local consent_at, stop = world.now + 60, world.now + 1200 + edits * 4
  local left = edits
  while left > 0 and world.now < stop do
    world.now = world.now + 0.1
    if world.down_until < world.now and chance(0.0005 * world.heat) then
      world.down_until = world.now + 20 * roll()
      world:note "databases away"
    end
    for i = 1, workers_at_once do
      local worker = workers[i]
      if worker.wake <= world.now then
        local done, seconds = coroutine.resume(worker.thread)
        if done then
          worker.wake = world.now + seconds
        elseif seconds == death then
          world:note "workers killed"
          workers[i] = new_worker(world, i)
          workers[i].wake = world.now + 5 * roll()
        else
          world:broken("a worker raised:", debug.traceback(worker.thread, tostring(seconds)))
          return world
        end
      end
    end
    if world.now >= consent_at then
      consent_at = world.now + 60
      claims.requeue(person, "ambiguous", nil, true)
      local tables = world.tables
      left = next(tables.open) and 1 or tables.waiting.last - tables.waiting.first + 1
        + #tables.later
    end
  end
  judge(world)
  return world
end

run:run(function()
  local new, check = database.new, schema.check
  schema.check = function() return true end
  local sums, accepted = {}, 0
  for number = 1, rounds do
    local world = round(number)
    for what, n in pairs(world.seen) do sums[what] = (sums[what] or 0) + n end
    accepted = accepted + world.tasks
    for _, n in pairs(world.consents) do sums.consents = (sums.consents or 0) + n end
    for _ in pairs(world.tables.strays) do sums.strays = (sums.strays or 0) + 1 end
  end
  database.new, schema.check = new, check
  run.cases = rounds * edits
  run.notes = { ("%d accepted"):format(accepted) }
  local names = {}
  for name in pairs(sums) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do run.notes[#run.notes + 1] = ("%d %s"):format(sums[name], name) end
end)
