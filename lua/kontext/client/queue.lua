--- A client's jobs: which wait for a slot, which are active, and what is due when.
local models = require "kontext.models"

local queue = {}

local account = 24 -- tasks at once, of all models together

local recovery = 60 -- seconds after a 429 for which fewer tasks are begun

---@class kontext.Slots
---@field limit integer tasks at once
---@field allowed integer the same, less after a 429
---@field recovers number? when that ends, on the monotonic clock
---@field used integer
---@field accepted integer tasks that the service has accepted and that have not ended
---@field first integer
---@field last integer
---@field prober kontext.Job? the job that tries next after a 429
---@field parked kontext.Job[] others that were refused with 429
---@field learned table? what the tasks have shown about when they end

---@class kontext.Queue
local Queue = {}
Queue.__index = Queue

---@class (private) kontext.Queue
---@field _most? integer the option max_active
---@field _total integer tasks at once, of all models together
---@field _used integer slots that are taken
---@field _slots table<string, kontext.Slots> by model
---@field _order string[] the models, in the order in which they were first used
---@field _active kontext.Job[]
---@field _at table<kontext.Job, integer> its place in `_active`
---@field _numbers table<kontext.Job, integer> the order in which jobs became active
---@field _last integer the newest of them
---@field _tickets table<kontext.Job, integer> the order in which waiting jobs begin
---@field _newest integer the last ticket
---@field _oldest integer the first ticket: what is paid for goes before all others
---@field _due number when the next step is due, on the monotonic clock
---@field _ask_at number when whoever shares the account may be asked again

--- Makes a queue.
---@param most? integer tasks at once, of all models together and of each; default: the service's
--- limits
---@return kontext.Queue
function queue.new(most)
  return setmetatable({ _most = most, _total = most or account, _used = 0, _slots = {},
    _order = {}, _active = {}, _at = {}, _numbers = {}, _tickets = {}, _newest = 0, _oldest = 0,
    _last = 0, _due = math.huge, _ask_at = 0 }, Queue)
end

--- Returns how many tasks of a model may be active at once.
---@param model string
---@return integer
function Queue:limit(model)
  return math.min(self._most or models.find(model).active, self._total)
end

