--- A client: edits, resumes, steps, closes. How its jobs take turns is in queue.lua, how their
--- bytes move in transport.lua. What not all clients need is loaded when one does.
local api = require "kontext.api"
local check = require "kontext.job.check"
local core = require "kontext.core"
local errors = require "kontext.errors"
local job = require "kontext.job.job"
local options = require "kontext.client.options"
local origin = require "kontext.client.origin"
local params = require "kontext.job.params"
local queue = require "kontext.client.queue"
local retry = require "kontext.job.retry"
local transport = require "kontext.client.transport"

local client = {}

---@class kontext.Client
local Client = { __name = "kontext.client" }
Client.__index = Client

Client._depth = 0 -- calls of ours above a method: the default client has one, which errors skip

for _, part in ipairs { queue, transport } do
  for name, method in pairs(part) do Client[name] = method end
end

-- Seconds of a step: a tenth of what has passed since the last one, so that a loop that watches the
-- descriptor is held up the least, by one piece of an upload, and one that ticks moves enough. What
-- is left keeps the descriptor readable.
local least_budget, most_budget = 0.00001, 0.0005
local waiting_budget = 0.001 -- where nothing else is kept waiting
local progress_interval = 0.002 -- seconds: at each step it was a tenth of 24 uploads' CPU

--- Makes a client.
---@param given? table options: see docs/reference.md
---@return kontext.Client
function client.new(given)
  local chosen = options.check(given, 2)
  local self = setmetatable({
    _model = chosen.model, _timeout = chosen.timeout, _poll_interval = chosen.poll_interval,
    _loop = chosen.loop, _proxy = chosen.proxy, _base_url = chosen.base_url:gsub("/+$", ""),
    _slots = {}, _active = {}, _transfers = {}, _open = 0, _due = math.huge,
    _notices = { first = 1, last = 0 }, _stepped = 0, _shown = 0,
    -- Now: no file is to be read once an edit is paid for.
    _adaptive = not chosen.poll_interval and require "kontext.job.schedule" or nil,
  }, Client)
  for model, limit in pairs(api.limits.active) do
    self._slots[model] = { limit = chosen.max_active or limit, used = 0, first = 1, last = 0 }
  end
  local base, message = origin.read(self._base_url, true)
  if base then
    self._base, self._plain = base, base.loopback
    self:_open_engine(chosen)
    if chosen.journal and not self._broken then self:_open_journal(chosen.journal) end
  else
    self:_break { kind = "invalid", message = "BFL_BASE_URL " .. message }
  end
  return self
end

-- Remembers why no job of this client can begin.
function Client:_break(fields)
  fields.stage, fields.charged = "check", false
  self._broken = errors.new(fields)
end

function Client:_open_journal(path)
  local message, code
  self._journal, message, code = require("kontext.journal.journal").open(path)
  if not self._journal then
    self:_break { kind = "file", code = code, message = message }
  end
end

function Client:__tostring()
  return "kontext.client: " .. (self._closed and "closed" or self._base_url)
end

-- Raises at the level of the public method's caller when the client is closed.
local function alive(self, level)
  if self._closed then error("the client is closed", (level or 1) + 2) end
  self:_leave_to_parent()
end

-- In a forked child: all ends here, and goes on in the parent.
function Client:_leave_to_parent()
  if not self._engine or not self._engine:forked() then return end
  self._engine:close()
  self._engine = nil
  self:_break { kind = "fork", message = "this process was forked from the one that made the "
    .. "client, where the edit goes on: make a client of its own here with kontext.new" }
  self._journal = nil
  self:_end_all("fork", self._broken.message)
end

-- Notes the state of the images' files. Returns true, and by name how those are to be made to fit
-- that have to be; or nil and an error.
local function check_sources(checked)
  local plans
  for name in pairs(checked) do
    local source = params.fields[name].api == "image" and checked[name]
    if source and not source.url then
      local known, err = check.source(source, checked.fit)
      if not known then return nil, err end
      source.stamp = known.stamp
      local plan = checked.fit and require("kontext.job.fit").plan(known)
      if plan then
        plans = plans or {}
        plans[name] = plan
      end
    end
  end
  return true, plans
end

-- Returns a job that ends with this error before anything is sent.
function Client:_refuse(fields, err)
  local refused = job.new(self, fields)
  self._open = self._open + 1
  refused:_fail(err)
  return refused
end

function Client:_edit(given, level)
  alive(self, level)
  local checked, message = params.check(given, level + 1)
  local fields = { _params = checked or {} }
  if not checked then
    return self:_refuse(fields, { kind = "invalid", message = message, stage = "check",
      charged = false })
  end
  if self._broken then return self:_refuse(fields, errors.copy(self._broken)) end
  local key
  key, message = self:_key()
  if not key then
    return self:_refuse(fields, { kind = "auth", message = message, stage = "check",
      charged = false })
  end
  local known, plans = check_sources(checked)
  if not known then return self:_refuse(fields, errors.copy(plans)) end
  checked.model = checked.model or self._model
  if plans then
    fields._plans, fields._first = plans, "_fit"
    return self:_queue(job.new(self, fields, require("kontext.job.fit").stage), false)
  end
  return self:_queue(job.new(self, fields), false)
end

--- Begins an edit, at once: what is wrong with the file, the parameters or the key becomes the
--- job's error. Raises on misuse: an unknown key, a value of the wrong Lua type, a closed client.
---@param edit_params table see docs/reference.md
---@return kontext.Job
function Client:edit(edit_params)
  -- No tail call, here and below: errors blame the caller's line.
  local begun = self:_edit(edit_params, 2 + self._depth)
  return begun
end

