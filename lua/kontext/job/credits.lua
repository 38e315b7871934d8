--- The only stage of the job that `credits` returns. Asking costs nothing and may be repeated.
local answer = require "kontext.job.answer"
local retry = require "kontext.job.retry"
local wording = require "kontext.wording"

local credits = {}

local tries = 3

local function asked(self, event)
  local object = answer.read(event)
  if event.status == 200 and object and type(object.credits) == "number" then
    self._value = object.credits
    return self:finish "ready"
  end
  local refused = event.status and event.status >= 400 and event.status < 500
    and event.status ~= 429
  if not refused and self._asks < tries then
    return self:later(retry.backoff(self._asks, self._client.system.random), credits.begin)
  end
  local kind = event.kind or event.status == 200 and "protocol"
    or retry.refusal_kind(event.status, object)
  self:fail { kind = kind, stage = "poll", status = event.status, code = event.code,
    body = event.body, retryable = not refused,
    message = "the service does not report the credits: " .. wording.transfer_reason(event)
      .. (kind == "auth" and "; set BFL_API_KEY or api_key to a valid key" or "") }
end

--- Asks for the credits.
---@param self kontext.Job
function credits.begin(self)
  self._asks = (self._asks or 0) + 1
  self.status = "pending"
  local id, message, code = self:get(self._client.transport:credits_url(), false, asked)
  if not id then
    self:fail { kind = code and "internal" or "invalid", code = code, stage = "check",
      message = "the credits cannot be asked for: " .. (code and "" or "their URL ") .. message }
  end
end

return credits
