--- The life of one edit: check (→ fit) → submit → poll → download → save.
--- The files beside this one are its stages: functions over a job. A job has at most one transfer
--- under way and at most one thing that is due: `_next` is called when it is, `_receive` gets the
--- transfer's event. Nobody outside of this folder reads the fields that begin with "_".
local endings = require "kontext.job.endings"
local errors = require "kontext.errors"
local identity = require "kontext.journal.identity"
local loop = require "kontext.loop"
local memory = require "kontext.job.memory"
local params = require "kontext.job.params"
local receiver = require "kontext.receiver"
local save = require "kontext.job.save"
local token = require "kontext.token"

local job = {}

local overslept = 0.25 -- seconds past the deadline: more than a loaded machine explains

---@class kontext.Job
---@field id string? the task's, once the service gave one
---@field status "waiting"|"uploading"|"pending"|"downloading"|"ready"|"failed"|"cancelled"
---@field progress number? 0 … 1, as the service reports it
---@field sent integer bytes of the upload
---@field received integer bytes of the download
---@field total integer? bytes of the transfer that is under way, where they are known
---@field polling_url string?
---@field cost number? credits
---@field warnings string[]? what went wrong without ending the edit
---@field image kontext.Image?
---@field error kontext.Error?
local Job = { __name = "kontext.job", status = "waiting", sent = 0, received = 0 }
Job.__index = Job

Job.fail, Job.stop, Job.time_out, Job.crash =
  endings.fail, endings.stop, endings.time_out, endings.crash
Job.known, Job.adopt, Job.find_saved = memory.known, memory.adopt, memory.find_saved

---@class (private) kontext.Job
---@field _client kontext.Client
---@field _params table checked parameters; of a resumed job what its token or journal knows
---@field _begin fun(self: kontext.Job) the first stage, called when the job leaves the queue
---@field _next? fun(self: kontext.Job) what is due at `_due`
---@field _due? number on the monotonic clock
---@field _receive? fun(self: kontext.Job, event: table) gets the end of the transfer
---@field _transfer? integer the engine's number of the transfer that is under way
---@field _deadline? number on the monotonic clock, once the job has left the queue
---@field _timeout? number seconds, for messages
---@field _slots? table the queue's slots that the job takes a place of
---@field _wants_slot? boolean refused with 429: it waits until the account has room
---@field _watchers? function[] called once when the job has ended
---@field _noticed? boolean on_progress will be called at the end of this step
---@field _value? any what `wait` returns in place of an image
---@field _entry? integer the edit's number in the journal
---@field _intended? boolean the journal has its INTENT
---@field _identity? string what distinguishes this edit from others of the same key
---@field _destination? string the destination that the client holds for the job
---@field _found? string which file the destination was before anything was paid
---@field _reserved? string the name that was reserved for the result
---@field _asked_as? string the name that the caller gave, once another one was reserved
---@field _plans? table<string, table> pictures that are to be made to fit
---@field _answer? string what is put back into a region
---@field _names? integer names that were tried for what is put back
---@field _tries? integer further submits so far
---@field _limited? integer submits that were refused with 429
---@field _accepted_at? number on the monotonic clock; nil: by another process
---@field _accepted_wall? integer seconds since 1970
---@field _ask? fun(self: kontext.Job) asks for the task's status
---@field _asked_url? string what the last GET asked for
---@field _own_url? boolean the polling URL was made here: the service's is missing or unusable
---@field _hops? integer redirects in a row
---@field _polls? integer
---@field _failures? integer polls without an answer, in a row
---@field _missing? integer answers "Task not found", in a row
---@field _missing_since? number
---@field _watched_at? number when polling began
---@field _last_pending? number seconds from then to the last answer of a task in progress
---@field _woken? boolean a webhook came while a poll was under way
---@field _last_look? boolean the host was away past the deadline, and the job got more time
---@field _status? string the service's last word
---@field _result? table what will be the image
---@field _ready_at? number
---@field _sample? string the picture's link
---@field _sample_asked? string the link that had expired when a new poll was made
---@field _unfit? integer unusable links in a row
---@field _doubtful_end? boolean only our own clock says that the link has expired
---@field _downloads? integer downloads that failed
---@field _flaw? string why the last download failed
---@field _fetch? fun(self: kontext.Job) fetches the picture
---@field _held? integer the engine's number of what has arrived so far
---@field _arrived? boolean that is the whole picture
---@field _sizes? table<integer, boolean> byte counts of downloads whose end cannot be seen
---@field _save_error? table what the job ends with once the picture is in memory
---@field _asks? integer questions for the credits
---@field _doubtful? boolean it ended when it may have been sent whole