--- Returns the slots of a model. They are made on first use, because a program may define a model
--- at any time.
---@param model string
---@return kontext.Slots
function Queue:slots(model)
  local slots = self._slots[model]
  if not slots then
    local limit = self:limit(model)
    slots = { limit = limit, allowed = limit, used = 0, accepted = 0, first = 1, last = 0,
      parked = {} }
    self._slots[model] = slots
    self._order[#self._order + 1] = model
  end
  return slots
end

--- Adds a job; a paid one goes first.
---@param job kontext.Job
---@param model string
---@param first boolean
function Queue:push(job, model, first)
  local slots = self:slots(model)
  if first then
    self._oldest = self._oldest - 1
    slots.first = slots.first - 1
    slots[slots.first], self._tickets[job] = job, self._oldest
  else
    self._newest = self._newest + 1
    slots.last = slots.last + 1
    slots[slots.last], self._tickets[job] = job, self._newest
  end
end

--- Makes a job active, with or without a slot.
---@param job kontext.Job
function Queue:activate(job)
  local at = #self._active + 1
  self._last = self._last + 1
  self._active[at], self._at[job], self._numbers[job] = job, at, self._last
end

-- Removes an active job; the last one takes its place in the list.
local function deactivate(self, job)
  local at, last = self._at[job], self._active[#self._active]
  if not at then return end
  self._active[at], self._at[last] = last, at
  self._active[#self._active], self._at[job], self._numbers[job] = nil, nil, nil
end

-- Returns whether a job of these slots may begin.
local function has_room(self, slots)
  return slots.used < slots.allowed and slots.first <= slots.last and self._used < self._total
end

-- Returns, of the slots with room, those whose next job has waited longest, so that no model
-- starves another.
local function next_slots(self)
  local best
  for _, model in ipairs(self._order) do
    local slots = self._slots[model]
    if has_room(self, slots) and (not best
      or self._tickets[slots[slots.first]] < self._tickets[best[best.first]]) then
      best = slots
    end
  end
  return best
end

--- Takes the next job that has a slot, and makes it active.
---@param may? fun(job: kontext.Job): boolean, number whether it may begin; else when to ask
---@return kontext.Job? job
---@return kontext.Slots? slots
function Queue:next(may)
  local slots = next_slots(self)
  while slots do
    local job = slots[slots.first]
    if may and not job:ended() then
      local can, again = may(job)
      if not can then
        self._ask_at = again
        return nil
      end
    end
    slots[slots.first], self._tickets[job] = nil, nil
    slots.first = slots.first + 1
    if not job:ended() then
      slots.used, self._used = slots.used + 1, self._used + 1
      self:activate(job)
      return job, slots
    end
    slots = next_slots(self)
  end
end

--- Plans a step at `when`; returns whether that is sooner than the step that was planned.
---@param when number on the monotonic clock
---@return boolean
function Queue:schedule(when)
  if when >= self._due then return false end
  self._due = when
  return true
end

--- Returns when the jobs need the next step.
---@param now number
---@return number when
function Queue:due(now)
  for _, model in ipairs(self._order) do
    local slots = self._slots[model]
    if slots.recovers and slots.recovers <= now then
      slots.allowed, slots.recovers = slots.limit, nil
    end
    if has_room(self, slots) then self._due = math.min(self._due, self._ask_at) end
    if slots.recovers then self._due = math.min(self._due, slots.recovers) end
  end
  return self._due
end

--- Runs the active jobs that are due, and finds when the next is. The longest due come first, so
--- that none starves when time is short. An error ends only the job that raised it.
---@param clock fun(): number
---@param stop number
---@param away boolean the host has not stepped for a while
function Queue:run_due(clock, stop, away)
  local now, list = clock(), {}
  self._due = math.huge -- before the jobs run: they may plan a step
  local dues, numbers = {}, self._numbers
  for _, job in ipairs(self._active) do
    local due = job:due()
    if due <= now then list[#list + 1], dues[job] = job, due end
  end
  table.sort(list, function(a, b)
    if dues[a] ~= dues[b] then return dues[a] < dues[b] end
    return numbers[a] < numbers[b]
  end)
  for _, job in ipairs(list) do
    if not job:ended() and job:due() <= now then
      local done, problem = pcall(job.run_due, job, now, away)
      if not done then job:crash(problem) end
      if clock() >= stop then break end
    end
  end
  for _, job in ipairs(self._active) do
    self._due = math.min(self._due, job:due())
  end
end

-- Returns the job that may try now that one was accepted or a task has ended.
local function next_try(slots)
  if not slots.prober then slots.prober = table.remove(slots.parked, 1) end
  return slots.prober
end

--- Notes that the service has accepted a job: the account may have room for one more.
---@param job kontext.Job
---@param slots kontext.Slots
---@return kontext.Job? next that was refused with 429 and may try now
function Queue:accepted(job, slots) -- luacheck: no self
  slots.accepted = slots.accepted + 1
  slots.allowed = math.min(slots.limit, slots.allowed + 1)
  if slots.prober == job then slots.prober = nil end
  return next_try(slots)
end

--- Notes that the service refused a job with 429: the account is full, of our tasks or of others'.
--- Fewer jobs begin for a while, and only one refused job tries at a time, because each try is a
--- whole upload. Returns whether it is this job.
---@param job kontext.Job
---@param slots kontext.Slots
---@param now number
---@return boolean
function Queue:limited(job, slots, now) -- luacheck: no self
  slots.allowed = math.max(1, math.min(slots.allowed, slots.accepted))
  slots.recovers = now + recovery
  if slots.prober == nil or slots.prober == job then
    slots.prober = job
    return true
  end
  table.insert(slots.parked, job)
  return false
end

--- Removes a job that has ended.
---@param job kontext.Job
---@param slots kontext.Slots?
---@param was_accepted boolean
---@return kontext.Job? next that was refused with 429 and may try now
function Queue:remove(job, slots, was_accepted)
  deactivate(self, job)
  if not slots then return nil end
  slots.used, self._used = slots.used - 1, self._used - 1
  if was_accepted then slots.accepted = slots.accepted - 1 end
  if slots.prober == job then slots.prober = nil end
  for i, parked in ipairs(slots.parked) do
    if parked == job then
      table.remove(slots.parked, i)
      break
    end
  end
  return next_try(slots)
end

--- Calls `visit` with every job that has not ended.
---@param visit fun(job: kontext.Job)
function Queue:each(visit)
  for _, model in ipairs(self._order) do
    local slots = self._slots[model]
    for at = slots.first, slots.last do
      if slots[at] and not slots[at]:ended() then visit(slots[at]) end
    end
  end
  local active = {}
  for i, job in ipairs(self._active) do active[i] = job end -- visiting may end some
  for _, job in ipairs(active) do
    if not job:ended() then visit(job) end
  end
end

--- Returns the active job of a task.
---@param id string
---@return kontext.Job?
function Queue:task(id)
  for _, job in ipairs(self._active) do
    if job.id == id then return job end
  end
end

return queue
