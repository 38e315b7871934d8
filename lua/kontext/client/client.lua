--- A client: edits, resumes, steps, closes. It has a queue (whose turn is it), a transport (how
--- bytes move) and, where one was asked for, a journal (what is paid for).
local batch = require "kontext.batch"
local budgets = require "kontext.budget"
local check = require "kontext.job.check"
local credits = require "kontext.job.credits"
local cut = require "kontext.job.cut"
local digests = require "kontext.journal.digests"
local earlier = require "kontext.journal.earlier"
local errors = require "kontext.errors"
local estimate = require "kontext.estimate"
local fit = require "kontext.job.fit"
local job = require "kontext.job.job"
local journal = require "kontext.journal.journal"
local options = require "kontext.client.options"
local origin = require "kontext.client.origin"
local params = require "kontext.job.params"
local poll = require "kontext.job.poll"
local queue = require "kontext.client.queue"
local resume = require "kontext.journal.resume"
local retry = require "kontext.job.retry"
local save = require "kontext.job.save"
local schedule = require "kontext.job.schedule"
local submit = require "kontext.job.submit"
local system = require "kontext.system"
local tools = require "kontext.tools"
local transport = require "kontext.client.transport"
-- All of a paid job's life is loaded here: no file is to be read once an edit is paid for.

local client = {}

---@class kontext.Client
---@field system kontext.System
---@field transport kontext.Transport? nil where no job can begin
---@field quota kontext.RetryQuota
local Client = { __name = "kontext.client" }
Client.__index = Client

Client._depth = 0 -- calls of ours above a method: the default client has one, which errors skip

-- Seconds of a step: a tenth of what has passed since the last one, so that a loop that watches the
-- descriptor is held up the least, by one piece of an upload, and one that ticks moves enough. What
-- is left keeps the descriptor readable.
local least_budget, most_budget = 0.00001, 0.0005
local waiting_budget = 0.001 -- where nothing else is kept waiting
local progress_interval = 0.002 -- seconds: at each step it was a tenth of 24 uploads' CPU
local away = 1 -- seconds without a step after which the host was away

--- Makes a client.
---@param given? table options: see docs/reference.md
---@param on? kontext.System the machine, for the simulation
---@return kontext.Client
function client.new(given, on)
  local chosen = options.check(given, 2)
  chosen.base_url = chosen.base_url:gsub("/+$", "")
  local self = setmetatable({
    system = on or system, quota = retry.quota(),
    _options = chosen, _queue = queue.new(chosen.max_active), _open = 0, _destinations = {},
    _identities = {},
    _notices = { first = 1, last = 0 }, _shown = 0,

    _budget = chosen.budget and budgets.new(chosen.budget), _reserved = {}, _counted = {},
  }, Client)
  self._now = self.system.now
  self._stepped = self._now()
  local base, message = origin.read(chosen.base_url, true)
  if not base then
    self:_break { kind = "invalid", message = "BFL_BASE_URL " .. message }
    return self
  end
  local code
  self.transport, message, code = transport.new(self.system, chosen, base)
  self._engine = self.transport and self.transport.engine -- what the loop waits for
  chosen.api_key = nil -- the transport alone knows it: nothing that prints a job shows it
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
  self._journal, message, code = journal.open(path, self.system, create)
  if not self._journal then
    self:_break { kind = "file", code = code, message = message }
  end
end

function Client:__tostring()
  return "kontext.client: " .. (self._closed and "closed" or self._options.base_url)
end

-- Raises at the level of the public method's caller when the client is closed.
local function alive(self, level)
  if self._closed then error("the client is closed", (level or 1) + 2) end
  self:_leave_to_parent()
end

-- In a forked child: all ends here, and goes on in the parent.
function Client:_leave_to_parent()
  if not self._engine or not self._engine:forked() then return end
  self.transport:close_engine()
  self._engine = nil
  self:_break { kind = "fork", message = "this process was forked from the one that made the "
    .. "client, where the edit goes on: make a client of its own here with kontext.new" }
  self._journal = nil
  self:_end_all("fork", self._broken.message)
  self.transport:close()
