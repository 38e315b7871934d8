--- A client's steps: when the next is due, what it does in its time, and the host's callbacks,
--- which it calls at its end.
local steps = {}

-- Seconds of a step: a tenth of the time since the last one. So a loop that watches the descriptor
-- is blocked for one piece of an upload only, and a loop that ticks still moves enough. Work that
-- is left keeps the descriptor readable.
local least_budget, most_budget = 0.00001, 0.0005
local waiting_budget = 0.001 -- when nothing else waits
local progress_interval = 0.002 -- seconds; at every step it took a tenth of 24 uploads' CPU
local away = 1 -- seconds without a step: the host was stopped or busy

---@class kontext.Steps
local Steps = {}
Steps.__index = Steps

---@class (private) kontext.Steps
---@field _now fun(): number
---@field _queue kontext.Queue
---@field _timeout number seconds that a job has, from when it leaves the queue
---@field _transport? kontext.Transport nil where no job can begin
---@field _stepped number when the last step ended
---@field _shown number when progress was shown last
---@field _moved? boolean bytes have moved since then
---@field _stepping? boolean a step is under way, whose end calls the host's callbacks
---@field _working? boolean the part of a step is under way that calls none
---@field _notices table queue of the host's callbacks

--- Makes the steps of a client.
---@param system kontext.System
---@param queue kontext.Queue
---@param timeout number seconds that a job has
---@return kontext.Steps
function steps.new(system, queue, timeout)
  return setmetatable({ _now = system.now, _queue = queue, _timeout = timeout,
    _stepped = system.now(), _shown = 0, _notices = { first = 1, last = 0 } }, Steps)
end

--- Sets the transport that moves the bytes.
---@param transport kontext.Transport
function Steps:use(transport)
  self._transport = transport
end

--- Sets a function that says whether a job may begin, else when to ask again.
---@param may fun(job: kontext.Job): boolean, number
function Steps:ask_before(may)
  self._may = may
end

-- Returns the engine; nil without one, after close, and in a forked child.
local function engine_of(self)
  return self._transport and self._transport.engine
end

--- Plans a step at `when`.
---@param when number on the monotonic clock
function Steps:schedule(when)
  if not self._queue:schedule(when) or self._working then return end -- a step ends with an alarm
  local engine = engine_of(self)
  if engine then engine:alarm(when) end
end

--- Calls the host's function `fn` at the end of this step or of the next.
---@param fn fun()
function Steps:tell_host(fn)
  local notices = self._notices
  notices.last = notices.last + 1
  notices[notices.last] = fn
  if not self._stepping then self:schedule(0) end
end

--- Calls the host's callbacks, last of all. If one raises, the next step calls the others. If one
--- waits for a job, its own steps call the others.
function Steps:notify_host()
  local notices = self._notices
  while notices.first <= notices.last do
    local notice = notices[notices.first]
    notices[notices.first] = nil
    notices.first = notices.first + 1
    local done, err = pcall(notice)
    if not done then
      self._stepping = false
      self:schedule(0)
      error(err, 0)
    end
  end
end

-- Begins one queued job that has a slot; returns whether there was one.
local function begin_queued(self)
  local job, slots = self._queue:next(self._may)
  if not job then return false end
  job:take_slots(slots)
  if job.id then slots.accepted = slots.accepted + 1 end
  local done, problem = pcall(job.start, job, self._now(), self._timeout)
  if not done then job:crash(problem) end
  return true
end

-- Does what is due, for about `budget` seconds.
local function run(self, budget)
  if not self._transport then -- no job can begin, but what `soon` asked for is done
    self._queue:run_due(self._now, self._now() + budget, false)
  end
  if not engine_of(self) then return self:notify_host() end
  local now = self._now()
  local stop, was_away = now + budget, now - self._stepped > away
  local transport, notices = self._transport, self._notices
  self._stepping, self._working = true, true
  repeat -- again, to send what was begun; but stop to report each status
    local moved = transport:step(math.max(0, stop - now))
    self._moved = self._moved or moved
    now = self._now()
    if self._queue:due(now) <= now then
      self._queue:run_due(self._now, stop, was_away)
      while begin_queued(self) and self._now() < stop do end -- luacheck: ignore 542
      now = self._now()
    end
  until not transport.begun or now >= stop or notices.first <= notices.last
  if self._moved and stop > self._shown + progress_interval then
    transport:show_progress()
    self._moved, self._shown = false, stop
  end
  self._working = false
  local engine = engine_of(self)
  if engine then engine:alarm(self._queue:due(now)) end
  self:notify_host()
  self._stepping = false
  self._stepped = self._now()
end

--- Does what is due, without blocking.
function Steps:step()
  local budget = (self._now() - self._stepped) / 10
  run(self, math.max(least_budget, math.min(most_budget, budget)))
end

--- Does what is due, when nothing but the client waits.
function Steps:step_longer()
  run(self, waiting_budget)
end

--- Reads what has already arrived in the sockets.
function Steps:settle()
  if not self._transport or self._working then return end
  self._working = true
  local done, problem = pcall(self._transport.settle, self._transport)
  self._working = false
  if not done then error(problem, 0) end
end

return steps
