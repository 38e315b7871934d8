--- A client: the public methods, and the parts that it has: a queue (which job begins), steps (what
--- is done when), a transport (moves the bytes), a pace (how often to poll), the spending and,
--- if asked for, a journal (what is paid for).
local batch = require "kontext.batch"
local credits = require "kontext.job.credits"
local digests = require "kontext.journal.digests"
local errors = require "kontext.errors"
local events = require "kontext.client.events"
local intake = require "kontext.client.intake"
local jobs = require "kontext.job.job"
local journal = require "kontext.journal.journal"
local options = require "kontext.client.options"
local origin = require "kontext.client.origin"
local pace = require "kontext.client.pace"
local queue = require "kontext.client.queue"
local resume = require "kontext.journal.resume"
local receiver = require "kontext.receiver"
local retry = require "kontext.job.retry"
local spending = require "kontext.client.spending"
local steps = require "kontext.client.steps"
local submit = require "kontext.job.submit"
local system = require "kontext.system"
local tools = require "kontext.tools"
local transport = require "kontext.client.transport"
-- All code of a job's life is loaded here: reading a file could fail once an edit is paid for.

local client = {}

---@class kontext.Client
---@field system kontext.System
---@field transport kontext.Transport? nil where no job can begin
---@field quota kontext.RetryQuota
---@field pace kontext.Pace
---@field spending kontext.Spending
local Client = { __name = "kontext.client" }
Client.__index = Client

---@class (private) kontext.Client
---@field _options table what options.check returns, without the key
---@field _queue kontext.Queue
---@field _steps kontext.Steps
---@field _engine? table the transport's; nil after close, and in a forked child
---@field _events kontext.Events
---@field _journal? kontext.Journal
---@field _broken? kontext.Error why no job of this client can begin
---@field _open integer jobs, and other tasks, that have not ended
---@field _destinations table<string, kontext.Job> which job is saved where
---@field _keyed table<string, kontext.Job[]> the jobs of a key that have not ended
---@field _flushing? boolean jobs are being ended together: the end of one ends no other
---@field _closed? boolean
---@field _depth integer calls of ours above each public method

--- Makes a client.
---@param given? table options: see docs/reference.md
---@param on? kontext.System the machine, for the simulation
---@param depth? integer of our own calls above each method, which errors skip; 1: default client
---@return kontext.Client
function client.new(given, on, depth)
  local chosen = options.check(given, 2)
  chosen.base_url = chosen.base_url:gsub("/+$", "")
  local on_machine, its_queue = on or system, queue.new(chosen.max_active)
  local self = setmetatable({
    system = on_machine, quota = retry.quota(), spending = spending.new(chosen.budget),
    pace = pace.new(on_machine, its_queue, chosen.poll_interval),
    _options = chosen, _queue = its_queue, _open = 0, _destinations = {}, _keyed = {},
    _steps = steps.new(on_machine, its_queue, chosen.timeout),
    _events = events.new(on_machine, chosen.on_event), _depth = depth or 0,
  }, Client)
  local base, message = origin.read(chosen.base_url, true)
  if not base then
    self:_break { kind = "invalid", message = "BFL_BASE_URL " .. message }
    return self
  end
  local code
  self.transport, message, code = transport.new(self.system, chosen, base)
  self._engine = self.transport and self.transport.engine
  chosen.api_key = nil -- the transport alone knows it: nothing that prints a job shows it
  if self.transport then self._steps:use(self.transport) end
  if not self.transport then
    self:_break { kind = "internal", code = code, message = "the client cannot begin: " .. message }
  elseif chosen.journal then
    self:_open_journal(chosen.journal, true)
  end
  return self
end

-- Remembers why no job of this client can begin.
function Client:_break(fields)
  fields.stage, fields.charged = "check", false
  self._broken = errors.new(fields)
end

function Client:_open_journal(path, create)
  local message, code
  self._journal, message, code = journal.open(path, self.system, create, {
    account = function() return self.transport:account() end, timeout = self._options.timeout })
  if self._journal then
    self._options.journal = self._journal.path -- an address without its password
    local shared = self._journal.slots
    if shared then
      self._steps:ask_before(function(job)
        local taken, seconds = shared:take(job)
        return taken, taken or self.system.now() + seconds
      end)
    end
  else
    self:_break { kind = "file", code = code, message = message }
  end