--- Makes a job that waits for its client to begin it with `begin`.
---@param client kontext.Client
---@param begin fun(self: kontext.Job)
---@param checked table
---@return kontext.Job
function job.new(client, begin, checked)
  return setmetatable({ _client = client, _begin = begin, _params = checked }, Job)
end

function Job:__tostring()
  return ("kontext.job: %s%s"):format(self.status,
    self.id and " " .. self.id:gsub("[^%w%-_.]", "?") or "")
end

local final = { ready = true, failed = true, cancelled = true }

--- Returns whether nothing more will happen to the job.
---@return boolean
function Job:ended()
  return final[self.status] == true
end

--- Does what is due, without blocking or yielding.
---@return string status
---@return number? progress 0 … 1
function Job:poll()
  receiver.check(self, Job, "job:poll()", 2)
  if not self:ended() then self._client:step() end
  return self.status, self.progress
end

--- Waits for the end: in a coroutine that a known loop drives by yielding to it, else by blocking.
---@param seconds? number at most; the job goes on afterwards
---@return kontext.Image|number|nil result the image; of `credits` the number
---@return string? message
---@return kontext.Error? err
function Job:wait(seconds)
  receiver.check(self, Job, "job:wait()", 2)
  if seconds ~= nil and type(seconds) ~= "number" then
    error("seconds must be a number, not " .. type(seconds), 2)
  end
  local now = self._client:clock()
  local deadline = seconds and now() + seconds
  if seconds and seconds <= 0 then self:poll() end -- so that calling this in a loop makes progress
  while not self:ended() do
    local left = deadline and deadline - now()
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

--- Ends the job at once. The service has no cancel, and continues an accepted edit.
function Job:cancel()
  receiver.check(self, Job, "job:cancel()", 2)
  self._client:settle(self)
  self:stop("cancelled", "the edit was cancelled")
end

--- Returns all that `resume` needs in another process, without the API key.
---@return string? token
---@return string? message
---@return kontext.Error? err while the service has given no id
function Job:token()
  receiver.check(self, Job, "job:token()", 2)
  if self.id then return (token.write(self:known())) end
  return errors.result(errors.new { kind = "invalid", retryable = self.sent == 0,
    message = "there is nothing to resume: the service has not accepted the edit" })
end

-- For the client, the queue, the transport and the journal ------------------------------------

--- Remembers the plans for pictures that are made to fit before the upload.
---@param plans table<string, table>?
function Job:set_plans(plans)
  self._plans = plans
end

--- Returns whether another edit asks for the same picture in the same place.
---@param checked table
---@return boolean
function Job:same_edit(checked)
  return self:save_as() == checked.save_as and self:identity() == identity.of(checked)
end

--- Returns what distinguishes the edit from others of the same key.
---@return string
function Job:identity()
  self._identity = self._identity or identity.of(self._params)
  return self._identity
end

--- Begins the first stage.
---@param now number
---@param timeout number the client's, in seconds
function Job:start(now, timeout)
  self._timeout = self._params.timeout or timeout
  self._deadline = now + self._timeout
  self._client:schedule(self._deadline)
  self._begin(self)
end

--- Returns whether the job is an edit: asking for the credits is none.
---@return boolean
function Job:is_edit()
  return self._params.model ~= nil
end

