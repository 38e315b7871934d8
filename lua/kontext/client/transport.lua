--- Passes the jobs' requests to the engine: uploads, polls, downloads, work on pictures. Only this
--- file knows the API key, and sends it only to origins that may see it.
local api = require "kontext.api"
local core = require "kontext.core"
local encoding = require "kontext.encoding"
local origin = require "kontext.client.origin"

local transport = {}

-- transport → key: kept out of every table that a program may print.
local keys = setmetatable({}, { __mode = "k" })

local picture_cap = 64 * 1024 * 1024 -- bytes of a download; a picture of 1 MP has 1 to 3 MB
local settle_seconds = 0.05 -- at most, before a job is ended
local longest_key = 4096 -- characters that are looked at
local made_up = "emulator" -- the key for an emulator on this machine

---@class kontext.Transport
---@field engine table? nil after close, and in a forked child
---@field begun boolean a transfer was begun since the last `step`
local Transport = {}
Transport.__index = Transport

---@class (private) kontext.Transport
---@field _base kontext.Origin
---@field _base_url string
---@field _proxy? string
---@field _system kontext.System
---@field _jobs table<integer, kontext.Job> by transfer
---@field _digest boolean pictures are digested for the journal
---@field _last_origin? kontext.Origin the last URL that was asked for, read

--- Makes the engine. Returns nil, message and code if that fails.
---@param system kontext.System
---@param options table of options.check
---@param base kontext.Origin
---@return kontext.Transport? transport
---@return string? message
---@return string? code
function transport.new(system, options, base)
  local engine, message, code = system.engine {
    connect_timeout = options.connect_timeout,
    stall_timeout = options.stall_timeout,
    user_agent = options.user_agent,
    proxy = options.proxy,
    ca_file = options.ca_file,
    tls = base.scheme == "https",
  }
  if not engine then return nil, message, code end
  local self = setmetatable({ engine = engine, begun = false, _base = base,
    _base_url = options.base_url, _proxy = options.proxy, _system = system, _jobs = {},
    _digest = options.journal ~= nil }, Transport)
  keys[self] = options.api_key
  return self
end

--- Returns the key, or nil and how to set it. Anybody's program may listen on a port of this
--- machine without TLS: it gets only a key from the option `api_key`, never the environment's.
---@return string? key
---@return string? message
function Transport:key()
  local key = keys[self]
  if not key and self._base.loopback and self._base.scheme == "http" then return made_up end
  key = key or self._system.getenv "BFL_API_KEY"
  key = key and key:sub(1, longest_key):match "^%s*(.-)%s*$"
  if (not key or key == "") and self._base.loopback then return made_up end
  if not key or key == "" then
    return nil, "there is no API key: set BFL_API_KEY, or pass api_key to kontext.new"
  elseif key:find "[^\33-\126]" then
    return nil, "the API key has characters that no key has: copy it again"
  end
  keys[self] = key
  return key
end

--- Returns an identifier of the key's account that does not reveal the key; nil without a key.
---@return string?
function Transport:account()
  local key = self:key()
  return key and encoding.hex(core.sha256("kontext account " .. key):sub(1, 8))
end