end

function Client:__tostring()
  return "kontext.client: " .. (self._closed and "closed" or self._options.base_url)
end

-- Raises at the line of the public method's caller if this is no client or a closed one.
local function alive(self, level)
  receiver.check(self, Client, "client:edit{ … }", (level or 1) + 2)
  if self._closed then error("the client is closed", (level or 1) + 2) end
  self:_leave_to_parent()
end

-- Ends everything in a forked child: the edits go on in the parent.
function Client:_leave_to_parent()
  local engine = self._engine
  if not engine or not engine:forked() then return end
  self.transport:close_engine()
  self._engine = nil
  self:_break { kind = "fork", message = "this process was forked from the one that made the "
    .. "client, where the edit goes on: make a client of its own here with kontext.new" }
  self._journal = nil
  self:_end_all("fork", self._broken.message)
  self.transport:close()
end

-- Beginning jobs ------------------------------------------------------------------------------

--- Counts one more job that has not ended.
function Client:count()
  self._open = self._open + 1
end

--- Returns a job that ends with this error before anything is sent.
---@param checked table
---@param err table fields of an error
---@return kontext.Job
function Client:refuse(checked, err)
  return intake.refuse(self, checked, err)
end

--- Returns the fields of the client's own error, or those of a missing key, or nil.
---@return table?
function Client:unable()
  if self._broken then return errors.copy(self._broken) end
  local key, message = self.transport:key()
  if key then return nil end
  return { kind = "auth", message = message, stage = "check", charged = false }
end

--- Begins an edit. Misuse raises at the caller `level` calls above.
---@param given table
---@param level integer
---@param anew? boolean even if the journal has an edit with that key
---@return kontext.Job
function Client:begin_edit(given, level, anew)
  alive(self, level)
  local job = intake.edit(self, given, level + 1, anew)
  return job
end

--- Begins an edit and returns at once. A bad file, parameter or API key becomes the job's error.
--- Misuse raises: an unknown key, a value of the wrong Lua type, a closed client.
---@param edit_params table see docs/reference.md
---@return kontext.Job
function Client:edit(edit_params)
  receiver.check(self, Client, "client:edit{ … }", 2)
  -- Not a tail call, here and below, so that errors name the caller's line.
  local job = self:begin_edit(edit_params, 2 + self._depth)
  return job
end

--- Begins the edit that removes what is white in a mask; for its parameters see kontext.tools.
---@param given table image, mask, and more
---@return kontext.Job
function Client:erase(given)
  receiver.check(self, Client, "client:erase{ … }", 2)
  local level = 2 + self._depth
  local job = self:begin_edit(tools.erase(given, level), level)
  return job
end

--- Begins the edit that paints around a picture; for its parameters see kontext.tools.
---@param given table input_image, and margins or a width and a height, and more
---@return kontext.Job
function Client:outpaint(given)
  receiver.check(self, Client, "client:outpaint{ … }", 2)
  local level = 2 + self._depth
  local job = self:begin_edit(tools.outpaint(given, level), level)
  return job
end

--- Queues a job; a paid one goes first.
---@param job kontext.Job
---@param model string
---@param first boolean
---@return kontext.Job
function Client:enqueue(job, model, first)
  self._queue:push(job, model, first)
  self:count()
  self:schedule(0)
  return job
end

--- Resumes a job of another process, or all unfinished jobs of a journal.
---@param from string|table the token, or {journal = path}
---@param overrides? table of a token: save_as, no_replace, on_progress
---@return kontext.Job|kontext.Job[] job for a token a job, for a journal an array of them
function Client:resume(from, overrides)
  alive(self, 1)
  local wrong = resume.misuse(from, overrides)
  if wrong then error(wrong, 2 + self._depth) end
  if type(from) == "table" then return resume.journal(self, from.journal) end
  return (resume.token(self, from, overrides))
end

