--- The second stage of a job: asking until the task has ended. It is paid for: trouble on the way
--- never ends it, only the task's own end, the job's deadline, or an answer that will not change.
local api = require "kontext.api"
local core = require "kontext.core"
local json = require "kontext.json"
local retry = require "kontext.job.retry"
local wording = require "kontext.wording"

local poll = {}

local resume = "; resume it later with kontext.resume(job:token())"

local moderators = {
  request = "the service's moderation refused the request",
  content = "the service's moderation held back the result",
}

local endings = {}

function endings.moderated(job, event, answer, class)
  local reasons = type(answer.details) == "table" and answer.details["Moderation Reasons"] or {}
  if type(reasons) ~= "table" then reasons = { reasons } end
  for i, reason in ipairs(reasons) do reasons[i] = tostring(reason) end
  job:_fail { kind = "moderated", stage = class.stage, status = event.status, charged = false,
    reasons = reasons, body = event.body, message = moderators[class.stage]
      .. (#reasons > 0 and ": " .. table.concat(reasons, ", ") or "")
      .. "; it is not charged: change the prompt or the picture" }
end

function endings.failed(job, event, answer)
  job:_fail { kind = "failed", stage = "poll", status = event.status, body = event.body,
    message = "the service could not make the picture" .. wording.said(answer) }
end

function endings.missing(job, event)
  job:_fail { kind = "not_found", stage = "poll", status = event.status, body = event.body,
    message = "the service does not know the task: its id is wrong, or it ended too long ago" }
end

function endings.final(job, event, answer)
  local kind = event.kind or api.submit_kind(event.status)
  if kind == "invalid" then kind = "http" end
  job:_fail { kind = kind, stage = "poll", status = event.status, code = event.code,
    body = event.body, message = ("the task cannot be polled (%s)%s%s"):format(
      event.detail or "HTTP " .. event.status, wording.said(answer, event.body), resume) }
end

-- Returns the digits of an integer as a number, where one holds them exactly.
local function seed_value(digits)
  local number = tonumber(digits)
  return json.integer(number) == digits and number or digits
end

function endings.ready(job, event, answer)
  if not job._made then job._client:_learn(job, job._unended) end
  local result = type(answer.result) == "table" and answer.result or {}
  local seconds, from, to = result.duration, result.start_time, result.end_time
  if type(from) == "number" and type(to) == "number" then seconds = seconds or to - from end
  job._made = {
    id = job.id,
    cost = job.cost,
    prompt = job._params.prompt or result.prompt,
    seed = job._params.seed and seed_value(job._params.seed)
      or json.integer_field(event.body, "seed"),
    duration = type(seconds) == "number" and seconds or nil,
  }
  if type(result.sample) == "string" then return job:_deliver(result.sample) end
  if job._asked_again then
    return job:_fail { kind = "protocol", stage = "poll", status = event.status, charged = true,
      body = event.body,
      message = "the service says that the picture is ready, but gives no link to it" .. resume }
  end
  job._asked_again = true
  job:_later(1, "_poll")
end

-- Returns how long to wait for the next poll.
local function gap(job, verdict, event)
  if verdict == "trouble" then
    local told = event.status == 429 and retry.after(event.headers["retry-after"])
    return told or retry.trouble_gap(job._failures)
  end
  return job._client:_poll_gap(job)
end

function poll:_polled(event)
  local verdict, answer, class = retry.judge_poll(event, core.now() - self._accepted_at)
  if answer then
    if type(answer.status) == "string" then self._status = answer.status end
    if type(answer.cost) == "number" then self.cost = answer.cost end
    if type(answer.progress) == "number" then
      self.progress = math.max(0, math.min(1, answer.progress))
    end
  end
  if verdict == "redirect" then
    self._hops = self._hops + 1
    if event.headers.location and self._hops <= api.limits.hops then
      return self:_poll(event.headers.location)
    end
    verdict = "final"
  end
  self._hops = 0
  self._failures = verdict == "trouble" and self._failures + 1 or 0
  if endings[verdict] then return endings[verdict](self, event, answer, class) end
  if verdict == "progress" then self._unended = core.now() - self._watched_at end
  self._client:_changed(self)
  self:_later(self._woken and 0 or gap(self, verdict, event), "_poll")
  self._woken = nil
end

-- Asks for the task's status, or follows an earlier answer's redirect.
function poll:_poll(location)
  self._polls = self._polls + 1
  self._receive = "_polled"
  local id, message, code = self:_get(location or self.polling_url, location ~= nil)
  if not id then
    self:_fail { kind = code and "internal" or "protocol", code = code, stage = "poll",
      message = "the task cannot be polled: " .. (code and "" or "its URL ") .. message .. resume }
  end
end

-- Begins to poll a task that was accepted just now.
function poll:_watch()
  self._polls, self._failures, self._hops = 0, 0, 0
  self._watched_at, self._unended = core.now(), 0
  self:_become "pending"
  self:_later(self._client:_poll_gap(self), "_poll")
end

-- Begins to poll a task that was accepted by another process: it may have ended long ago.
function poll:_resumed()
  self:_watch()
  self:_later(0, "_poll")
end

return poll
