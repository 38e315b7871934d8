--- A client's jobs: who waits for a slot, who is active, what is due when, what the host is told.
local core = require "kontext.core"
local errors = require "kontext.errors"
local retry = require "kontext.job.retry"

local queue = {}

-- Queues a job; one that is paid for goes first.
function queue:_queue(queued, first)
  local slots = self._slots[queued._params.model]
  if first then
    slots.first = slots.first - 1
    slots[slots.first] = queued
  else
    slots.last = slots.last + 1
    slots[slots.last] = queued
  end
  self._open = self._open + 1
  self:_schedule(0)
  return queued
end

-- Begins what is due of a job that leaves the queue.
function queue:_begin(begun)
  begun._timeout = begun._params.timeout or self._timeout
  begun._deadline = core.now() + begun._timeout
  self._active[begun] = true
  begun[begun._first](begun)
  self:_schedule(begun._deadline)
end

-- Begins one queued job for which there is a slot; returns whether there was one.
function queue:_begin_queued()
  for _, slots in pairs(self._slots) do
    while slots.used < slots.limit and slots.first <= slots.last do
      local queued = slots[slots.first]
      slots[slots.first] = nil
      slots.first = slots.first + 1
      if not queued:ended() then
        slots.used = slots.used + 1
        queued._slots = slots
        self:_begin(queued)
        return true
      end
    end
  end
  return false
end

-- Makes sure that a step comes at `when`.
function queue:_schedule(when)
  if when >= self._due then return end
  self._due = when
  if self._engine and not self._working then self._engine:alarm(when) end -- a step ends with one
end

-- Returns when the next step is due for the queue's and the jobs' sake.
function queue:_next_due()
  for _, slots in pairs(self._slots) do
    if slots.used < slots.limit and slots.first <= slots.last then
      self._due = 0
    end
  end
  return self._due
end

-- Returns when something of an active job is due: its next call, or the end of its time, which of
-- an upload the engine tells, with how much of it was sent.
local function due_of(running)
  local due = running.status == "uploading" and math.huge or running._deadline
  return running._next and running._due < due and running._due or due
end

local function sooner(a, b) return due_of(a) < due_of(b) end

-- Does what is due of the active jobs until `stop`, and finds when the next is. What is due longest
-- comes first: where time is short, the others would wait for good.
function queue:_do_due(stop)
  local now, list = core.now(), {}
  self._due = math.huge -- before: what is done may ask for a step sooner
  for running in pairs(self._active) do
    if due_of(running) <= now then list[#list + 1] = running end
  end
  table.sort(list, sooner)
  for _, running in ipairs(list) do
    if running._deadline <= now and running.status ~= "uploading" then
      running:_time_out()
    elseif running._next and running._due <= now then
      local name = running._next
      running._next = nil
      running[name](running)
      if core.now() >= stop then break end
    end
  end
  for running in pairs(self._active) do
    self._due = math.min(self._due, due_of(running))
  end
end

-- Job: something that on_progress shows has changed.
function queue:_changed(changed)
  local callback = changed._params.on_progress
  if not callback or changed._noticed then return end
  changed._noticed = true
  self:_tell_host(function()
    changed._noticed = nil
    callback(changed)
  end)
end

-- Job: it has ended.
function queue:_ended(done)
  self._active[done] = nil
  self._open = self._open - 1
  if done._transfer then self:_cancel_transfer(done) end
  if done._held and self._engine then self._engine:cancel(done._held) end
  done._held = nil
  if done._slots then
    done._slots.used = done._slots.used - 1
    done._slots = nil
    self:_wake_limited()
  end
  self:_changed(done)
  for _, watcher in ipairs(done._watchers or {}) do self:_tell_host(watcher) end
  done._watchers = nil
  self:_schedule(0)
  if not self._flushing and retry.is_hopeless(done.error) then self:_flush(done.error) end
end

-- A task of ours has ended: one submit that was refused for too many may try at once.
function queue:_wake_limited()
  for waiting in pairs(self._active) do
    if waiting._wants_slot then
      waiting._wants_slot = nil
      waiting._due = 0
      return
    end
  end
end

-- Calls `visit` with every job that has not ended.
function queue:_each(visit)
  for _, slots in pairs(self._slots) do
    for at = slots.first, slots.last do
      if not slots[at]:ended() then visit(slots[at]) end
    end
  end
  local active = {}
  for running in pairs(self._active) do active[#active + 1] = running end
  for _, running in ipairs(active) do
    if not running:ended() then visit(running) end
  end
end

-- The key is refused or the credits are spent: what has not been sent need not be tried.
function queue:_flush(err)
  self._flushing = true
  self:_each(function(waiting)
    local edit = waiting._params.prompt -- what is resumed or asks for the credits has none
    if waiting.status == "waiting" and edit then waiting:_fail(errors.copy(err)) end
  end)
  self._flushing = false
end

function queue:_end_all(kind, message)
  self._flushing = true
  self:_each(function(running) running:_stop(kind, message) end)
end

-- Calls `fn` from a step once the job has ended; at once where it has.
function queue:_on_end(of, fn) -- luacheck: no self
  if of:ended() then return fn() end
  of._watchers = of._watchers or {}
  table.insert(of._watchers, fn)
end

-- Calls `fn`, which is the host's, at the end of this step or of the next.
function queue:_tell_host(fn)
  local notices = self._notices
  notices.last = notices.last + 1
  notices[notices.last] = fn
  if not self._stepping then self:_schedule(0) end
end

-- Calls the host's callbacks, last of all: should one raise, the next step calls the others. One
-- that waits for a job steps itself, and calls the others then.
function queue:_notify_host()
  local notices = self._notices
  while notices.first <= notices.last do
    local notice = notices[notices.first]
    notices[notices.first] = nil
    notices.first = notices.first + 1
    local done, err = pcall(notice)
    if not done then
      self._stepping = false
      self:_schedule(0)
      error(err, 0)
    end
  end
end

return queue
