--- Many edits with a few in flight. With a journal a batch can be killed at any moment and run
--- again: what is saved is skipped, what was accepted is fetched, what nobody knows of is told.
local core = require "kontext.core"
local errors = require "kontext.errors"
local loop = require "kontext.loop"
local params = require "kontext.job.params"
local resume = require "kontext.journal.resume"
local retry = require "kontext.job.retry"

local batch = {}

---@class kontext.Batch
---@field total integer items
---@field done integer results so far
---@field failed integer results with an error so far
local Batch = { __name = "kontext.batch" }
Batch.__index = Batch

---@class kontext.BatchResult
---@field key string
---@field index integer the item's place in the list
---@field image kontext.Image? the picture, where the item has no save_as
---@field saved string? where it was saved
---@field skipped boolean? an earlier run had saved it
---@field error kontext.Error?

local types = { max_active = "number", on_progress = "function", stop_on_error = "boolean",
  retry_ambiguous = "boolean" }

-- Returns what is misused, or nil.
local function misuse(list, options)
  if type(list) ~= "table" then return "batch takes a list of parameters, not a " .. type(list) end
  local keys = {}
  for i, item in ipairs(list) do
    if type(item) ~= "table" then
      return ("item %d must be a table, not %s"):format(i, type(item))
    end
    if item.key ~= nil and keys[item.key] then
      return ('items %d and %d have the same key "%s"'):format(keys[item.key], i, item.key)
    elseif item.key ~= nil then
      keys[item.key] = i
    end
  end
  if type(options) ~= "table" then return "options must be a table, not " .. type(options) end
  for name, value in pairs(options) do
    if not types[name] then return params.unknown(name, types) end
    if type(value) ~= types[name] then
      return ("%s must be a %s, not %s"):format(name, types[name], type(value))
    end
  end
end

