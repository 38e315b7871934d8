--- A client: its options, its queue of jobs, who may see the key, and the engine that moves bytes.
local api = require "kontext.api"
local check = require "kontext.check"
local core = require "kontext.core"
local errors = require "kontext.errors"
local job = require "kontext.job"
local journal = require "kontext.journal"
local json = require "kontext.json"
local origin = require "kontext.origin"
local params = require "kontext.params"
local retry = require "kontext.retry"
local token = require "kontext.token"
local version = require "kontext.version"

local client = {}

---@class kontext.Client
local Client = { __name = "kontext.client" }
Client.__index = Client

-- client → key: in no table that a program may print.
local keys = setmetatable({}, { __mode = "k" })

local option_types = {
  api_key = { string = true }, base_url = { string = true }, region = { string = true },
  model = { string = true }, timeout = { number = true }, connect_timeout = { number = true },
  stall_timeout = { number = true }, max_active = { number = true },
  poll_interval = { number = true }, ca_file = { string = true }, proxy = { string = true },
  user_agent = { string = true }, loop = { string = true, ["function"] = true },
  journal = { string = true },
}

local step_budget = 0.001 -- seconds of one step: what is left keeps the descriptor readable
local picture_cap = 64 * 1024 * 1024 -- bytes of a download; a picture of 1 MP has 1 to 3 MB
local shortest_secret = 6 -- characters; shorter ones would hide half of every sentence

-- Returns what is misused in the options, or nil.
local function misuse(options)
  if type(options) ~= "table" then return "options must be a table, not " .. type(options) end
  for name, value in pairs(options) do
    local types = option_types[name]
    if not types then return params.unknown(name, option_types) end
    if not types[type(value)] then
      return ("%s must be a %s, not %s"):format(name, next(types), type(value))
    elseif type(value) == "number" and not (value > 0 and value < math.huge) then
      return ("%s must be a number above 0"):format(name)
    end
  end
  if options.region and not api.bases[options.region] then
    return ('region must be "eu" or "us", not %q'):format(options.region)
  elseif options.model and not api.endpoints[options.model] then
    return ('model must be "flux-kontext-pro" or "flux-kontext-max", not %q'):format(options.model)
  end
  local base, message = origin.read(options.base_url or api.bases.global, true)
  if not base then return "base_url " .. message end
end

--- Makes a client.
---@param options? table see docs/reference.md
---@return kontext.Client
function client.new(options)
  options = options or {}
  local wrong = misuse(options)
  if wrong then error(wrong, 2) end
  local self = setmetatable({
    _model = options.model or api.default_model,
    _timeout = options.timeout or 300,
    _poll_interval = options.poll_interval,
    _loop = options.loop,
    _proxy = options.proxy,
    _base_url = (options.base_url or options.region and api.bases[options.region]
      or os.getenv "BFL_BASE_URL" or api.bases.global):gsub("/+$", ""),
    _slots = {}, _active = {}, _transfers = {}, _notices = {}, _open = 0, _due = math.huge,
  }, Client)
  keys[self] = options.api_key
  for model, limit in pairs(api.limits.active) do
    self._slots[model] = { limit = options.max_active or limit, used = 0, first = 1, last = 0 }
  end
  local base, message = origin.read(self._base_url, true)
  if not base then
    self:_break { kind = "invalid", message = "BFL_BASE_URL " .. message }
    return self
  end
  self._base, self._plain = base, base.loopback
  self:_open_engine(options)
  if options.journal and not self._broken then self:_open_journal(options.journal) end
  return self
end

-- Remembers why no job of this client can begin.
function Client:_break(fields)
  fields.stage, fields.charged = "check", false
  self._broken = errors.new(fields)
end

