--- How a job ends with an error: the fact for the journal, what the message says about the money,
--- and the token to resume it. These are methods of a job.
local compose = require "kontext.job.compose"
local errors = require "kontext.errors"
local kinds = require "kontext.kinds"
local save = require "kontext.job.save"
local token = require "kontext.token"

local endings = {}

-- Returns the fact that ends an accepted edit for good, or nil: then the task can be resumed.
local function last_fact(kind)
  return kinds[kind] and kinds[kind].fact
end

-- The same, unless only our own clock says that the link has expired.
local function final_fact(self, kind)
  return not (kind == "expired" and self._doubtful_end) and last_fact(kind) or nil
end

-- Returns whether the whole upload that is under way may have gone out.
local function may_have_sent(self)
  return self.status == "uploading" and self._transfer ~= nil
    and self._client.transport:may_have_sent(self._transfer)
end

-- Returns the journal's fact for an error of this kind, or nil. An accepted edit stays accepted,
-- whatever ends this job.
local function fact(self, kind, sent)
  if kind == "ambiguous" or sent then return "AMBIGUOUS" end
  if self.id then return final_fact(self, kind) end
  return self._intended and "FAILED" or nil
end

--- Ends the job with an error of these fields, completed from the job.
---@param self kontext.Job
---@param fields table
function endings.fail(self, fields)
  if self:ended() then return end
  local sent = may_have_sent(self)
  self._doubtful = sent or fields.kind == "ambiguous"
  fields.job_id = fields.job_id or self.id
  fields.polling_url = fields.polling_url or self.polling_url
  if fields.job_id and not final_fact(self, fields.kind) then
    local known = self:known()
    known.id, known.polling_url = fields.job_id, fields.polling_url
    fields.token = token.write(known)
  end
  self.error = errors.new(fields, self:secrets())
  local ended = fact(self, fields.kind, sent)
  if ended then
    self:record(ended, { kind = fields.kind, id = fields.job_id, polling_url = fields.polling_url })
  end
  self:tell("failed", { kind = fields.kind, stage = fields.stage, http = fields.status,
    code = self.error.code, charged = fields.charged, credits = self.cost,
    message = self.error.message })
  self:finish(fields.kind == "cancelled" and "cancelled" or "failed")
end

-- Returns the stage that the job is at.
local function stage(self)
  return self.status == "downloading" and "download" or (self.id or self._asks) and "poll"
    or self._intended and "submit" or "check"
end

local how_to_resume = "resume it with kontext.resume(job:token())"

--- Ends the job for a reason on this side, such as a cancel.
---@param self kontext.Job
---@param kind string
---@param message string
function endings.stop(self, kind, message)
  if self:ended() then return end
  local sent = may_have_sent(self)
  if self.id then
    message = message .. "; the service goes on with it: " .. how_to_resume
      .. (kind == "closed" and compose.abandon(self) .. save.abandon(self) or "")
  elseif sent then
    message = message .. " when it was sent whole: it may have been paid for"
  end
  self:fail { kind = kind, message = message, stage = stage(self),
    retryable = not self.id and not sent }
end

--- Ends the job because its time is over. An accepted edit can be resumed.
---@param self kontext.Job
function endings.time_out(self)
  local message = ("the edit did not end within %g s"):format(self._timeout)
  if self._flaw and self.status == "downloading" then
    message = ("%s, because the picture could not be downloaded (%s); it is paid for: %s"):format(
      message, self._flaw, how_to_resume)
  elseif self._answer then
    message = ("%s, because its answer was not yet put back into the photograph; it is paid for: "
      .. "%s%s"):format(message, how_to_resume, compose.abandon(self))
  elseif self.id then
    message = ("%s (its last status was %q); it goes on at the service: %s"):format(message,
      self._status or "unknown", how_to_resume) .. save.abandon(self)
  elseif self._wants_slot then
    return self:fail { kind = "rate_limited", stage = "submit", status = 429, charged = false,
      retryable = true, message = message .. ": the key has too many active tasks, and none of "
        .. "them ended; nothing was sent whole: edit again later" }
  end
  self:fail { kind = "timeout", message = message, stage = stage(self), retryable = not self.id }
end

--- Ends the job because handling one of its events raised. Never raises itself.
---@param self kontext.Job
---@param problem any
function endings.crash(self, problem)
  if self:ended() then return end
  -- If the upload had just ended, the service may have accepted it.
  local sent = self.status == "uploading" and (not self._transfer or may_have_sent(self))
  local message = "an error in kontext ended the edit: " .. tostring(problem)
  if self.id then message = message .. "; it is paid for: " .. how_to_resume end
  local done = pcall(self.fail, self, { kind = sent and not self.id and "ambiguous" or "internal",
    stage = stage(self), message = message, retryable = not self.id and not sent })
  if done or self:ended() then return end
  -- Even that failed, perhaps because memory ran out: end with less.
  self.error = errors.plain { kind = sent and "ambiguous" or "internal", retryable = false,
    message = "an error in kontext ended the edit", job_id = self.id }
  pcall(self.finish, self, "failed")
  if not self:ended() then self.status = "failed" end
end

return endings