--- Returns whether the job is an edit of this process whose body has not gone out.
---@return boolean
function Job:is_unsent_edit()
  return self._params.prompt ~= nil and self.id == nil
end

--- Returns whether the service may have charged for the job: it may have accepted it, and has not
--- said that it does not charge.
---@return boolean
function Job:may_be_charged()
  if self.id then return not self.error or self.error.charged ~= false end
  return self._doubtful == true or self.error ~= nil and self.error.kind == "ambiguous"
end

--- Returns whether another process began the job.
---@return boolean
function Job:is_resumed()
  return self._accepted_at == nil
end

--- Returns the edit's model.
---@return string
function Job:model()
  return self._params.model
end

--- Returns the edit's key.
---@return string?
function Job:key()
  return self._params.key
end

--- Returns the path that the caller gave for the picture: the reserved name may have a number.
---@return string?
function Job:save_as()
  return self._asked_as or self._params.save_as
end

--- Returns the queue's slots in which the job has a place.
---@return kontext.Slots?
function Job:slots()
  return self._slots
end

function Job:take_slots(slots)
  self._slots = slots
end

function Job:leave_slots()
  self._slots = nil
end

--- Returns whether the job was refused with 429 and waits for room.
---@return boolean
function Job:wants_slot()
  return self._wants_slot == true and not self:ended()
end

--- Returns the seconds since polling began, the number of polls, and whether a webhook reports the
--- end.
---@param now number
---@return number age
---@return integer polls
---@return boolean hooked
function Job:poll_age(now)
  return now - self._watched_at, self._polls, self._params.webhook_url ~= nil
end

--- Returns the host's callback, unless a call is already planned.
---@return function?
function Job:take_notice()
  local callback = self._params.on_progress
  if not callback or self._noticed then return nil end
  self._noticed = true
  return callback
end

--- Forgets the host's callback.
function Job:drop_callback()
  self._params.on_progress = nil
end

function Job:notice_shown()
  self._noticed = nil
end