-- Returns what is misused in what `resume` was given, or nil.
local function misuse(from)
  if type(from) == "string" then return nil end
  if type(from) ~= "table" then
    return "resume takes a token or {journal = path}, not " .. type(from)
  end
  for name in pairs(from) do
    if name ~= "journal" then return params.unknown(name, { journal = true }) end
  end
  if type(from.journal) == "string" then return nil end
  return "journal must be a string, not " .. type(from.journal)
end

--- Goes on with a job of another process, or with all unfinished ones of a journal.
---@param from string|table the token, or {journal = path}
---@return kontext.Job|kontext.Job[] job for a token a job, for a journal an array of them
function Client:resume(from)
  alive(self, 1)
  local wrong = misuse(from)
  if wrong then error(wrong, 2 + self._depth) end
  if type(from) == "table" then
    return require("kontext.journal.resume").journal(self, from.journal)
  end
  return (require("kontext.journal.resume").token(self, from))
end

-- Batch: what the journal knows of the edit of that key, or nil.
function Client:_journaled(key)
  return self._journal and self._journal:find(key)
end

-- Batch: how many edits the service takes at once.
function Client:_default_active()
  return self._slots[self._model].limit
end

--- Begins many edits with a few in flight.
---@param list table[] parameters as of edit, each with or without a `key`
---@param batch_options? table max_active, on_progress, stop_on_error, retry_ambiguous
---@return kontext.Batch
function Client:batch(list, batch_options)
  alive(self, 1)
  local begun = require("kontext.batch").new(self, list, batch_options)
  return begun
end

--- Asks for the account's credits.
---@return kontext.Job job whose wait gives the number
function Client:credits()
  alive(self, 1)
  local fields = { _params = {}, _first = "_ask" }
  if self._broken then return self:_refuse(fields, errors.copy(self._broken)) end
  local key, message = self:_key()
  if not key then
    return self:_refuse(fields, { kind = "auth", message = message, stage = "check" })
  end
  local asked = job.new(self, fields, require "kontext.job.credits")
  self._open = self._open + 1
  self:_begin(asked)
  return asked
end

-- Job: writes a fact of it into the journal. Returns true, or nil, message and code.
function Client:_record(of, fact, ...)
  if not self._journal or not of._params.model then return true end
  return self._journal:record(of, fact, ...)
end

-- Returns what the client's jobs of this one's model have told of when they end.
local function learned(self, of)
  local slots = self._slots[of._params.model]
  slots.learned = slots.learned or self._adaptive.new()
  return slots.learned
end

-- Job: how long until its next poll.
function Client:_poll_gap(of)
  if self._poll_interval then return self._poll_interval end
  if of._params.webhook_url then return retry.webhook_gap(of._polls) end
  return self._adaptive.gap(learned(self, of), core.now() - of._watched_at)
end

-- Job: it ended between its last two polls. One that was resumed knows not when it began.
function Client:_learn(of, before)
  if self._poll_interval or of._params.webhook_url or of._accepted_at < 0 then return end
  local now = core.now() - of._watched_at
  self._adaptive.learn(learned(self, of), before, now, of._polls)
end

-- Does what is due, for about `budget` seconds.
function Client:_step(budget)
  if not self._engine then
    self:_notify_host()
    return self._open
  end
  local now = core.now()
  local stop = now + budget
  self._stepping, self._working = true, true
  repeat -- what this begins is sent in the same step, but who watches is shown each status
    self._began = false
    local events, moved = self._engine:step(stop - now)
    if events then self:_deliver(events) end
    self._moved = self._moved or moved
    now = core.now()
    if self._due <= now then
      self:_do_due(stop)
      while self:_begin_queued() and core.now() < stop do end -- luacheck: ignore 542
      now = core.now()
    end
  until not self._began or now >= stop or self._notices.first <= self._notices.last
  if self._moved and stop > self._shown + progress_interval then
    self:_show_progress()
    self._moved, self._shown = false, stop
  end
  self._working = false
  self._engine:alarm(self:_next_due())
  self:_notify_host()
  self._stepping = false
  self._stepped = core.now()
  return self._open
end

--- Does what is due, without blocking.
---@return integer open the number of jobs that have not ended
function Client:step()
  alive(self, 1)
  local budget = (core.now() - self._stepped) / 10
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
  if seconds and self._engine and self._open > 0 then
    self._engine:wait(core.now() + seconds)
  end
  return (self:_step(waiting_budget))
end

--- Returns the descriptor that is readable when `step` has something to do.
---@return integer? descriptor nil where there is none: call `step` whenever `timeout` tells
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

--- Wakes the job that a verified webhook names: it polls its own URL, for a webhook's are not
--- trusted.
---@param event table of webhook.verify
---@return boolean known whether a job of this client is waiting for it
function Client:notify(event)
  alive(self, 1)
  if type(event) ~= "table" or type(event.id) ~= "string" then
    error("event must be one of webhook.verify", 2 + self._depth)
  end
  for running in pairs(self._active) do
    if running.id == event.id and running.status == "pending" then
      if running._next == "_poll" then
        running._due = 0
        self:_schedule(0)
      else
        running._woken = true -- the poll under way may bring what was so before
      end
      return true
    end
  end
  return false
end

--- Ends all jobs at once, with errors of kind "closed"; what was accepted can be resumed.
function Client:close()
  if self._closed then return end
  self:_leave_to_parent()
  self:_end_all("closed", "the client was closed")
  self._closed = true
  local problem -- of the first callback that raised
  repeat -- whoever waits is told while the descriptor is ours: a loop must stop watching it first
    local told, message = pcall(self._notify_host, self)
    problem = problem or message
  until told
  if self._engine then self._engine:close() end
  if self._journal then self._journal:close() end
  self._engine, self._journal = nil, nil
  if problem then error(problem, 0) end
end

return client
