-- The queue by itself: who gets a slot, what is done when, and who tries again after a 429.

local queue = require "kontext.client.queue"

local pro, max = "flux-kontext-pro", "flux-kontext-max"

-- Makes what the queue sees of a job: due at a time, with what it does then.
local function job_due(at, run)
  local job = { at = at, runs = 0, status = "waiting" }
  function job:due() return self.at end
  function job:ended() return self.status == "ended" end
  function job:run_due(...)
    self.runs, self.at = self.runs + 1, math.huge
    if run then run(self, ...) end
  end
  function job:crash(problem) self.status, self.problem = "ended", problem end
  return job
end

-- Pushes some jobs of a model and returns them.
local function push(of, model, count, first)
  local jobs = {}
  for i = 1, count do
    jobs[i] = job_due(math.huge)
    of:push(jobs[i], model, first == true)
  end
  return jobs
end

-- Begins all jobs that may begin; returns them in order, and their slots by job.
local function begin(of, may)
  local begun, slots = {}, {}
  repeat
    local job, its_slots = of:next(may)
    begun[#begun + 1] = job
    if job then slots[job] = its_slots end
  until not job
  return begun, slots
end

describe("a queue's slots", function()
  it("are the service's for a model, and 24 for all models together", function()
    local q = queue.new()
    push(q, pro, 30)
    push(q, max, 30)
    assert.equal(24, q:limit(pro))
    assert.equal(6, q:limit(max))
    local begun, slots = begin(q)
    local of_max = 0
    for _, job in ipairs(begun) do
      if slots[job] == q:slots(max) then of_max = of_max + 1 end
    end
    assert.equal(24, #begun)
    assert.is_true(of_max <= 6)
  end)

  it("are no more than max_active, over all models", function()
    local q = queue.new(3)
    push(q, pro, 4)
    push(q, max, 4)
    assert.equal(3, #begin(q))
    assert.equal(3, q:limit(max))
    assert.equal(8, queue.new(8):limit(max)) -- an account may have more than the usual
  end)

  it("go to the job that has waited longest, whichever its model", function()
    local q = queue.new(4)
    local a, b = push(q, pro, 1)[1], push(q, max, 1)[1]
    local c, d = push(q, pro, 1)[1], push(q, max, 1)[1]
    assert.same({ a, b, c, d }, (begin(q)))
  end)

  it("go to what is paid for before all others", function()
    local q = queue.new(2)
    push(q, pro, 2)
    local paid = push(q, max, 1, true)[1]
    assert.equal(paid, (q:next()))
  end)

  it("pass by a job that has ended while it waited", function()
    local q = queue.new(1)
    local jobs = push(q, pro, 3)
    jobs[1].status, jobs[2].status = "ended", "ended"
    assert.same({ jobs[3] }, (begin(q)))
  end)

  it("are free again, once, when a job is removed", function()
    local q = queue.new(1)
    local jobs = push(q, pro, 3)
    local _, slots = q:next()
    assert.is_nil((q:next()))
    q:remove(jobs[1], slots, false)
    assert.equal(jobs[2], (q:next()))
    assert.is_nil((q:next()))
  end)

  it("wait for whoever shares the account, who says when to ask again", function()
    local q = queue.new(2)
    local only = push(q, pro, 1)[1]
    assert.is_nil((q:next(function() return false, 7 end)))
    assert.equal(7, q:due(0))
    assert.equal(only, (q:next(function() return true end)))
  end)
end)

describe("a job that was refused with 429", function()
  local q, jobs, slots

  before_each(function()
    q = queue.new(4)
    jobs = push(q, pro, 4)
    local _, by_job = begin(q)
    slots = by_job[jobs[1]]
    q:accepted(jobs[1], slots)
  end)

  it("tries again alone: the others wait until it was accepted or has ended", function()
    assert.is_true(q:limited(jobs[2], slots, 0))
    assert.is_false(q:limited(jobs[3], slots, 0))
    assert.is_false(q:limited(jobs[4], slots, 0))
    assert.is_true(q:limited(jobs[2], slots, 1)) -- again the same one
    assert.equal(jobs[3], q:accepted(jobs[2], slots))
    assert.equal(jobs[4], q:remove(jobs[3], slots, false))
  end)

  it("is called when a task ends: the account has room for it", function()
    q:limited(jobs[2], slots, 0)
    assert.equal(jobs[2], q:remove(jobs[1], slots, true))
  end)

  it("is not called once it has been removed itself", function()
    q:limited(jobs[2], slots, 0)
    q:limited(jobs[3], slots, 0)
    assert.equal(jobs[2], q:remove(jobs[3], slots, false))
    assert.is_nil((q:remove(jobs[2], slots, false)))
  end)

  it("lowers how many begin to those that were accepted, for 60 s", function()
    q:limited(jobs[2], slots, 100)
    for i = 2, 4 do q:remove(jobs[i], slots, false) end
    push(q, pro, 4)
    assert.is_nil((q:next())) -- one was accepted, and it is under way
    assert.equal(160, q:due(100))
    q:due(160)
    assert.equal(3, #begin(q))
  end)

  it("lowers it to the tasks that have not ended, and each one accepted then lets one more begin",
    function()
      q:accepted(jobs[2], slots)
      q:remove(jobs[2], slots, true)
      q:limited(jobs[3], slots, 0)
      q:remove(jobs[3], slots, false)
      q:remove(jobs[4], slots, false)
      local more = push(q, pro, 2)
      assert.is_nil((q:next())) -- of the two that were accepted one is left
      q:accepted(jobs[1], slots)
      assert.equal(more[1], (q:next()))
      assert.is_nil((q:next()))
    end)

  it("never lowers it to none", function()
    local alone = queue.new(2)
    local refused = push(alone, pro, 1)[1]
    local _, its_slots = alone:next()
    alone:limited(refused, its_slots, 0)
    alone:remove(refused, its_slots, false)
    local next_one = push(alone, pro, 1)[1]
    assert.equal(next_one, (alone:next()))
  end)
end)

describe("a turn of the queue", function()
  local function clock() return 10 end
  local order

  local function note(job) order[#order + 1] = job end

  before_each(function() order = {} end)

  it("does what is due, what is due longest first, and nothing else", function()
    local q = queue.new()
    local late, later, not_yet = job_due(9, note), job_due(5, note), job_due(11, note)
    for _, job in ipairs { late, not_yet, later } do q:activate(job) end
    q:schedule(5)
    q:run_due(clock, math.huge, false)
    assert.same({ later, late }, order)
    assert.equal(11, q:due(10))
  end)

  it("does what is due at once in the order in which it became active, on every Lua", function()
    local q, jobs = queue.new(), {}
    for i = 1, 20 do
      jobs[i] = job_due(3, note)
      q:activate(jobs[i])
    end
    q:run_due(clock, math.huge, false)
    assert.same(jobs, order)
  end)

  it("ends when its time is over, and the rest is due at once", function()
    local q, now = queue.new(), 10
    local first = job_due(1, function() now = 20 end)
    local second = job_due(2, note)
    q:activate(first)
    q:activate(second)
    q:run_due(function() return now end, 15, false)
    assert.equal(1, first.runs)
    assert.equal(0, second.runs)
    assert.equal(2, q:due(20))
  end)

  it("ends only the job that raises", function()
    local q = queue.new()
    local bad, good = job_due(1, function() error "broken" end), job_due(2, note)
    q:activate(bad)
    q:activate(good)
    q:run_due(clock, math.huge, false)
    assert.matches("broken", bad.problem)
    assert.same({ good }, order)
  end)

  it("does nothing for a job that another one has ended", function()
    local q = queue.new()
    local victim = job_due(2, note)
    q:activate(job_due(1, function() victim.status = "ended" end))
    q:activate(victim)
    q:run_due(clock, math.huge, false)
    assert.same({}, order)
  end)

  it("keeps a step that was asked for meanwhile", function()
    local q = queue.new()
    q:activate(job_due(1, function() q:schedule(12) end))
    q:run_due(clock, math.huge, false)
    assert.equal(12, q:due(10))
    assert.is_false(q:schedule(13))
    assert.is_true(q:schedule(11))
  end)
end)

describe("all jobs of a queue", function()
  it("are visited once each, waiting and active, although visiting ends some", function()
    local q, seen, count = queue.new(2), {}, 0
    local jobs = push(q, pro, 4)
    local _, slots = begin(q)
    q:each(function(job)
      assert.is_nil(seen[job])
      seen[job], count = true, count + 1
      job.status = "ended"
      q:remove(job, slots[job], false)
    end)
    assert.equal(4, count)
    for _, job in ipairs(jobs) do assert.is_true(seen[job]) end
  end)

  it("are found by their task, unless they have ended", function()
    local q = queue.new()
    local job = push(q, pro, 1)[1]
    local _, slots = q:next()
    job.id = "task-1"
    assert.equal(job, q:task "task-1")
    assert.is_nil(q:task "task-2")
    q:remove(job, slots, true)
    assert.is_nil(q:task "task-1")
  end)
end)