function Client:_open_engine(options)
  local message, code
  self._engine, message, code = core.engine {
    connect_timeout = options.connect_timeout or 10,
    stall_timeout = options.stall_timeout or 30,
    user_agent = options.user_agent or "kontext-lua/" .. version,
    proxy = options.proxy,
    ca_file = options.ca_file,
  }
  if not self._engine then
    self:_break { kind = "internal", code = code, message = "the client cannot begin: " .. message }
  end
end

function Client:_open_journal(path)
  local message, code
  self._journal, message, code = journal.open(path)
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
  if self._engine and self._engine:forked() and not self._forked then self:_leave_to_parent() end
end

-- In a forked child: all ends here, and goes on in the parent.
function Client:_leave_to_parent()
  self._forked = true
  self._engine:close()
  self._engine = nil
  self:_break { kind = "fork", message = "this process was forked from the one that made the client, "
    .. "where the edit goes on: make a client of its own here with kontext.new" }
  self._journal = nil
  self:_end_all("fork", self._broken.message)
end

-- Edits ---------------------------------------------------------------------------------------------

-- Returns the checked sources of the images by parameter's name, or nil and an error.
local function check_sources(checked)
  local sources = {}
  for name in pairs(checked) do
    local source = params.fields[name].api == "image" and checked[name]
    if source and not source.url then
      local known, err = check.source(source)
      if not known then return nil, err end
      sources[name] = { path = source.path, bytes = source.bytes, stamp = known.stamp }
    end
  end
  return sources
end

-- Returns the key, or nil and what to do. An emulator takes any, so on loopback one is made up.
function Client:_key()
  local key = keys[self] or os.getenv "BFL_API_KEY"
  key = key and key:match("^%s*(.-)%s*$")
  if (not key or key == "") and self._base.loopback then return "emulator" end
  if not key or key == "" then
    return nil, "there is no API key: set BFL_API_KEY, or pass api_key to kontext.new"
  elseif key:find("[^\33-\126]") then
    return nil, "the API key has characters that no key has: copy it again"
  end
  keys[self] = key
  return key
end

-- Returns a job that ends with this error before anything is sent.
function Client:_refuse(fields, err)
  local refused = job.new(self, fields)
  self._open = self._open + 1
  refused:_fail(err)
  return refused
end

-- The fields of an error made elsewhere, for a job of its own to end with.
local function copied(err)
  local fields = {}
  for name, value in pairs(err) do fields[name] = value end
  return fields
end

function Client:_edit(given, level)
  alive(self, level)
  local checked, message = params.check(given, level + 1)
  local fields = { _params = checked or {}, _timeout = checked and checked.timeout or self._timeout }
  if not checked then
    return self:_refuse(fields, { kind = "invalid", message = message, stage = "check",
      charged = false })
  end
  if self._broken then return self:_refuse(fields, copied(self._broken)) end
  local key
  key, message = self:_key()
  if not key then
    return self:_refuse(fields, { kind = "auth", message = message, stage = "check",
      charged = false })
  end
  local sources, err = check_sources(checked)
  if not sources then return self:_refuse(fields, copied(err)) end
  checked.model = checked.model or self._model
  fields._sources, fields._next = sources, "_submit"
  return self:_queue(job.new(self, fields), false)
end

--- Begins an edit, at once: what is wrong with the file, the parameters or the key becomes the
--- job's error. Raises on misuse: an unknown key, a value of the wrong Lua type, a closed client.
---@param edit_params table see docs/reference.md
---@return kontext.Job
function Client:edit(edit_params)
  return self:_edit(edit_params, 2)
end

--- Goes on with a job of another process, or with all unfinished ones of a journal.
---@param from string|table the token, or {journal = path}
---@return kontext.Job|kontext.Job[] job for a token a job, for a journal an array of them
function Client:resume(from)
  alive(self, 1)
  if type(from) == "table" and type(from.journal) == "string" and next(from, "journal") == nil then
    return self:_resume_journal(from.journal)
  elseif type(from) ~= "string" then
    error("resume takes a token or {journal = path}, not " .. type(from), 2)
  end
  return self:_resume_token(from)