end

-- Beginning jobs ------------------------------------------------------------------------------

-- Notes the state of the images' files. Returns what is known of each as it will be sent, by name,
-- and how those are to be made to fit that have to be; or nil and an error.
local function check_sources(checked)
  local plans
  local sizes = {}
  for _, picture in ipairs(params.pictures(checked)) do
    local source = picture.source
    if not source.url then
      local has_window = cut.is_wanted(checked, picture.name)
      local known, err = check.source(source, checked.fit or has_window, checked.model)
      if not known then return nil, err end
      source.stamp = known.stamp
      local width, height = check.upright(known)
      local format, bytes = known.format, known.bytes
      local plan, upload
      if has_window then
        plan, err = cut.plan(checked, source, known)
        if not plan then return nil, err end
        upload = plan.upload
      else
        plan = checked.fit and fit.plan(known, checked) or checked.strip and { strip = true } or nil
        upload = plan and not plan.strip and plan
        plans = plan and (plans or {}) or plans
        if plan then plans[picture.name] = plan end
      end
      sizes[picture.name] = { format = format, bytes = not upload and bytes or 0,
        width = upload and upload.width or width, height = upload and upload.height or height }
    end
  end
  local done, message = params.check_pictures(checked, sizes)
  if done then return sizes, plans end
  return nil, { kind = "image", message = message, stage = "check", charged = false }
end

-- Returns a job that ends with this error before anything is sent.
function Client:refuse(checked, err)
  local refused = job.new(self, submit.begin, checked)
  self._open = self._open + 1
  refused:fail(err)
  return refused
end

-- Returns the client's own error, or that of a missing key, or nil.
local function unable(self)
  if self._broken then return errors.copy(self._broken) end
  local key, message = self.transport:key()
  if key then return nil end
  return { kind = "auth", message = message, stage = "check", charged = false }
end

-- Returns the edit of that key and content which is under way, for a second one to join; what asks
-- for something else under that key is refused.
local function under_way(self, checked)
  local other = checked.key and self:job_of_key(checked.key)
  if not other or other:same_edit(checked) then return other end
  return self:refuse(checked, { kind = "invalid", stage = "check", charged = false,
    message = ('edit "%s" is under way with other parameters: give this one another key'):format(
      checked.key) })
end

-- Reserves what an edit will cost at most. Returns the reservation, where there is a budget; or nil
-- and the fields of an error.
local function reserve(self, checked, known)
  if not self._budget then return nil end
  local reservation, message = self._budget:reserve(estimate.of(checked, known))
  if reservation then return reservation end
  return nil, { kind = "budget", message = message, stage = "check", charged = false }
end

--- Begins an edit. What is misused is blamed on the caller `level` calls above.
---@param given table
---@param level integer
---@param anew? boolean whatever the journal has of an edit with that key
---@return kontext.Job
function Client:begin_edit(given, level, anew)
  alive(self, level)
  local checked, message = params.check(given, level + 1, self._options.model)
  if not checked then
    return self:refuse({}, { kind = "invalid", message = message, stage = "check",
      charged = false })
  end
  local wrong = unable(self)
  if wrong then return self:refuse(checked, wrong) end
  local known, plans = check_sources(checked)
  if not known then return self:refuse(checked, errors.copy(plans)) end
  local same = under_way(self, checked)
    or checked.key and not anew and earlier.job(self, checked)
  if same then return same end
  local reservation, refusal = reserve(self, checked, known)
  if refusal then return self:refuse(checked, refusal) end
  local first = checked.window and cut.begin or plans and fit.begin or submit.begin
  local begun = job.new(self, first, checked)
  begun:set_plans(plans)
  self._reserved[begun] = reservation
  if checked.warnings then for _, text in ipairs(checked.warnings) do begun:warn(text) end end
  local refused = save.claim(begun)
  if refused then
    self._open = self._open + 1
    begun:fail(refused)
    return begun
  end
  if checked.key then self._identities[checked.key] = begun end
  return self:enqueue(begun, checked.model, false)
end

