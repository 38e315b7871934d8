--- The first stage that costs money: an upload, which the service gets whole at most once.
local answer = require "kontext.job.answer"
local api = require "kontext.api"
local params = require "kontext.job.params"
local poll = require "kontext.job.poll"
local retry = require "kontext.job.retry"
local wording = require "kontext.wording"

local submit = {}

local refusals = {
  auth = "the service refuses the API key (HTTP %d)%s: set BFL_API_KEY or api_key to a valid one",
  credits = "the service says that no credits are left (HTTP %d)%s: buy some to edit again",
  invalid = "the service refuses the request (HTTP %d)%s",
  not_found = "the service has no such endpoint (HTTP %d)%s: check base_url and model",
  http = "the edit was answered with HTTP %d%s",
}

-- Ends the job: the service or a gateway refused it before any work began.
local function refused(self, event, object)
  local kind = retry.refusal_kind(event.status, object, event.body)
  self:fail { kind = kind, stage = "submit", status = event.status, body = event.body,
    retryable = event.status == 503,
    message = refusals[kind]:format(event.status, wording.server_detail(object, event.body)) }
end

-- Ends the job: it was not sent whole.
local function unsent(self, event)
  self:fail { kind = event.kind or "http", stage = "submit", status = event.status,
    code = event.code, body = event.body, charged = false, retryable = true,
    message = ("the edit was not sent (%.0f of %.0f bytes went out): %s"):format(event.sent,
      event.total, wording.transfer_reason(event)) }
end

-- Ends the job: it may have been accepted.
local function ambiguous(self, event, task)
  self:fail { kind = "ambiguous", stage = "submit", status = event.status, code = event.code,
    body = event.body, job_id = task and task.id,
    polling_url = task and type(task.polling_url) == "string" and task.polling_url or nil,
    message = ("the whole edit was sent, but no complete answer came (%s): it may have been paid "
      .. "for, so it is not sent again; %s"):format(wording.transfer_reason(event),
      task and "resume it with kontext.resume(err.token), which costs nothing"
        or "look at your account before you edit again") }
end

-- Goes on to poll. The polling URL may be missing (webhooks) or unusable: then the paid task is
-- polled at the base.
local function accepted(self, task)
  local client = self._client
  self.id = task.id
  self.cost = type(task.cost) == "number" and task.cost or nil
  self.polling_url, self._own_url = client.transport:polling_url(task.polling_url, task.id)
  self._accepted_at, self._accepted_wall = client:clock()(), client.system.wall()
  local kept, message = self:record "ACCEPTED" -- before anything else that could go wrong
  if self.cost then client.spending:told_cost(self) end
  client.quota:succeed()
  client:accepted(self)
  self:tell("accepted", { bytes = self.sent, credits = self.cost })
  if not kept then
    -- The edit is paid for and goes on. Only a crash could lose it now.
    self:warn("the journal cannot be written: " .. message
      .. "; until the picture is saved, keep job:token()")
  end
  poll.watch(self)
end

-- Submits again later. UNSENT keeps a crash in between from leaving a doubt.
local function later(self, event, seconds)
  self:record "UNSENT"
  self:tell(event.status == 429 and "limited" or "retry", { http = event.status,
    code = event.code, bytes = event.sent, seconds = seconds })
  self.sent = 0
  self:set_status "waiting"
  if event.status == 429 then
    self._wants_slot = true
    return self._client:limited(self, seconds)
  end
  self:later(seconds, submit.begin)
end

local function submitted(self, event)
  local client = self._client
  local object = answer.read(event)
  local task = answer.task(event, object)
  local verdict = retry.judge_submit(event, object, task)
  self.sent, self.total = event.sent, event.total
  if verdict == "accepted" then
    return accepted(self, task)
  elseif verdict == "ambiguous" then
    return ambiguous(self, event, task)
  elseif verdict == "final" then
    -- A refusal counts even if the rest of its answer never came.
    local answered = event.status and event.status >= 300 and event.status < 500
    return (answered and refused or unsent)(self, event, object)
  elseif verdict == "limited" then
    self._limited = (self._limited or 0) + 1
    local told = retry.after(event.headers["retry-after"], client.system.wall())
    local gap = told and told + client.system.random() * 0.5
      or 0.5 + retry.trouble_gap(self._limited, client.system.random)
    return later(self, event, gap)
  end
  -- The rest did not arrive, or was refused before any work began: it may be sent again.
  self._tries = (self._tries or 0) + 1
  if self._tries > retry.submit_tries or not client.quota:take() then
    return (verdict == "unsent" and unsent or refused)(self, event, object)
  end
  later(self, event, retry.backoff(self._tries, client.system.random))
end

--- Sends the edit, after the journal has noted it.
---@param self kontext.Job
function submit.begin(self)
  local client = self._client
  if client:clock()() >= self._deadline then return self:time_out() end
  local kept, message, code = self:record "INTENT"
  local mark
  if kept then
    mark, message, code = client:mark(self)
    kept = not message
  end
  if not kept then
    return self:fail { kind = "file", stage = "submit", code = code, charged = false,
      retryable = true,
      message = "nothing was sent, because the journal cannot be written: " .. message }
  end
  self._intended, self._wants_slot, self.sent = true, nil, 0
  local id
  id, message, code = client.transport:upload(self, {
    path = api.endpoints[self._params.model],
    pieces = params.body(self._params),
    mark = mark,
    deadline = self._deadline,
  })
  if not self:expect(id, submitted) then
    local starved = code == "ENOMEM"
    return self:fail { kind = starved and "internal" or "file", stage = "submit", code = code,
      charged = false, retryable = true,
      message = (starved and "nothing was sent: " or "cannot read the input image: ") .. message }
  end
  self:tell("submit", { try = 1 + (self._tries or 0) + (self._limited or 0) })
  self:set_status "uploading"
end

return submit