--- Begins a job that resumes a task of an earlier process.
---@param checked table what is known of it
---@param known table id, polling_url, entry
---@return kontext.Job
function Client:begin_resumed(checked, known)
  return intake.resumed(self, checked, known)
end

--- Returns a job that has already ended, because an earlier run saved its picture.
---@param checked table
---@param entry kontext.JournalEntry
---@return kontext.Job
function Client:begin_saved(checked, entry)
  return intake.saved(self, checked, entry)
end

--- Opens the journal at that path for `resume`, unless it is the client's own. Returns it, or nil
--- and an error's fields.
---@param path string
---@return kontext.Journal? journal
---@return table? fields
function Client:journal_for_resume(path)
  if not self._broken and not self._journal then self:_open_journal(path, false) end
  if self._broken then return nil, errors.copy(self._broken) end
  if not self._journal:is_at(path) then
    return nil, { kind = "invalid", stage = "check", charged = false,
      message = "the client keeps another journal already: resume this one with a new client" }
  end
  return self._journal
end

--- Returns the fields of the error that every edit of this client ends with, or nil.
---@return table?
function Client:refusal()
  return self._broken
end

--- Returns the client's journal, or nil.
---@return kontext.Journal?
function Client:journal()
  return self._journal
end

--- Returns a job of that key that is under way: the one that `is_wanted`, else the newest, or nil.
---@param key string
---@param is_wanted? fun(job: kontext.Job): boolean
---@return kontext.Job?
function Client:job_of_key(key, is_wanted)
  local newest
  for _, other in ipairs(self._keyed[key] or {}) do
    if is_wanted and is_wanted(other) then return other end
    newest = other
  end
  return newest
end