--- Begins an edit, at once: what is wrong with the file, the parameters or the key becomes the
--- job's error. Raises on misuse: an unknown key, a value of the wrong Lua type, a closed client.
---@param edit_params table see docs/reference.md
---@return kontext.Job
function Client:edit(edit_params)
  -- No tail call, here and below: errors blame the caller's line.
  local begun = self:begin_edit(edit_params, 2 + self._depth)
  return begun
end

--- Begins the edit that removes what is white in a mask: `kontext.tools.erase` says what it takes.
---@param given table image, mask, and more
---@return kontext.Job
function Client:erase(given)
  local level = 2 + self._depth
  local begun = self:begin_edit(tools.erase(given, level), level)
  return begun
end

--- Begins the edit that paints around a picture: `kontext.tools.outpaint` says what it takes.
---@param given table input_image, and margins or a width and a height, and more
---@return kontext.Job
function Client:outpaint(given)
  local level = 2 + self._depth
  local begun = self:begin_edit(tools.outpaint(given, level), level)
  return begun
end

--- Queues a job; one that is paid for goes first.
---@param queued kontext.Job
---@param model string
---@param first boolean
---@return kontext.Job
function Client:enqueue(queued, model, first)
  self._queue:push(queued, model, first)
  self._open = self._open + 1
  self:schedule(0)
  return queued
end

-- Returns what is misused in what `resume` was given, or nil.
local function misuse(from, overrides)
  if type(from) == "table" then
    for name in pairs(from) do
      if name ~= "journal" then return params.unknown(name, { journal = true }) end
    end
    if type(from.journal) ~= "string" then
      return "journal must be a string, not " .. type(from.journal)
    end
  elseif type(from) ~= "string" then
    return "resume takes a token or {journal = path}, not " .. type(from)
  end
  if overrides == nil then return nil end
  if type(overrides) ~= "table" then return "options must be a table, not " .. type(overrides) end
  local types = { save_as = "string", no_replace = "boolean", on_progress = "function" }
  for name, value in pairs(overrides) do
    if not types[name] then return params.unknown(name, types) end
    if type(value) ~= types[name] then
      return ("%s must be a %s, not %s"):format(name, types[name], type(value))
    end
  end
end

--- Goes on with a job of another process, or with all unfinished ones of a journal.
---@param from string|table the token, or {journal = path}
---@param overrides? table of a token: save_as, no_replace, on_progress
---@return kontext.Job|kontext.Job[] job for a token a job, for a journal an array of them
function Client:resume(from, overrides)
  alive(self, 1)
  local wrong = misuse(from, overrides)
  if wrong then error(wrong, 2 + self._depth) end
  if type(from) == "table" then return resume.journal(self, from.journal) end
  return (resume.token(self, from, overrides))
end

--- Begins a job that goes on with a task of an earlier process.
---@param checked table what is known of it
---@param known table id, polling_url, entry
---@return kontext.Job
function Client:begin_resumed(checked, known)
  if self._broken then return self:refuse(checked, errors.copy(self._broken)) end
  local begun = job.new(self, poll.resume, checked)
  begun:adopt(known)
  local refused = save.claim(begun)
  if refused then
    self._open = self._open + 1
    begun:fail(refused)
    return begun
  end
  if checked.key then self._identities[checked.key] = begun end
  return self:enqueue(begun, checked.model, true)
end

--- Returns a job that has ended long ago: an earlier run has saved its picture.
---@param checked table
---@param entry kontext.JournalEntry
---@return kontext.Job
function Client:begin_saved(checked, entry)
  local begun = job.new(self, submit.begin, checked)
  self._open = self._open + 1
  begun:find_saved(entry)
  return begun
end

--- Opens the journal of that path for `resume`, unless it is the client's own. Returns it; or nil
--- and an error's fields.
---@param path string
---@return kontext.Journal? journal
---@return table? fields
function Client:journal_for_resume(path)
  if not self._broken and not self._journal then self:_open_journal(path, false) end
  if self._broken then return nil, errors.copy(self._broken) end
  if self._journal.path ~= path then
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

--- Returns the job of that key that is under way, or nil.
---@param key string
---@return kontext.Job?
function Client:job_of_key(key)
  local other = self._identities[key]
  return other and not other:ended() and other or nil
