--- The first stage of a job: one upload, at most one of which the service ever gets whole.
local api = require "kontext.api"
local core = require "kontext.core"
local params = require "kontext.job.params"
local retry = require "kontext.job.retry"
local wording = require "kontext.wording"

local submit = {}

local refusals = {
  auth = "the service refuses the API key (HTTP %d)%s: set BFL_API_KEY or api_key to a valid one",
  credits = "the service says that no credits are left (HTTP %d)%s: buy some to edit again",
  invalid = "the service refuses the request (HTTP %d)%s",
  not_found = "the service has no such endpoint (HTTP %d)%s: check base_url and model",
  rate_limited = "the key has too many active tasks (HTTP %d)%s: edit again later",
  http = "the service answered the edit with HTTP %d%s",
}

-- The service refused before any work began.
local function refused(job, event, answer)
  local kind = api.submit_kind(event.status)
  job:_fail { kind = kind, stage = "submit", status = event.status, body = event.body,
    retryable = kind == "rate_limited" or event.status == 503,
    message = refusals[kind]:format(event.status, wording.said(answer, event.body)) }
end

-- It was not sent, or not whole.
local function unsent(job, event)
  job:_fail { kind = event.kind or "http", stage = "submit", status = event.status,
    code = event.code, body = event.body, charged = false, retryable = true,
    message = ("the edit was not sent (%d of %d bytes went out): %s"):format(event.sent,
      event.total, wording.what(event)) }
end

-- It may have been accepted.
local function ambiguous(job, event)
  job:_fail { kind = "ambiguous", stage = "submit", status = event.status, code = event.code,
    body = event.body, job_id = event.body and event.body:match '"id"%s*:%s*"([%w%-]+)"',
    message = ("the whole edit was sent, but no complete answer came (%s): it may have been paid "
      .. "for, so it is not sent again; look at your account before you edit again"):format(
      wording.what(event)) }
end

-- It was accepted. The polling URL may be missing (webhooks) or unfit: what was paid for is not
-- dropped over its URL, but asked for at the base.
local function accepted(job, answer)
  local client = job._client
  job.id = answer.id
  job.cost = type(answer.cost) == "number" and answer.cost or nil
  job.polling_url = client:_polling_url(job, answer.polling_url, answer.id)
  job._accepted_at = core.now()
  local kept, message, code = client:_record(job, "ACCEPTED")
  if not kept then
    return job:_fail { kind = "file", stage = "submit", code = code,
      message = "the edit was accepted, but the journal cannot be written: " .. message
        .. "; resume it with kontext.resume(job:token())" }
  end
  job:_watch()
end

function submit:_submitted(event)
  local client = self._client
  local verdict, answer = retry.judge_submit(event)
  self.sent, self.total = event.sent, event.total
  if verdict == "accepted" then
    return accepted(self, answer)
  elseif verdict == "ambiguous" then
    return ambiguous(self, event)
  elseif verdict == "final" then
    -- A refusal is one also when the rest of its answer never came.
    local answered = event.status and event.status >= 300 and event.status < 500
    return (answered and refused or unsent)(self, event, answer)
  end
  -- What is left did not arrive, or was refused before any work began: it may go again.
  local limited = verdict == "limited"
  local tries = (limited and self._limited or self._unsent or 0) + 1
  if tries > (limited and retry.limited_tries or retry.unsent_tries) then
    return (verdict == "unsent" and unsent or refused)(self, event, answer)
  end
  self[limited and "_limited" or "_unsent"] = tries
  self._wants_slot = limited
  client:_record(self, "INTENT") -- a crash while it waits leaves nothing in doubt
  self:_become "waiting"
  self:_later(limited and retry.after(event.headers["retry-after"]) or retry.backoff(tries),
    "_submit")
end

function submit:_submit()
  local client = self._client
  local kept, message, code = client:_record(self, "INTENT")
  if not kept then
    return self:_fail { kind = "file", stage = "submit", code = code, charged = false,
      retryable = true,
      message = "nothing was sent, for the journal cannot be written: " .. message }
  end
  self._intended, self._wants_slot = true, nil
  self.sent, self._receive = 0, "_submitted"
  kept, message, code = client:_upload(self, params.body(self._params))
  if not kept then
    local starved = code == "ENOMEM"
    return self:_fail { kind = starved and "internal" or "file", stage = "submit", code = code,
      charged = false, retryable = true,
      message = (starved and "nothing was sent: " or "cannot read the input image: ") .. message }
  end
  self:_become "uploading"
end

return submit