-- What tells edits apart: all that is sent, with the images' content in place of their paths.
-- Returns as well why a file's content is not known, and the system's name of that.
local function fingerprint(item)
  local parts, message, code = {}, nil, nil
  for _, field in ipairs(params.fields) do
    local value = item[field.name]
    if field.api and value ~= nil then
      if field.api == "image" then
        local source = params.image(value) or {}
        value = source.url or source.bytes and core.sha256(source.bytes)
        if source.path then
          local digest, why, name = core.fingerprint(source.path)
          value = digest or source.path
          if not digest then message, code = why, name end
        end
      end
      value = tostring(value)
      parts[#parts + 1] = ("%s %d %s"):format(field.name, #value, value)
    end
  end
  local digest = core.sha256(table.concat(parts, "\n")):sub(1, 8)
  digest = digest:gsub(".", function(char) return ("%02x"):format(char:byte()) end)
  return digest, message, code
end

-- Returns the item's key: its own, or one made of what it asks for, and what fingerprint says of
-- that. The second of two equal items is another edit, not the first again.
local function key_of(self, item)
  if item.key then return item.key end
  local key, message, code = fingerprint(item)
  local times = (self._seen[key] or 0) + 1
  self._seen[key] = times
  return times == 1 and key or key .. "#" .. times, message, code
end

-- Wakes whoever waits for what has come true.
local function tell(self)
  for waitable in pairs(self._waitables) do
    if waitable:ended() then
      local watchers = waitable._watchers or {}
      waitable._watchers = nil
      for _, watcher in ipairs(watchers) do watcher() end
    end
  end
end

-- Takes one item's result.
local function settle(self, result)
  self._results[result.index] = result
  self._arrived[#self._arrived + 1] = result.index
  self.done = self.done + 1
  if result.error then
    self.failed = self.failed + 1
    if retry.is_hopeless(result.error) then self._refused = result.error end
    if self._stop_on_error then self._stopped = true end
  end
  if self._on_progress then
    self._client:_tell_host(function() self._on_progress(result, self) end)
  end
end

-- Returns the result of a job that has ended.
local function result_of(job, key, index, save_as)
  local result = { key = key, index = index, error = job.error }
  if job.error then return result end
  if save_as then result.saved = save_as else result.image = job.image end
  return result
end

local ambiguous = 'edit "%s" was sent by an earlier run, but no answer to it was noted: it may '
  .. "have been paid for; look at your account, then pass retry_ambiguous = true to send it again"
local stopped = 'edit "%s" was not begun, for the batch was stopped'

-- Returns the result of an item that is not begun.
local function refusal(kind, message, key)
  return { error = errors.new { kind = kind, message = message:format(key), stage = "submit" } }
end

-- Returns a job for the item, or what an earlier run has left to say of it.
local function begin(self, item, key)
  local client = self._client
  local known = client:_journaled(key)
  if known and known.state == "saved" then
    return nil, { saved = known.path, skipped = true }
  elseif known and known.state == "accepted" then
    return resume.entry(client, known, item)
  elseif known and known.state == "ambiguous" and not self._retry_ambiguous then
    return nil, refusal("ambiguous", ambiguous, key)
  elseif self._refused then
    return nil, { error = errors.new(errors.copy(self._refused)) }
  end
  local given = {}
  for name, value in pairs(item) do given[name] = value end
  given.key = key
  return client:_edit(given, 1)
end

local start

-- Begins an item; returns whether it is under way.
local function start_item(self, index)
  local item = self._list[index]
  local key, message, code = key_of(self, item)
  local job, settled
  if message then -- another run, which can read the file, would know the edit by another key
    settled = { error = errors.new { kind = "file", code = code, stage = "check", charged = false,
      message = "cannot read " .. message } }
  elseif self._stopped or self._client._closed then
    settled = refusal("cancelled", stopped, key)
  else
    job, settled = begin(self, item, key)
  end
  if settled then
    settled.key, settled.index = key, index
    settle(self, settled)
    return false
  end
  self._jobs[job] = true
  self._client:_on_end(job, function()
    self._jobs[job] = nil
    settle(self, result_of(job, key, index, item.save_as))
    start(self)
    tell(self)
  end)
  return self._jobs[job] ~= nil
end

-- Keeps as many items under way as may be. An item that ends at once does not start the next one
-- from inside of this.
function start(self)
  if self._starting then return end
  self._starting = true
  local active = 0
  for _ in pairs(self._jobs) do active = active + 1 end
  while self._begun < self.total and (active < self._max_active or self._stopped) do
    self._begun = self._begun + 1
    if start_item(self, self._begun) then active = active + 1 end
  end
  self._starting = false
end

--- Makes a batch and begins its first items.
---@param client table
---@param list table[] parameters as of edit, each with or without a `key`
---@param options table? max_active, on_progress(result, batch), stop_on_error, retry_ambiguous
---@return kontext.Batch
function batch.new(client, list, options)
  options = options or {}
  local wrong = misuse(list, options)
  if wrong then error(wrong, 3 + client._depth) end
  local self = setmetatable({
    total = #list, done = 0, failed = 0,
    _client = client, _list = list, _begun = 0, _jobs = {}, _results = {}, _arrived = {}, _told = 0,
    _seen = {}, _waitables = {}, _max_active = options.max_active or client:_default_active(),
    _on_progress = options.on_progress, _stop_on_error = options.stop_on_error,
    _retry_ambiguous = options.retry_ambiguous,
  }, Batch)
  for _, item in ipairs(list) do params.refuse_misuse(item, 3 + client._depth) end
  start(self)
  return self
end

function Batch:__tostring()
  return ("kontext.batch: %d of %d, %d failed"):format(self.done, self.total, self.failed)
end

--- Tells whether there is a result for every item.
---@return boolean
function Batch:ended()
  return self.done == self.total
end

-- Waits until `over` says so, or the time is over; returns whether it was `over`. The loops wait
-- for it as they do for a job.
local function wait_for(self, seconds, over)
  local deadline = seconds and core.now() + seconds
  local waitable = { ended = over }
  self._waitables[waitable] = true
  if seconds and seconds <= 0 and not over() then self._client:step() end
  while not over() do
    local left = deadline and deadline - core.now()
    if left and left <= 0 then break end
    loop.wait(self._client, left, waitable)
  end
  self._waitables[waitable] = nil
  return over()
end

--- Waits for the end of all items.
---@param seconds? number how long at most; the batch goes on when they are over
---@return kontext.BatchResult[]? results in the order of the list
---@return string? message
---@return kontext.Error? err of kind "timeout" when only the wait ran out
function Batch:wait(seconds)
  if wait_for(self, seconds, function() return self:ended() end) then return self._results end
  return errors.result(errors.new { kind = "timeout", stage = "wait",
    message = ("%d of %d edits did not end within the %g s of this wait; they go on: wait again")
      :format(self.total - self.done, self.total, seconds) })
end

--- Iterates over the results as they come; `for result in batch:results() do … end`.
---@return fun(): kontext.BatchResult?
function Batch:results()
  return function()
    wait_for(self, nil, function() return self._told < #self._arrived or self:ended() end)
    if self._told == #self._arrived then return nil end
    self._told = self._told + 1
    return self._results[self._arrived[self._told]]
  end
end

--- Cancels what is under way and begins nothing more.
function Batch:cancel()
  self._stopped = true
  local jobs = {}
  for job in pairs(self._jobs) do jobs[#jobs + 1] = job end
  for _, job in ipairs(jobs) do job:cancel() end
  start(self)
  tell(self)
end

return batch