--- Adds a function to call once the job has ended.
---@param fn fun()
function Job:watch(fn)
  self._watchers = self._watchers or {}
  self._watchers[#self._watchers + 1] = fn
end

--- Returns the functions to call now that the job has ended, and forgets them.
---@return function[]
function Job:take_watchers()
  local watchers = self._watchers or {}
  self._watchers = nil
  return watchers
end

--- Remembers the number that a journal gave the edit.
---@param number integer
function Job:set_entry(number)
  self._entry = number
end

--- Returns when the job needs its next call: `_next`, or its deadline. During a transfer the engine
--- keeps the deadline, after it has read what has arrived in the socket.
---@return number when on the monotonic clock
function Job:due()
  local kept = self._transfer and not self._plans -- the engine's deadline is not for pictures
  local due = kept and math.huge or self._deadline or math.huge
  return self._next and self._due < due and self._due or due
end

--- Gives the job a little more time, once, if the host slept through the deadline: the task may
--- have ended long before.
---@param now number
function Job:look_once_more(now)
  self._last_look, self._deadline = true, now + math.min(10, self._timeout)
end

--- Does so if an answer was read well after the deadline. The engine would have ended the transfer
--- in time, so the host slept while the answer lay in the socket.
---@param now number
function Job:answered(now)
  if now > self._deadline + overslept and not self._last_look then self:look_once_more(now) end
end

--- Does what is due.
---@param now number
---@param away boolean the host has not stepped for a while
function Job:run_due(now, away)
  if self._deadline <= now and (not self._transfer or self._plans) then
    if away and self.id and self._ask and not self._last_look and not self._answer then
      self:look_once_more(now)
      self:later(0, self._ask)
      return
    end
    return self:time_out()
  end
  local due = self._next
  self._next = nil
  due(self)
end

--- Takes the end of the transfer that is under way.
---@param event table of the engine
function Job:receive(event)
  self._transfer = nil
  self._receive(self, event)
end

--- Notes that the program has saved the job's image.
---@param path string
---@param md5 string base64
---@param size integer bytes
function Job:saved(path, md5, size)
  save.noted(self, path, md5, size)
end

--- Begins another edit with this job's client; misuse raises at the caller `level` calls above.
---@param given table
---@param level integer
---@return kontext.Job
function Job:edit_with_same_client(given, level)
  local begun = self._client:begin_edit(given, level + 1)
  return begun
end

--- Returns whether the job waits for its next poll.
---@return boolean
function Job:wait_for_poll()
  return self._next ~= nil and self._next == self._ask
end

--- Makes the next poll come at once: a webhook reported the end.
function Job:wake()
  if self:wait_for_poll() then
    self:later(0, self._ask)
  else
    self._woken = true -- the poll under way may have been answered before the end
  end
end

--- Shows how far the transfer is.
---@param sent integer
---@param total integer
---@param received integer
function Job:show(sent, total, received)
  if self.status == "uploading" and sent ~= self.sent then
    self.sent, self.total = sent, total
    self._client:changed(self)
  elseif self.status == "downloading" and received ~= self.received then
    self.received, self.total = received, total > 0 and total or nil
    self._client:changed(self)
  end
end

-- For the stages ---------------------------------------------------------------------------------

--- Calls `fn` with the job in `seconds`.
---@param seconds number
---@param fn fun(self: kontext.Job)
function Job:later(seconds, fn)
  self._next, self._due = fn, self._client:clock()() + seconds
  self._client:schedule(math.min(self._due, self._deadline or math.huge))
end

--- Notes the transfer that is under way; `receive` gets its end.
---@param id integer? the engine's number of the transfer
---@param receive fun(self: kontext.Job, event: table)
---@return integer? id
function Job:expect(id, receive)
  if id then self._transfer, self._receive = id, receive end
  return id
end

--- Asks for a URL with a GET. A redirect is relative to the last URL, and never gets the API key.
--- Returns the transfer's number; or nil and what is wrong with the URL; or nil, message and code.
---@param url string
---@param redirected boolean
---@param receive fun(self: kontext.Job, event: table)
---@param options? table of a picture
---@return integer? id
---@return string? message
---@return string? code
function Job:get(url, redirected, receive, options)
  local request = options or {}
  request.url, request.base = url, redirected and self._asked_url or nil
  request.deadline = self._deadline
  local id, where, code = self._client.transport:fetch(self, request)
  if not id then return nil, where, code end
  self._asked_url = where
  return self:expect(id, receive)
end

--- Tells the host's on_event.
---@param name string
---@param fields? table
function Job:tell(name, fields)
  self._client:event(self, name, fields)
end

--- Shows a new status.
---@param status string
function Job:set_status(status)
  self.status = status
  self._client:changed(self)
end

--- Adds a sentence about what went wrong without ending the edit.
---@param text string
function Job:warn(text)
  self.warnings = self.warnings or {}
  local shown = errors.new({ kind = "warning", message = text }, self:secrets()).message
  self.warnings[#self.warnings + 1] = shown
end

--- Returns the secrets that no message about the job may show.
---@return string[]
function Job:secrets()
  local transport = self._client.transport
  return transport and transport:secrets(self._params.webhook_secret) or {}
end

--- Writes a fact into the journal. Returns true, or nil, message and code.
---@param fact string
---@param details? table<string, string>
---@return true? done
---@return string? message
---@return string? code
function Job:record(fact, details)
  return self._client:record(self, fact, details)
end

--- Ends the job, once.
---@param status "ready"|"failed"|"cancelled"
function Job:finish(status)
  self.status = status
  self._next, self._due, self._receive, self._ask = nil, nil, nil, nil
  params.drop_images(self._params)
  if self._params.window and self._params.window.source then
    self._params.window.source.bytes = nil
  end
  self._answer = nil
  save.release(self)
  self._client:finished(self)
end

--- Returns the engine's numbers of the job's transfers, and forgets them.
---@return integer? transfer
---@return integer? held
function Job:take_transfers()
  local transfer, held = self._transfer, self._held
  self._transfer, self._held = nil, nil
  return transfer, held
end

return job
