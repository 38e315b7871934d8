--- The life of one edit: check (→ fit) → submit → poll → download → save.
--- A job has at most one transfer under way, and at most one thing that is due: `_next` names the
--- method that is called when it is, `_receive` the one that gets the transfer's event.
local core = require "kontext.core"
local download = require "kontext.job.download"
local errors = require "kontext.errors"
local loop = require "kontext.loop"
local params = require "kontext.job.params"
local poll = require "kontext.job.poll"
local submit = require "kontext.job.submit"
local token = require "kontext.token"

local job = {}

---@class kontext.Job
---@field id string? the task's, once the service gave one
---@field status "waiting"|"uploading"|"pending"|"downloading"|"ready"|"failed"|"cancelled"
---@field progress number? 0 … 1, as the service tells it
---@field sent integer bytes of the upload
---@field received integer bytes of the download
---@field total integer? bytes of the one that is under way, where they are known
---@field polling_url string?
---@field cost number? credits
---@field image kontext.Image?
---@field error kontext.Error?
local Job = { __name = "kontext.job", status = "waiting", sent = 0, received = 0,
  _first = "_submit" } -- what a job begins with; thousands that wait take the less memory
Job.__index = Job

for _, stage in ipairs { submit, poll, download } do
  for name, method in pairs(stage) do Job[name] = method end
end

function Job:__tostring()
  return ("kontext.job: %s%s"):format(self.status, self.id and " " .. self.id or "")
end

--- Makes a job that waits for its client to begin it with `_first`.
---@param client table
---@param fields table
---@param stage? table<string, function> the methods of a stage that few jobs have
---@return kontext.Job
function job.new(client, fields, stage)
  fields._client = client
  if stage then
    for name, method in pairs(stage) do fields[name] = method end
  end
  return setmetatable(fields, Job)
end

local final = { ready = true, failed = true, cancelled = true }

--- Tells whether nothing more will happen to the job.
---@return boolean
function Job:ended()
  return final[self.status] == true
end

--- Does what is due, without blocking or yielding.
---@return string status
---@return number? progress 0 … 1
function Job:poll()
  if not self:ended() then self._client:step() end
  return self.status, self.progress
end

--- Waits for the end: in a coroutine that a known loop drives by yielding to it, else by blocking.
---@param seconds? number how long at most; the job lives on when they are over
---@return kontext.Image|number|nil result the image; of `credits` the number
---@return string? message
---@return kontext.Error? err
function Job:wait(seconds)
  if seconds ~= nil and type(seconds) ~= "number" then
    error("seconds must be a number, not " .. type(seconds), 2)
  end
  local deadline = seconds and core.now() + seconds
  if seconds and seconds <= 0 then self:poll() end -- who waits so in a loop gets on too
  while not self:ended() do
    local left = deadline and deadline - core.now()
    if left and left <= 0 then
      return errors.result(errors.new { kind = "timeout", stage = "wait", job_id = self.id,
        polling_url = self.polling_url, retryable = false,
        message = ("the edit did not end within the %g s of this wait; it goes on: wait again")
          :format(seconds) })
    end
    loop.wait(self._client, left, self)
  end
  if self.error then return errors.result(self.error) end
  return self._value or self.image
end

--- Ends the job at once. The service has no cancel: what it accepted it goes on with.
function Job:cancel()
  self._client:_leave_to_parent()
  self:_stop("cancelled", "the edit was cancelled")
end

--- Returns all that `resume` needs in another process, and no key.
---@return string? token
---@return string? message
---@return kontext.Error? err while the service has given no id
function Job:token()
  if self.id then return (token.write(self)) end
  return errors.result(errors.new { kind = "invalid", retryable = self.sent == 0,
    message = "there is nothing to resume: the service has not accepted the edit" })
end

-- Calls the method of that name in `seconds`.
function Job:_later(seconds, name)
  self._next, self._due = name, core.now() + seconds
  self._client:_schedule(math.min(self._due, self._deadline or math.huge))
end

-- Asks for a URL with a GET; a redirect's is relative to what was asked last, and never gets the
-- key. Returns the transfer's id, or nil, what is wrong, and the code where it is the file's fault.
function Job:_get(url, redirected, options)
  local id, where, code = self._client:_fetch(self, url, redirected and self._at, options)
  if not id then return nil, where, code end
  self._at = where
  return id
end

-- Shows a new status.
function Job:_become(status)
  self.status = status
  self._client:_changed(self)
end

-- Ends the job, once.
function Job:_finish(status)
  self.status = status
  self._next, self._due, self._receive = nil, nil, nil
  params.drop_images(self._params)
  self._client:_ended(self)
end

-- After these an accepted task has nothing left to resume.
local terminal = { moderated = true, failed = true, not_found = true, expired = true }

-- Returns the fact that an error of this kind is for the journal, or nil.
local function fact(self, kind)
  if kind == "ambiguous" or self._transfer and self.status == "uploading"
    and self._client:_may_have_sent(self) then
    return "AMBIGUOUS"
  elseif self.id then
    return terminal[kind] and "FAILED" or nil
  end
  return self._intended and "FAILED" or nil
end

-- Ends the job with an error of these fields, and with what is known of the job.
function Job:_fail(fields)
  if self:ended() then return end
  fields.job_id = fields.job_id or self.id
  fields.polling_url = self.polling_url
  self.error = errors.new(fields, self._client:_secrets(self))
  local known = fact(self, fields.kind)
  if known then self._client:_record(self, known) end
  self:_finish(fields.kind == "cancelled" and "cancelled" or "failed")
end

-- Returns the stage that the job is at.
local function stage(self)
  return self.status == "downloading" and "download" or (self.id or self._asks) and "poll"
    or self._intended and "submit" or "check"
end

-- Ends the job for a reason that is not the service's.
function Job:_stop(kind, message)
  if self:ended() then return end
  local sent = self.status == "uploading" and self._client:_may_have_sent(self)
  if self.id then
    message = message .. "; the service goes on with it: resume it with kontext.resume(job:token())"
  elseif sent then
    message = message .. " when it was sent whole: it may have been paid for"
  end
  self:_fail { kind = kind, message = message, stage = stage(self),
    retryable = not self.id and not sent }
end

-- Ends the job because its time is over. What was accepted is not lost with it.
function Job:_time_out()
  local message = ("the edit did not end within %g s"):format(self._timeout)
  if self.id then
    message = ("%s (its last status was %q); it goes on at the service: resume it with "
      .. "kontext.resume(job:token())"):format(message, self._status or "unknown")
  end
  self:_fail { kind = "timeout", message = message, stage = stage(self), retryable = not self.id }
end

return job