--- Returns the secrets that no message may show, the longest first: one may contain another.
---@param webhook_secret string?
---@return string[]
function Transport:secrets(webhook_secret)
  local secrets = {}
  for _, secret in pairs { keys[self] or false, webhook_secret or false } do
    if secret and secret ~= "" then secrets[#secrets + 1] = secret end
  end
  table.sort(secrets, function(a, b) return #a > #b end)
  return secrets
end

--- Returns the URL for polling a task, and whether it was made here because the service's own is
--- missing or not usable.
---@param url any
---@param id string
---@return string url
---@return boolean? own
function Transport:polling_url(url, id)
  local usable = type(url) == "string" and #url <= api.limits.link
  if usable and origin.read(url, self._base.loopback) then
    return url
  end
  return self._base_url .. api.result_path .. "?id=" .. encoding.percent(id), true
end

--- Returns the URL of the account's credits.
---@return string
function Transport:credits_url()
  return self._base_url .. api.credits_path
end

-- Remembers the job of a transfer.
local function note(self, job, id, message, code)
  if not id then return nil, message, code end
  self._jobs[id], self.begun = job, true
  return id
end

--- Sends a body: {path=, pieces=, mark=, deadline=}. Returns the transfer's number; or nil, message
--- and code.
---@param job kontext.Job
---@param request table
---@return integer? id
---@return string? message
---@return string? code
function Transport:upload(job, request)
  return note(self, job, self.engine:edit {
    url = self._base_url .. request.path,
    headers = { "accept: application/json", "Content-Type: application/json",
      "x-key: " .. self:key(),
      "Expect:" }, -- with it libcurl waits a second for a server that ignores it
    pieces = request.pieces,
    mark = request.mark,
    deadline = request.deadline,
    allow_http = self._base.loopback,
    no_proxy = self._base.loopback and not self._proxy,
  })
end

-- Returns the origin of a URL. Remembers the last one, because a job polls one URL again and again.
local function origin_of(self, url, base)
  local known = self._last_origin
  if known and not base and known.asked == url then return known end
  local target, message = origin.read(url, self._base.loopback, base)
  if not target then return nil, message end
  if not base then
    target.asked, self._last_origin = url, target
  end
  return target
end

--- Gets a URL: {url=, base=, deadline=, picture=, continue=, path=}. `base` is the URL that
--- redirected to this one; a redirect never gets the key. A picture may be large, and is held until
--- it is finished or dropped. Returns the transfer's number and the whole URL; or nil and what is
--- wrong with the URL; or nil, message and code if the file cannot be created.
---@param job kontext.Job
---@param request table
---@return integer? id
---@return string url_or_message
---@return string? code
function Transport:fetch(job, request)
  local target, message = origin_of(self, request.url, request.base)
  if not target then return nil, message end
  local headers
  if not request.picture then
    headers = { "accept: application/json" }
    if not request.base and origin.sees_key(target, self._base) then
      headers[2] = "x-key: " .. self:key()
    end
  end
  local id, wrong, code = note(self, job, self.engine:fetch {
    url = target.url,
    headers = headers,
    deadline = request.deadline,
    allow_http = self._base.loopback,
    no_proxy = target.loopback and not self._proxy,
    cap = request.picture and picture_cap or api.limits.answer,
    hold = request.picture,
    digest = request.picture and self._digest,
    path = request.path,
    no_replace = request.no_replace and "no_replace" or nil,
    continue = request.continue,
  })
  if not id then return nil, wrong, code or "EUNKNOWN" end
  return id, target.url
end

--- Makes a picture fit, following a plan of fit.plan.
---@param job kontext.Job
---@param source table
---@param plan table
---@return integer? id
---@return string? message
---@return string? code
function Transport:fit(job, source, plan)
  return note(self, job, self.engine:fit {
    path = source.path, bytes = source.bytes, stamp = source.stamp, width = plan.width,
    height = plan.height, quality = plan.quality, memory = plan.memory,
  })
end

--- Removes location, names and serial numbers from a picture's metadata; the result is the event's
--- body.
---@param job kontext.Job
---@param source table
---@return integer? id
---@return string? message
---@return string? code
function Transport:strip(job, source)
  return note(self, job, self.engine:region_strip { path = source.path, bytes = source.bytes,
    stamp = source.stamp })
end

--- Reads a mask; the event has its `width`, `height` and `box`.
---@param job kontext.Job
---@param source table {path=, stamp=}
---@return integer? id
---@return string? message
---@return string? code
function Transport:mask(job, source)
  return note(self, job, self.engine:region_mask(source))
end

--- Cuts the window out of a photograph, following region.cut.
---@param job kontext.Job
---@param wanted table
---@return integer? id
---@return string? message
---@return string? code
function Transport:cut(job, wanted)
  return note(self, job, self.engine:region_cut(wanted))
end

--- Puts an answer back into its photograph, following region.compose.
---@param job kontext.Job
---@param wanted table
---@return integer? id
---@return string? message
---@return string? code
function Transport:compose(job, wanted)
  return note(self, job, self.engine:region_compose(wanted))
end

--- Digests a file on the worker thread; the event has `digest`.
---@param asker table in a job's place
---@param path string
---@return integer? id
---@return string? message
---@return string? code
function Transport:digest(asker, path)
  if not self.engine then return nil, "the client was closed" end
  return note(self, asker, self.engine:digest { path = path })
end

--- Returns the format and size of a picture that has arrived, or nil and a message.
---@param id integer
---@return table? known
---@return string? message
function Transport:check(id)
  return self.engine:check(id)
end

--- Returns the bytes of a picture that has arrived, or true if they are now the file at its path;
--- or nil, message and code: then the picture is still held.
---@param id integer
---@return string|true|nil bytes
---@return string? message
---@return string? code
function Transport:finish(id)
  return self.engine:finish(id)
end

--- Saves a held picture as another file, which must not have content yet. Returns true, or nil,
--- message and code.
---@param id integer
---@param path string
---@return true? done
---@return string? message
---@return string? code
function Transport:save(id, path)
  return self.engine:save(id, path, "no_replace")
end

--- Forgets a picture that has arrived.
---@param id integer
function Transport:drop(id)
  if self.engine then self.engine:cancel(id) end
end

--- Ends the transfers of a job.
---@param job kontext.Job
function Transport:cancel(job)
  local id, held = job:take_transfers()
  if id then self._jobs[id] = nil end
  if not self.engine then return end
  if id then self.engine:cancel(id) end
  if held then self.engine:cancel(held) end
end

--- Returns whether every byte of an upload may have gone out: true also for a transfer that the
--- engine no longer knows.
---@param id integer
---@return boolean
function Transport:may_have_sent(id)
  if not self.engine then return true end
  local sent, total = self.engine:progress(id)
  return sent == nil or sent >= total
end

-- Hands the events to their jobs. An error while handling one ends only that job.
local function deliver(self, events)
  for _, event in ipairs(events) do
    local job = self._jobs[event.id]
    self._jobs[event.id] = nil
    if job then
      local done, problem = pcall(job.receive, job, event)
      if not done then job:crash(problem) end
    elseif self.engine then
      self.engine:cancel(event.id)
    end
  end
end

--- Moves bytes for about `seconds`, and hands the transfers that have ended to their jobs.
---@param seconds number
---@return boolean moved
function Transport:step(seconds)
  self.begun = false
  local events, moved = self.engine:step(seconds)
  if events then deliver(self, events) end
  return moved
end

--- Reads what has already arrived in the sockets, without waiting, so that no answer is lost when a
--- job is judged late or ended.
function Transport:settle()
  if not self.engine then return end
  local events = self.engine:settle(settle_seconds)
  if events then deliver(self, events) end
end

-- Returns the transfers' numbers in order, so that callbacks come in the same order on every Lua.
local function numbers(jobs)
  local ids = {}
  for id in pairs(jobs) do ids[#ids + 1] = id end
  table.sort(ids)
  return ids
end

--- Shows how far the transfers are.
function Transport:show_progress()
  for _, id in ipairs(numbers(self._jobs)) do
    local sent, total, received = self.engine:progress(id)
    if sent then self._jobs[id]:show(sent, total, received) end
  end
end

--- Closes the engine. A second call does nothing.
function Transport:close_engine()
  local engine = self.engine
  self.engine = nil
  if engine then engine:close() end
end

--- Closes the engine after all jobs have ended, and ends all other waits. A second call does
--- nothing.
function Transport:close()
  self:close_engine()
  local left = self._jobs
  self._jobs = {}
  for _, id in ipairs(numbers(left)) do left[id]:crash "the client was closed" end
end

return transport