end

function Client:_resume_token(text)
  local values, message = token.read(text)
  local fields = { _params = {}, _timeout = self._timeout }
  if not values then
    return self:_refuse(fields, { kind = "invalid", stage = "check",
      message = "cannot resume: " .. message })
  end
  fields.id = values.id
  fields._params = { model = api.endpoints[values.model] and values.model or self._model,
    save_as = values.save_as, key = values.key, output_format = values.output_format }
  if self._broken then return self:_refuse(fields, copied(self._broken)) end
  fields.polling_url = self:_polling_url(values.polling_url, values.id)
  fields._accepted_at, fields._next = -math.huge, "_resumed"
  return self:_queue(job.new(self, fields), true)
end

-- Returns jobs for what a journal says was accepted and not saved.
function Client:_resume_journal(path)
  local held, message, code = self._journal, nil, nil
  if held and held.path ~= path or not held and self._broken then held = nil end
  if not held and not self._broken then held, message, code = journal.open(path) end
  if not held then
    local err = self._broken and copied(self._broken) or { kind = "file", code = code,
      stage = "check", message = message or "the client has another journal already" }
    return { self:_refuse({ _params = {} }, err) }
  end
  self._journal = held
  local resumed = {}
  for _, entry in ipairs(held:entries()) do
    if entry.state == "accepted" and not entry.job then
      entry.job = self:_resume_token(entry.token)
      entry.job._entry = entry.number
      resumed[#resumed + 1] = entry.job
    end
  end
  return resumed
end

--- Asks for the account's credits.
---@return kontext.Job job whose wait gives the number
function Client:credits()
  alive(self, 1)
  local fields = { _params = {}, _timeout = self._timeout, _next = "_ask" }
  if self._broken then return self:_refuse(fields, copied(self._broken)) end
  local key, message = self:_key()
  if not key then
    return self:_refuse(fields, { kind = "auth", message = message, stage = "check" })
  end
  local asked = job.new(self, fields)
  self._open = self._open + 1
  self:_begin(asked)
  return asked
end

-- The queue -----------------------------------------------------------------------------------------

-- Queues a job; one that is paid for goes first.
function Client:_queue(queued, first)
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
function Client:_begin(begun)
  local name = begun._next
  begun._deadline = core.now() + begun._timeout
  begun._next = nil
  self._active[begun] = true
  begun[name](begun)
  self:_schedule(begun._deadline)
end

-- Begins one queued job for which there is a slot; returns whether there was one.
function Client:_begin_queued()
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
function Client:_schedule(when)
  if when >= self._due then return end
  self._due = when
  if self._engine then self._engine:alarm(when) end
end

-- Job: something that on_progress shows has changed.
function Client:_changed(changed)
  local callback = changed._params.on_progress
  if not callback or changed._noticed then return end
  changed._noticed = true
  self._notices[#self._notices + 1] = function()
    changed._noticed = nil
    callback(changed)
  end
end

local stopping = { auth = true, credits = true }

-- Job: it has ended.
function Client:_ended(done)
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
  for _, watcher in ipairs(done._watchers or {}) do
    self._notices[#self._notices + 1] = watcher
  end
  done._watchers = nil
  self:_schedule(0)
  local err = done.error
  if err and err.stage == "submit" and err.status and stopping[err.kind] and not self._flushing then
    self:_flush(err)
  end
end

-- A task of ours has ended: one submit that was refused for too many may try at once.
function Client:_wake_limited()
  for waiting in pairs(self._active) do
    if waiting._wants_slot then
      waiting._wants_slot = nil
      waiting._due = 0
      return
    end
  end
end

-- Calls `visit` with every job that has not ended.
function Client:_each(visit)
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
function Client:_flush(err)
  self._flushing = true
  self:_each(function(waiting)
    if waiting.status == "waiting" and not waiting.id and waiting._sources then
      waiting:_fail(copied(err))
    end
  end)
  self._flushing = false
end

function Client:_end_all(kind, message)
  self._flushing = true
  self:_each(function(running) running:_stop(kind, message) end)
end

-- What jobs ask for ---------------------------------------------------------------------------------

-- Job: what an error of it must not show.
function Client:_secrets(of)
  local secrets = {}
  for _, secret in pairs { keys[self] or false, of._params.webhook_secret or false } do
    if secret and #secret >= shortest_secret then secrets[#secrets + 1] = secret end
  end
  return secrets
end

-- Job: writes a fact of it into the journal. Returns true, or nil, message and code.
function Client:_record(of, fact, ...)
  if not self._journal or not of._params.model then return true end
  return self._journal:record(of, fact, ...)
end

-- Job: where the credits are asked for.
function Client:_credits_url()
  return self._base_url .. api.credits_path
end

-- Job: the URL that the task is polled at.
function Client:_polling_url(url, id)
  if origin.read(url, self._plain) then return url end
  return self._base_url .. api.result_path .. "?id=" .. id:gsub("[^%w%-%._~]", function(char)
    return ("%%%02X"):format(char:byte())
  end)
end

-- Job: how long until its next poll.
function Client:_poll_gap(of)
  if self._poll_interval then return self._poll_interval end
  if of._params.webhook_url then return retry.webhook_gap(of._polls) end
  return retry.poll_gap(of._polls)
end

-- Job: sends its body. Returns true, or nil, message and code.
function Client:_upload(of, pieces)
  local id, message, code = self._engine:edit {
    url = self._base_url .. api.endpoints[of._params.model],
    headers = { "accept: application/json", "Content-Type: application/json",
      "x-key: " .. self:_key(),
      "Expect:" }, -- libcurl would wait a second for a server that ignores it
    pieces = pieces,
    mark = self._journal and self._journal:mark(of) or nil,
    deadline = of._deadline,
    plain = self._plain,
    direct = self._base.loopback and not self._proxy,
  }
  if not id then return nil, message, code end
  self._transfers[id], of._transfer = of, id
  return true
end

-- Job: gets a URL, into memory under a small cap, or with `picture` = {continue=, path=} a picture.
-- `base` is what a redirect came from. Returns the id and the whole URL; or nil, what is wrong with
-- the URL; or nil, message, code when the file cannot be begun.
function Client:_fetch(of, url, base, picture)
  local target, message = origin.read(url, self._plain, base or nil)
  if not target then return nil, message end
  local headers
  if not picture then
    headers = { "accept: application/json" }
    if not base and origin.sees_key(target, self._base) then
      headers[2] = "x-key: " .. self:_key()
    end
  end
  local id, wrong, code = self._engine:fetch {
    url = target.url,
    headers = headers,
    deadline = of._deadline,
    plain = self._plain,
    direct = target.loopback and not self._proxy,
    cap = picture and picture_cap or api.limits.answer,
    hold = picture ~= nil,
    path = picture and picture.path,
    continue = picture and picture.continue,
  }
  if not id then return nil, wrong, code end
  self._transfers[id], of._transfer = of, id
  return id, target.url
end

-- Job: core.check of a picture that has arrived.
function Client:_check_download(id)
  return self._engine:check(id)
end

-- Job: the bytes of a picture that has arrived, or true once they are a file in its place.
function Client:_finish_download(id)
  return self._engine:finish(id)
end

function Client:_drop_download(id)
  self._engine:cancel(id)
end

-- Ends the transfer of a job.
function Client:_cancel_transfer(of)
  local id = of._transfer
  of._transfer = nil
  self._transfers[id] = nil
  if self._engine then self._engine:cancel(id) end
end

-- Job: whether every byte of the upload under way may have gone out.
function Client:_may_have_sent(of)
  if not self._engine or not of._transfer then return true end
  local sent, total = self._engine:progress(of._transfer)
  return sent ~= nil and sent >= total
end

-- Driving it ----------------------------------------------------------------------------------------

-- Hands every transfer that has ended to its job.
function Client:_deliver(events)
  for _, event in ipairs(events) do
    local of = self._transfers[event.id]
    self._transfers[event.id] = nil
    if of then
      of._transfer = nil
      of[of._receive](of, event)
    elseif self._engine then
      self._engine:cancel(event.id)
    end
  end
end

-- Shows how far the transfers are.
function Client:_show_progress()
  for id, of in pairs(self._transfers) do
    local sent, total, received = self._engine:progress(id)
    if sent and of.status == "uploading" and sent ~= of.sent then
      of.sent, of.total = sent, total
      self:_changed(of)
    elseif sent and of.status == "downloading" and received ~= of.received then
      of.received = received
      self:_changed(of)
    end
  end
end

-- Does what is due of the active jobs, and finds when the next is.
function Client:_do_due(now)
  self._due = math.huge
  for running in pairs(self._active) do
    if running._deadline <= now and not running._transfer then
      running:_time_out()
    elseif running._next and running._due <= now then
      local name = running._next
      running._next = nil
      running[name](running)
    end
  end
  for running in pairs(self._active) do
    local due = running._transfer and math.huge or running._deadline
    if running._next and running._due < due then due = running._due end
    if due < self._due then self._due = due end
  end
end

-- Calls the host's callbacks, last of all: should one raise, the others are called by the next step.
function Client:_notify_host()
  while self._notices[1] do
    local done, err = pcall(table.remove(self._notices, 1))
    if not done then
      self:_schedule(0)
      error(err, 0)
    end
  end
end

--- Does all that is due, without blocking.
---@return integer open the number of jobs that have not ended
function Client:step()
  alive(self, 1)
  if not self._engine then
    self:_notify_host()
    return self._open
  end
  local start = core.now()
  local events, moved = self._engine:step(step_budget)
  if events then self:_deliver(events) end
  if moved then self:_show_progress() end
  if self._due <= core.now() then
    self:_do_due(core.now())
    while self:_begin_queued() do
      if core.now() - start > step_budget then break end
    end
  end
  self._engine:alarm(self:_next_due())
  self:_notify_host()
  return self._open
end

-- Returns when the next step is due for the queue's and the jobs' sake.
function Client:_next_due()
  for _, slots in pairs(self._slots) do
    if slots.used < slots.limit and slots.first <= slots.last then
      self._due = 0
    end
  end
  return self._due
end

--- Waits up to `seconds` for something to do, then does it.
---@param seconds? number default 0
---@return integer open the number of jobs that have not ended
function Client:poll(seconds)
  if seconds ~= nil and type(seconds) ~= "number" then
    error("seconds must be a number, not " .. type(seconds), 2)
  end
  alive(self, 1)
  if seconds and self._engine and self._open > 0 and not self._notices[1] then
    self._engine:wait(core.now() + seconds)
  end
  return self:step()
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
function Client:events() -- luacheck: no self
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
    error("event must be one of webhook.verify", 2)
  end
  for running in pairs(self._active) do
    if running.id == event.id and running._next == "_poll" then
      running._due = 0
      self:_schedule(0)
      return true
    end
  end
  return false
end

-- Calls `fn` from a step once the job has ended; at once where it has.
function Client:_on_end(of, fn)
  if of:ended() then return fn() end
  of._watchers = of._watchers or {}
  table.insert(of._watchers, fn)
end

--- Ends all jobs at once, with errors of kind "closed"; what was accepted can be resumed.
function Client:close()
  if self._closed then return end
  if self._engine and self._engine:forked() then self:_leave_to_parent() end
  self:_end_all("closed", "the client was closed")
  self._closed = true
  if self._engine then self._engine:close() end
  if self._journal then self._journal:close() end
  self._engine, self._journal = nil, nil
end

return client
