--- The one stage of the job that `credits` returns: a question that may be repeated.
local api = require "kontext.api"
local json = require "kontext.json"
local retry = require "kontext.job.retry"
local wording = require "kontext.wording"

local credits = {}

local tries = 3

function credits:_asked(event)
  local answer = event.body and json.decode(event.body)
  if event.status == 200 and type(answer) == "table" and type(answer.credits) == "number" then
    self._value = answer.credits
    return self:_finish "ready"
  end
  local refused = event.status and event.status >= 400 and event.status < 500
    and event.status ~= 429
  if not refused and self._asks < tries then
    return self:_later(retry.backoff(self._asks), "_ask")
  end
  local kind = event.kind or event.status == 200 and "protocol" or api.submit_kind(event.status)
  self:_fail { kind = kind, stage = "poll", status = event.status, code = event.code,
    body = event.body, retryable = not refused,
    message = "the service does not tell the credits: " .. wording.what(event)
      .. (kind == "auth" and "; set BFL_API_KEY or api_key to a valid key" or "") }
end

function credits:_ask()
  self._asks = (self._asks or 0) + 1
  self._receive = "_asked"
  self.status = "pending"
  local id, message, code = self:_get(self._client:_credits_url())
  if not id then
    self:_fail { kind = code and "internal" or "invalid", code = code, stage = "check",
      message = "the credits cannot be asked for: " .. (code and "" or "their URL ") .. message }
  end
end

return credits