--- Notes which job has a key.
---@param key string
---@param job kontext.Job
function Client:hold_key(key, job)
  local holders = self._keyed[key] or {}
  self._keyed[key] = holders
  holders[#holders + 1] = job
end

-- Forgets the key of a job that has ended.
local function leave_key(self, job)
  local key = job:key()
  local holders = key and self._keyed[key] or {}
  for i, holder in ipairs(holders) do
    if holder == job then
      table.remove(holders, i)
      break
    end
  end
  if key and #holders == 0 then self._keyed[key] = nil end
end

--- Begins many edits with a few in flight. An item may take another one's result:
--- `input_image = { result = "key" }`.
---@param list table[] parameters as of edit, each with or without a `key`
---@param batch_options? table max_active, on_progress, stop_on_error, retry_ambiguous, remake
---@return kontext.Batch
function Client:batch(list, batch_options)
  alive(self, 1)
  local made = batch.new(self, list, batch_options)
  return made
end

--- Returns how many edits of a model the service takes at once.
---@param model string
---@return integer
function Client:limit(model)
  return self._queue:limit(model)
end

--- Returns how many calls of ours stand above a public method.
---@return integer
function Client:depth()
  return self._depth
end

--- Returns whether `close` was called.
---@return boolean
function Client:is_closed()
  return self._closed == true
end

--- Digests files on the worker thread, then calls `done` with {path = digest}; or with nil, message
--- and code.
---@param paths string[]
---@param done fun(digests: table<string, string>?, message: string?, code: string?)
function Client:digest(paths, done)
  if self._broken then return done({}) end -- the edit will say what is wrong
  self._open = self._open + 1
  digests.of(self, paths, function(...)
    self._open = self._open - 1
    done(...)
  end)
end

--- Calls `fn` in one of the next steps, so that long work can be done in pieces.
---@param fn fun()
function Client:soon(fn)
  local task = { ended = function() return false end, due = function() return 0 end }
  self._open = self._open + 1
  local function leave()
    self._open = self._open - 1
    self._queue:remove(task)
  end
  function task.run_due()
    leave()
    fn()
  end
  task.stop, task.crash = task.run_due, leave
  self._queue:activate(task)
  self:schedule(0)
end

--- Returns the model of edits that name none.
---@return string
function Client:default_model()
  return self._options.model
end

--- Asks for the account's credits.
---@return kontext.Job job whose wait gives the number
function Client:credits()
  alive(self, 1)
  local wrong = self:unable()
  if wrong then return self:refuse({}, wrong) end
  local job = jobs.new(self, credits.begin, {})
  self._open = self._open + 1
  self._queue:activate(job)
  job:start(self.system.now(), self._options.timeout)
  return job
end

-- For the jobs --------------------------------------------------------------------------------

--- Returns the monotonic clock.
---@return fun(): number
function Client:clock()
  return self.system.now
end

--- Returns the job that will be saved under that name, or nil.
---@param path string
---@return kontext.Job?
function Client:destination(path)
  return self._destinations[path]
end

--- Notes which job will be saved under that name; nil: none.
---@param path string
---@param job kontext.Job?
function Client:set_destination(path, job)
  self._destinations[path] = job
end

--- Returns the folders for pictures that cannot be saved where they belong, the best first.
---@return string[]
function Client:spare_folders()
  local folders = {}
  local own = self._options.journal
  if own and not journal.is_address(own) then folders[1] = own:match "^(.*)/[^/]*$" or "." end
  folders[#folders + 1] = self.system.getenv "TMPDIR" or "/tmp"
  return folders
end

--- Writes a fact about a job into the journal. Returns true, or nil, message and code.
---@param job kontext.Job
---@param fact string
---@param details? table
---@return true? done
---@return string? message
---@return string? code
function Client:record(job, fact, details)
  self:_leave_to_parent() -- the journal is the parent's
  if not self._journal or self._closed or not job:is_edit() then return true end
  return self._journal:record(job, fact, details)
end

--- Returns what the engine must write into the journal before an upload's first byte, or nil.
---@param job kontext.Job
---@return table?
---@return string? message the journal cannot be written, so nothing may be sent
---@return string? code
function Client:mark(job)
  if not self._journal then return nil end
  return self._journal:mark(job)
end

--- Returns whether a picture may be saved: true; false and why when another process has taken the
--- edit over; nil and why when the journal does not know.
---@param job kontext.Job
---@return boolean? may
---@return string? message
function Client:may_save(job)
  if not self._journal then return true end
  return self._journal:may_save(job)
end

-- Submits a job again that was refused with 429 and may now try.
local function try_again(job)
  if job and job:wants_slot() then job:later(0, submit.begin) end
end

--- Notes that the service has accepted a job.
---@param job kontext.Job
function Client:accepted(job)
  local slots = job:slots()
  if slots then try_again(self._queue:accepted(job, slots)) end
end

--- Notes that a job was refused with 429: it waits for room, or for `seconds`.
---@param job kontext.Job
---@param seconds number
function Client:limited(job, seconds)
  if self._journal and self._journal.slots then self._journal.slots:limited() end
  if self._queue:limited(job, job:slots(), self.system.now()) then
    job:later(seconds, submit.begin)
  end
end

--- Returns whether a task with that id is in flight.
---@param id string
---@return boolean
function Client:has_task(id)
  return self._queue:task(id) ~= nil
end

--- Makes sure that a step comes at `when`.
---@param when number
function Client:schedule(when)
  self._steps:schedule(when)
end

--- Calls a job's on_progress at the end of the step: something that it shows has changed.
---@param job kontext.Job
function Client:changed(job)
  local callback = job:take_notice()
  if not callback then return end
  self._steps:tell_host(function()
    job:notice_shown()
    local done, raised = pcall(callback, job)
    if done then return end
    job:drop_callback() -- it would raise again at each change
    error(raised, 0)
  end)
end

--- Reports an event of a job to the host's on_event at the end of the step.
---@param job kontext.Job
---@param name string
---@param fields? table
function Client:event(job, name, fields)
  local notice = self._events:notice(job, name, fields)
  if notice then self:tell_host(notice) end
end

--- Releases all that a job held, once it has ended.
---@param job kontext.Job
function Client:finished(job)
  self._open = self._open - 1
  self.spending:settle(job)
  if self.transport then self.transport:cancel(job) end
  local slots = job:slots()
  job:leave_slots()
  leave_key(self, job)
  if self._journal then
    self._journal:forget(job)
    if self._journal.slots then self._journal.slots:release(job) end
  end
  try_again(self._queue:remove(job, slots, job.id ~= nil))
  self:changed(job)
  for _, watcher in ipairs(job:take_watchers()) do self._steps:tell_host(watcher) end
  self:schedule(0)
  if not self._flushing and retry.is_hopeless(job.error) then self:_flush(job.error) end
end

-- Ends the jobs that are not sent, because the key is refused or the credits are spent.
function Client:_flush(err)
  self._flushing = true
  self._queue:each(function(job)
    if job.status == "waiting" and job:is_unsent_edit() then
      job:fail(errors.copy(err))
    end
  end)
  self._flushing = false
end

function Client:_end_all(kind, message)
  self._flushing = true
  self._queue:each(function(job) job:stop(kind, message) end)
end

--- Reads what has already arrived in the sockets, so that ending a job loses no answer.
function Client:settle()
  self:_leave_to_parent()
  if not self._closed then self._steps:settle() end
end

-- The host's callbacks -------------------------------------------------------------------------

--- Calls `fn` from a step once the job has ended, or at once if it has.
---@param job kontext.Job
---@param fn fun()
function Client:on_end(job, fn) -- luacheck: no self
  if job:ended() then return fn() end
  job:watch(fn)
end

--- Calls the host's function `fn` at the end of this step or of the next.
---@param fn fun()
function Client:tell_host(fn)
  self._steps:tell_host(fn)
end

-- Steps ------------------------------------------------------------------------------------------

--- Does what is due, without blocking.
---@return integer open the number of jobs that have not ended
function Client:step()
  alive(self, 1)
  self._steps:step()
  return self._open
end

--- Waits up to `seconds` for something to do, then does it.
---@param seconds? number default 0
---@return integer open the number of jobs that have not ended
function Client:poll(seconds)
  receiver.check(self, Client, "client:poll(seconds)", 2)
  if seconds ~= nil and type(seconds) ~= "number" then
    error("seconds must be a number, not " .. type(seconds), 2 + self._depth)
  end
  alive(self, 1)
  local engine = self._engine
  if seconds and engine and self._open > 0 then engine:wait(self.system.now() + seconds) end
  self._steps:step_longer()
  return self._open
end

--- Returns the descriptor that is readable when `step` has something to do.
---@return integer? descriptor nil: there is none; call `step` when `timeout` says
function Client:pollfd()
  alive(self, 1)
  local engine = self._engine
  return engine and engine:pollfd()
end

--- The same, under the name that luasocket's select uses.
---@return integer? descriptor
function Client:getfd()
  alive(self, 1)
  local engine = self._engine
  return engine and engine:pollfd()
end

--- Returns which readiness of the descriptor to watch.
---@return "r"
function Client:events()
  alive(self, 1)
  return "r"
end

--- Returns when `step` is due at the latest.
---@return number? seconds nil: when the descriptor is readable
function Client:timeout()
  alive(self, 1)
  local engine = self._engine
  return engine and engine:timeout()
end

--- Returns how `wait` waits: the option `loop`.
---@return string|function|nil
function Client:loop()
  return self._options.loop
end

--- Wakes the job that a verified webhook names. The job polls its own URL, because a webhook's URLs
--- are not trusted.
---@param event table of webhook.verify
---@return boolean known whether a job of this client is waiting for it
function Client:notify(event)
  receiver.check(self, Client, "client:notify(event)", 2)
  alive(self, 1)
  if type(event) ~= "table" or type(event.id) ~= "string" then
    error("event must be one of webhook.verify", 2 + self._depth)
  end
  local job = self._queue:task(event.id)
  if not job or job.status ~= "pending" then return false end
  job:wake()
  return true
end

--- Ends all jobs at once, with errors of kind "closed"; what was accepted can be resumed.
function Client:close()
  receiver.check(self, Client, "client:close()", 2)
  if self._closed then return end
  self:settle()
  self:_end_all("closed", "the client was closed")
  self._closed = true
  local problem -- of the first callback that raised
  repeat -- before the descriptor closes: loops must stop watching it first
    local told, message = pcall(self._steps.notify_host, self._steps)
    problem = problem or message
  until told
  if self.transport then self.transport:close() end
  self._engine = nil
  if self._journal then self._journal:close() end
  self._journal = nil
  if problem then error(problem, 0) end
end

return client
