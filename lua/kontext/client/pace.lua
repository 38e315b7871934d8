--- How often a client's jobs are polled: at `poll_interval`, or by what earlier tasks have shown.
local retry = require "kontext.job.retry"
local schedule = require "kontext.job.schedule"

local pace = {}

---@class kontext.Pace
local Pace = {}
Pace.__index = Pace

--- Makes the pace of a client.
---@param system kontext.System
---@param queue kontext.Queue its slots keep what was learned about a model
---@param interval? number seconds: the option `poll_interval`
---@return kontext.Pace
function pace.new(system, queue, interval)
  return setmetatable({ _now = system.now, _queue = queue, _interval = interval }, Pace)
end

-- Returns what was learned about when tasks of the job's model end.
local function learned(self, job)
  local slots = self._queue:slots(job:model())
  slots.learned = slots.learned or schedule.new()
  return slots.learned
end

--- Returns how long until a job's next poll.
---@param job kontext.Job
---@return number seconds
function Pace:gap(job)
  local age, polls, hooked = job:poll_age(self._now())
  if self._interval then return self._interval end
  if hooked then return retry.webhook_gap(polls) end
  return schedule.gap(learned(self, job), age)
end

--- Learns from a job that ended between its last two polls. A resumed job is left out, because it
--- does not know when it began.
---@param job kontext.Job
---@param before number seconds
function Pace:learn(job, before)
  local age, polls, hooked = job:poll_age(self._now())
  if self._interval or hooked or job:is_resumed() then return end
  schedule.learn(learned(self, job), before, age, polls)
end

return pace