end

--- Begins many edits with a few in flight. An item may take another one's result:
--- `input_image = { result = "key" }`.
---@param list table[] parameters as of edit, each with or without a `key`
---@param batch_options? table max_active, on_progress, stop_on_error, retry_ambiguous, remake
---@return kontext.Batch
function Client:batch(list, batch_options)
  alive(self, 1)
  local begun = batch.new(self, list, batch_options)
  return begun
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

--- Calls `fn` in one of the next steps: what has much to do does it in pieces.
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
  local wrong = unable(self)
  if wrong then return self:refuse({}, wrong) end
  local asked = job.new(self, credits.begin, {})
  self._open = self._open + 1
  self._queue:activate(asked)
  asked:start(self._now(), self._options.timeout)
  return asked
end

-- For the jobs --------------------------------------------------------------------------------

--- Returns the monotonic clock.
---@return fun(): number
function Client:clock()
  return self._now
end

--- Returns the job that is to be saved under that name, or nil.
---@param path string
---@return kontext.Job?
function Client:destination(path)
  return self._destinations[path]
end

--- Notes who is to be saved under that name; nil: nobody.
---@param path string
---@param holder kontext.Job?
function Client:set_destination(path, holder)
  self._destinations[path] = holder
end

--- Returns the folders where a picture is put aside that cannot be saved, the best first.
---@return string[]
function Client:spare_folders()
  local folders = {}
  local own = self._options.journal
  if own then folders[1] = own:match "^(.*)/[^/]*$" or "." end
  folders[#folders + 1] = self.system.getenv "TMPDIR" or "/tmp"
  return folders
end

--- Writes a fact about a job into the journal. Returns true, or nil, message and code.
---@param of kontext.Job
---@param fact string
---@param details? table
---@return true? done
---@return string? message
---@return string? code
function Client:record(of, fact, details)
  self:_leave_to_parent() -- the journal is the parent's
  if not self._journal or self._closed or not of:is_edit() then return true end
  return self._journal:record(of, fact, details)
end

--- Returns what the engine writes into the journal as an upload's first byte goes out, or nil.
---@param of kontext.Job
---@return table?
function Client:mark(of)
  return self._journal and self._journal:mark(of) or nil
end

-- Lets the job go on that was refused with 429 and may try now.
local function try_again(next_job)
  if next_job and next_job:wants_slot() then next_job:later(0, submit.begin) end
end

--- Takes note that the service has accepted a job.
---@param of kontext.Job
function Client:accepted(of)
  local slots = of:slots()
  if slots then try_again(self._queue:accepted(of, slots)) end
end

--- Takes note that a job was refused with 429: it waits for room, or for `seconds`.
---@param of kontext.Job
---@param seconds number
function Client:limited(of, seconds)
  if self._queue:limited(of, of:slots(), self._now()) then of:later(seconds, submit.begin) end
end

-- Returns what the client's jobs of this one's model have shown about when they end.
local function learned(self, of)
  local slots = self._queue:slots(of:model())
  slots.learned = slots.learned or schedule.new()
  return slots.learned
end

--- Returns whether a task of that id is in flight.
---@param id string
---@return boolean
function Client:has_task(id)
  return self._queue:task(id) ~= nil
end

--- Returns how long until a job's next poll.
---@param of kontext.Job
---@return number seconds
function Client:poll_gap(of)
  local age, polls, hooked = of:poll_age(self._now())
  if self._options.poll_interval then return self._options.poll_interval end
  if hooked then return retry.webhook_gap(polls) end
  return schedule.gap(learned(self, of), age)
end

--- Learns from a job that ended between its last two polls. One that was resumed does not know when
--- it began.
---@param of kontext.Job
---@param before number seconds
function Client:learn(of, before)
  local age, polls, hooked = of:poll_age(self._now())
  if self._options.poll_interval or hooked or of:is_resumed() then return end
  schedule.learn(learned(self, of), before, age, polls)
end

--- Makes sure that a step comes at `when`.
---@param when number
function Client:schedule(when)
  if not self._queue:schedule(when) or self._working then return end -- a step ends with an alarm
  if self._engine then self._engine:alarm(when) end
end

--- Something that on_progress shows has changed.
---@param of kontext.Job
function Client:changed(of)
  local callback = of:take_notice()
  if not callback then return end
  self:tell_host(function()
    of:notice_shown()
    callback(of)
  end)
end

--- The service has told what a job costs. What a resumed one costs is counted at once: nothing was
--- reserved for it here.
---@param of kontext.Job
function Client:told_cost(of)
  if not self._budget then return end
  local reservation = self._reserved[of]
  if reservation then return self._budget:adjust(reservation, of.cost) end
  if not of:is_resumed() then return end
  self._counted[of.id] = self._counted[of.id] or self._budget:open()
  self._budget:settle(self._counted[of.id], of.cost)
end

-- Counts what a job that has ended cost, or gives back what was reserved for it. What may have been
-- charged counts as charged, until a resumed job of the same task knows better.
local function settle_budget(self, of)
  local reservation, id = self._reserved[of], of.id or of.error and of.error.job_id
  self._reserved[of] = nil
  if reservation and of:may_be_charged() then
    self._budget:settle(reservation, of.cost)
    if id then self._counted[id] = reservation end
  elseif reservation then
    self._budget:release(reservation)
  elseif id and self._counted[id] and not of:may_be_charged() then
    self._budget:release(self._counted[id])
  end
end

--- A job has ended.
---@param of kontext.Job
function Client:finished(of)
  self._open = self._open - 1
  if self._budget then settle_budget(self, of) end
  if self.transport then self.transport:cancel(of) end
  local slots = of:slots()
  of:leave_slots()
  local key = of:key()
  if key and self._identities[key] == of then self._identities[key] = nil end
  if self._journal then self._journal:forget(of) end
  try_again(self._queue:remove(of, slots, of.id ~= nil))
  self:changed(of)
  for _, watcher in ipairs(of:take_watchers()) do self:tell_host(watcher) end
  self:schedule(0)
  if not self._flushing and retry.is_hopeless(of.error) then self:_flush(of.error) end
end

-- The key is refused or the credits are spent: what has not been sent need not be tried.
function Client:_flush(err)
  self._flushing = true
  self._queue:each(function(waiting)
    if waiting.status == "waiting" and waiting:is_unsent_edit() then
      waiting:fail(errors.copy(err))
    end
  end)
  self._flushing = false
end

function Client:_end_all(kind, message)
  self._flushing = true
  self._queue:each(function(running) running:stop(kind, message) end)
end

--- Takes what already lies in the sockets, before a job is ended: an answer that has come is not to
--- be lost.
function Client:settle()
  self:_leave_to_parent()
  if self._closed or not self.transport or self._working then return end
  self._working = true
  local done, problem = pcall(self.transport.settle, self.transport)
  self._working = false
  if not done then error(problem, 0) end
end

-- The host's callbacks -------------------------------------------------------------------------

--- Calls `fn` from a step once the job has ended; at once where it has.
---@param of kontext.Job
---@param fn fun()
function Client:on_end(of, fn) -- luacheck: no self
  if of:ended() then return fn() end
  of:watch(fn)
end

--- Calls `fn`, which is the host's, at the end of this step or of the next.
---@param fn fun()
function Client:tell_host(fn)
  local notices = self._notices
  notices.last = notices.last + 1
  notices[notices.last] = fn
  if not self._stepping then self:schedule(0) end
end

-- Calls the host's callbacks, last of all: should one raise, the next step calls the others. One
-- that waits for a job steps itself, and calls the others then.
function Client:_notify_host()
  local notices = self._notices
  while notices.first <= notices.last do
    local notice = notices[notices.first]
    notices[notices.first] = nil
    notices.first = notices.first + 1
    local done, err = pcall(notice)
    if not done then
      self._stepping = false
      self:schedule(0)
      error(err, 0)
    end
  end
end

-- Steps ------------------------------------------------------------------------------------------

-- Begins one queued job for which there is a slot; returns whether there was one.
local function begin_queued(self)
  local begun, slots = self._queue:next()
  if not begun then return false end
  begun:take_slots(slots)
  if begun.id then slots.accepted = slots.accepted + 1 end
  local done, problem = pcall(begun.start, begun, self._now(), self._options.timeout)
  if not done then begun:crash(problem) end
  return true
end

-- Does what is due, for about `budget` seconds.
function Client:_step(budget)
  if not self._engine then
    self:_notify_host()
    return self._open
  end
  local now = self._now()
  local stop, was_away = now + budget, now - self._stepped > away
  self._stepping, self._working = true, true
  repeat -- what this begins is sent in the same step, but who watches is shown each status
    local moved = self.transport:step(math.max(0, stop - now))
    self._moved = self._moved or moved
    now = self._now()
    if self._queue:due(now) <= now then
      self._queue:run_due(self._now, stop, was_away)
      while begin_queued(self) and self._now() < stop do end -- luacheck: ignore 542
      now = self._now()
    end
  until not self.transport.begun or now >= stop or self._notices.first <= self._notices.last
  if self._moved and stop > self._shown + progress_interval then
    self.transport:show_progress()
    self._moved, self._shown = false, stop
  end
  self._working = false
  if self._engine then self._engine:alarm(self._queue:due(now)) end
  self:_notify_host()
  self._stepping = false
  self._stepped = self._now()
  return self._open
end

--- Does what is due, without blocking.
---@return integer open the number of jobs that have not ended
function Client:step()
  alive(self, 1)
  local budget = (self._now() - self._stepped) / 10
  return (self:_step(math.max(least_budget, math.min(most_budget, budget))))
end

--- Waits up to `seconds` for something to do, then does it.
---@param seconds? number default 0
---@return integer open the number of jobs that have not ended
function Client:poll(seconds)
  if seconds ~= nil and type(seconds) ~= "number" then
    error("seconds must be a number, not " .. type(seconds), 2 + self._depth)
  end
  alive(self, 1)
  if seconds and self._engine and self._open > 0 then self._engine:wait(self._now() + seconds) end
  return (self:_step(waiting_budget))
end

--- Returns the descriptor that is readable when `step` has something to do.
---@return integer? descriptor nil where there is none: call `step` whenever `timeout` says
function Client:pollfd()
  alive(self, 1)
  return self._engine and self._engine:pollfd()
end

--- The same by the name that luasocket's select asks for.
---@return integer? descriptor
function Client:getfd()
  alive(self, 1)
  return self._engine and self._engine:pollfd()
end

--- Returns what the descriptor is to be watched for.
---@return "r"
function Client:events()
  alive(self, 1)
  return "r"
end

--- Returns when `step` is due at the latest.
---@return number? seconds nil: not before the descriptor is readable
function Client:timeout()
  alive(self, 1)
  return self._engine and self._engine:timeout()
end

--- Returns how `wait` waits: the option `loop`.
---@return string|function|nil
function Client:loop()
  return self._options.loop
end

--- Wakes the job that a verified webhook names: it polls its own URL, for a webhook's are not
--- trusted.
---@param event table of webhook.verify
---@return boolean known whether a job of this client is waiting for it
function Client:notify(event)
  alive(self, 1)
  if type(event) ~= "table" or type(event.id) ~= "string" then
    error("event must be one of webhook.verify", 2 + self._depth)
  end
  local named = self._queue:task(event.id)
  if not named or named.status ~= "pending" then return false end
  named:wake()
  return true
end

--- Ends all jobs at once, with errors of kind "closed"; what was accepted can be resumed.
function Client:close()
  if self._closed then return end
  self:settle()
  self:_end_all("closed", "the client was closed")
  self._closed = true
  local problem -- of the first callback that raised
  repeat -- whoever waits is told while the descriptor is ours: a loop must stop watching it first
    local told, message = pcall(self._notify_host, self)
    problem = problem or message
  until told
  if self.transport then self.transport:close() end
  self._engine = nil
  if self._journal then self._journal:close() end
  self._journal = nil
  if problem then error(problem, 0) end
end

return client
