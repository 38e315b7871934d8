--- Many edits with a few in flight. With a journal a batch can be killed at any moment and run
--- again: what is saved is skipped, what was accepted is fetched, what nobody knows of is reported.
--- An item that takes another one's result waits until that has ended.
local chains = require "kontext.chains"
local check = require "kontext.job.check"
local core = require "kontext.core"
local earlier = require "kontext.journal.earlier"
local errors = require "kontext.errors"
local identity = require "kontext.journal.identity"
local loop = require "kontext.loop"
local models = require "kontext.models"
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
---@field fetched_again boolean? an earlier run had saved it, and the file was gone
---@field remade boolean? the same, and the service had it no more: it was paid for again
---@field warnings string[]? of the job
---@field error kontext.Error?

---@class (private) kontext.Batch
---@field _needs table<integer, string[]> by item: the keys of those whose results it takes
---@field _index_of table<string, integer> the item of a key
---@field _hanging table<integer, integer[]> by item: those that wait for its result
---@field _released table queue of items whose wait is over
---@field _causes table<integer, table> by item: which one failed first, and why

local types = { max_active = "number", on_progress = "function", stop_on_error = "boolean",
  retry_ambiguous = "boolean", remake = "boolean" }

-- Names that no two items may share.
local unique = { "key", "save_as" }

-- Returns what is misused, or nil.
local function misuse(list, options)
  if type(list) ~= "table" then return "batch takes a list of parameters, not a " .. type(list) end
  if #list == 0 and next(list) ~= nil then
    return "batch takes a list of parameters: { { prompt = … }, … }"
  end
  local seen = { key = {}, save_as = {} }
  for i, item in ipairs(list) do
    if type(item) ~= "table" then
      return ("item %d must be a table, not %s"):format(i, type(item))
    end
    for _, name in ipairs(unique) do
      local value, taken = item[name], seen[name]
      if value ~= nil and taken[value] and not (name == "save_as" and item.no_replace) then
        return ('items %d and %d have the same %s "%s"'):format(taken[value], i, name,
          tostring(value))
      elseif value ~= nil then
        taken[value] = i
      end
    end
  end
  if type(options) ~= "table" then return "options must be a table, not " .. type(options) end
  for name, value in pairs(options) do
    if not types[name] then return params.unknown(name, types) end
    if type(value) ~= types[name] then
      return ("%s must be a %s, not %s"):format(name, types[name], type(value))
    end
  end
  local most = options.max_active
  if most and not (most >= 1 and most < math.huge) then return "max_active must be 1 or more" end
end

-- Returns the key of an item that has none. The second of two equal items is another edit, not the
-- first again.
local function numbered(self, key)
  local times = (self._seen[key] or 0) + 1
  self._seen[key] = times
  return times == 1 and key or key .. "#" .. times
end

-- Returns what distinguishes the item from others: all that the edit will have, defaults included.
local function identity_of(self, item, digests)
  local model = self._client:default_model()
  return identity.of(params.check(item, 1, model) or item, digests, model)
end

-- Returns the paths of the item's pictures, whose content is part of its key; or nil and an error
-- where one is not what the service takes.
local function paths_of(self, item)
  local paths, model = {}, self._client:default_model()
  item = params.flatten(item, model)
  for _, field in ipairs(params.fields_of(item, model)) do
    local value = field.api == "image" and item[field.name]
    local source = value and params.image(value)
    if source and source.path then
      local known, err = check.source(source, item.fit, item.model or model)
      if not known then return nil, err end
      paths[#paths + 1] = source.path
    end
  end
  return paths
end

-- Wakes whoever waits for what has come true.
local function tell(self)
  for waitable in pairs(self._waitables) do
    if waitable:ended() then
      local watchers = waitable.watchers
      waitable.watchers = {}
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
    if retry.is_hopeless(result.error) or result.error.kind == "budget" then
      self._refused = result.error
    end
    if self._stop_on_error then self._stopped = true end
  end
  for _, index in ipairs(self._hanging[result.index] or {}) do
    self._released.last = self._released.last + 1
    self._released[self._released.last] = index
  end
  self._hanging[result.index] = nil
  if self._on_progress then
    self._client:tell_host(function() self._on_progress(result, self) end)
  end
end

-- Returns the result of a job that has ended.
local function result_of(job)
  local result = { error = job.error, warnings = job.warnings }
  if job.error then return result end
  result.saved = job.image.path
  if not result.saved then result.image = job.image end
  return result
end

local refusals = {
  ambiguous = 'edit "%s" was sent by an earlier run, but no answer to it was noted: it may have '
    .. "been paid for; look at your account, then pass retry_ambiguous = true to send it again",
  lost = 'edit "%s" was accepted in an earlier run, and the service no longer has it: it may have '
    .. "been paid for; look at your account, then pass retry_ambiguous = true to send it again",
  stopped = 'edit "%s" was not begun, because the batch was stopped',
  other = 'edit "%s" stands in the journal with other parameters: give this one another key',
  running = 'edit "%s" is under way with other parameters: give this one another key',
  gone = 'edit "%s" was saved by an earlier run, but its file is gone or was changed, and the '
    .. "service no longer has the picture: pass remake = true to pay for it again",
}

-- Returns the result of an item that is not begun.
local function refusal(kind, name, key)
  return { error = errors.new { kind = kind, message = refusals[name]:format(key), stage = "submit",
    charged = kind == "invalid" and false or nil } }
end

local burst = 0.002 -- seconds of beginning items in a row

-- Returns the result of an item that takes another one's, which has failed. It says the reason, of
-- the one that failed first where several hang on each other.
local function hung_on_failure(self, index, key, parent)
  local err, first = self._results[parent].error, self._causes[parent] or { key = key }
  first.message = first.message or err.message
  self._causes[index] = first
  local way = first.key ~= key and (' (which takes that of "%s")'):format(first.key) or ""
  return { error = errors.new { kind = err.kind, stage = "check", charged = false,
    retryable = err.retryable, message = ('the edit takes the result of "%s"%s, which failed: %s')
      :format(key, way, first.message) } }
end

-- Returns the picture that the item of that key has made; or nil and the result of the item that
-- takes it.
local function picture_of(self, index, key)
  local parent = self._index_of[key]
  local result = parent and self._results[parent]
  if result and result.error then return nil, hung_on_failure(self, index, key, parent) end
  if result then return result.saved and { path = result.saved } or params.image(result.image) end
  local journal = self._client:journal() -- an earlier run has made it, and no item has its key now
  local entry = journal and journal:find(key)
  if entry and entry.state == "saved" and earlier.is_saved(self._client.system, entry) then
    return { path = entry.path }
  end
  return nil, { error = errors.new { kind = "file", stage = "check", charged = false,
    message = ('the edit takes the result of "%s", which an earlier run has saved, and its file is '
      .. "gone or was changed: add that edit to the list, to get it again"):format(key) } }
end

-- Begins the item anew, with the results that it takes; returns its job, or nil and its result.
local function begin_anew(self, index, key)
  local sources = {}
  for _, needed in ipairs(self._needs[index] or {}) do
    local source, wrong = picture_of(self, index, needed)
    if not source then return nil, wrong end
    sources[needed] = source
  end
  local given = {}
  for name, value in pairs(chains.with(self._list[index], function(needed)
    return params.result(needed, sources[needed])
  end)) do given[name] = value end
  given.key = key
  return self._client:begin_edit(given, 1, true)
end

-- Returns a job that gets a picture again whose file is gone, how the result is marked, and what to
-- do when the service has it no more; or nil and a result.
local function get_again(self, index, item, key, entry, occupied)
  local again = self._remake and function()
    local job, wrong = begin_anew(self, index, key)
    return job, job and "remade" or wrong
  end
  local age = self._client.system.wall() - (tonumber(entry.at) or 0)
  local row = models.find(entry.model) or models.find(self._client:default_model())
  if not entry.id or again and age > row.link_life then -- what is older is seldom at the service
    if again and self._refused then
      return nil, { error = errors.new(errors.copy(self._refused)) }
    elseif again then
      return again()
    end
    return nil, refusal("lost", "gone", key)
  end
  local job = resume.entry(self._client, entry, { save_as = item.save_as or entry.path,
    no_replace = occupied or item.no_replace or nil, on_progress = item.on_progress })
  return job, "fetched_again", again
end

-- Returns a job for the item, and how its result is marked; or nil and what an earlier run has left
-- to say about it.
local function begin(self, index, item, key, id)
  local client = self._client
  local running = client:job_of_key(key)
  if running then
    if id and running:identity() ~= id or running:save_as() ~= item.save_as then
      return nil, refusal("invalid", "running", key)
    end
    return running -- joins: one edit, two results
  end
  local journal = client:journal()
  local known = journal and journal:find(key)
  local state = known and known.state
  if state and state ~= "failed" and state ~= "unsent" then
    if id and known.identity and known.identity ~= id then
      return nil, refusal("invalid", "other", key)
    elseif state == "saved" then
      local there, occupied = earlier.is_saved(client.system, known)
      if there then return nil, { saved = known.path, skipped = true } end
      return get_again(self, index, item, key, known, occupied)
    elseif resume.can_be_asked(known) then
      return resume.entry(client, known, item)
    elseif not self._retry_ambiguous then
      return nil, refusal(state, state, key)
    end
  end
  if self._refused then return nil, { error = errors.new(errors.copy(self._refused)) } end
  return begin_anew(self, index, key)
end

local start

-- Takes the result of an item that has ended.
local function ended(self, index, key, result)
  result.key, result.index = key, index
  settle(self, result)
end

-- Returns the result of an item whose job has ended.
local function marked_result(job, key, mark)
  if mark == "fetched_again" and job.error and job.error.kind == "lost" then
    return refusal("lost", "gone", key)
  end
  local result = result_of(job)
  if mark and not job.error then result[mark] = true end
  return result
end

-- Follows an item's job to its end.
local function follow(self, index, key, job, mark, otherwise)
  self._client:on_end(job, function()
    local result
    local kind = not self._refused and job.error and job.error.kind
    if otherwise and (kind == "lost" or kind == "expired") then
      local second, how = otherwise()
      if second then return follow(self, index, key, second, how) end
      result = how -- what it takes from another item is not there
    end
    self._under_way[index] = nil
    ended(self, index, key, result or marked_result(job, key, mark))
    start(self)
    tell(self)
  end)
end

-- Begins an item whose key is known; without `id` the key itself tells what is asked for.
local function start_keyed(self, index, key, id)
  local item = chains.marked(self._list[index])
  local job, mark, otherwise
  if self._stopped or self._client:is_closed() then
    mark = refusal("cancelled", "stopped", key)
  else
    job, mark, otherwise = begin(self, index, item, key, id)
  end
  if not job then
    self._under_way[index] = nil
    return ended(self, index, key, mark)
  end
  self._under_way[index] = job
  follow(self, index, key, job, mark, otherwise)
end

-- Begins an item. Without a key of its own its content is its key in a journal, and is read by
-- the worker first.
local function start_item(self, index)
  local item = chains.marked(self._list[index])
  self._under_way[index] = true
  if item.key then return start_keyed(self, index, item.key, identity_of(self, item)) end
  local paths, err = {}, nil
  if not self._stopped and self._client:journal() then paths, err = paths_of(self, item) end
  if not paths then -- another run, which can read the picture, would know the edit by another key
    self._under_way[index] = nil
    return ended(self, index, identity_of(self, item), { error = err })
  elseif #paths == 0 then
    return start_keyed(self, index, numbered(self, identity_of(self, item)))
  end
  self._client:digest(paths, function(digests, message, code)
    if digests then
      local id = identity_of(self, item, digests)
      start_keyed(self, index, numbered(self, id))
    elseif self._client:is_closed() then
      self._under_way[index] = nil
      local key = identity_of(self, item)
      ended(self, index, key, refusal("cancelled", "stopped", key))
    else -- another run, which can read the file, would know the edit by another key
      self._under_way[index] = nil
      ended(self, index, identity_of(self, item), { error = errors.new { kind = "file", code = code,
        stage = "check", charged = false, message = "cannot read " .. message } })
    end
    if not self._under_way[index] then
      start(self)
      tell(self)
    end
  end)
end

-- Returns the next item that waits for no other one's result, or nil where none is left.
local function next_item(self)
  while true do
    local released = self._released
    local index
    if released.first <= released.last then
      index, released[released.first] = released[released.first], nil
      released.first = released.first + 1
    elseif self._begun < self.total then
      self._begun = self._begun + 1
      index = self._begun
    else
      return nil
    end
    local awaited
    for _, key in ipairs(self._needs[index] or {}) do
      local parent = self._index_of[key]
      if parent and not self._results[parent] then awaited = parent end
    end
    if not awaited then return index end
    self._hanging[awaited] = self._hanging[awaited] or {}
    table.insert(self._hanging[awaited], index)
  end
end

-- Keeps as many items under way as may be. An item that ends at once does not start the next one
-- from inside of this.
function start(self)
  if self._starting or self._later then return end
  self._starting = true
  local active, stop = 0, self._client:clock()() + burst
  for _ in pairs(self._under_way) do active = active + 1 end
  while active < self._max_active or self._stopped do
    local index = next_item(self)
    if not index then break end
    start_item(self, index)
    if self._under_way[index] then
      active = active + 1
    elseif self._client:clock()() > stop and not self._client:is_closed() then
      self._later = true -- thousands of saved ones would hold up the host
      self._client:soon(function()
        self._later = nil
        start(self)
        tell(self)
      end)
      break
    end
  end
  self._starting = false
end

-- Returns what is wrong with the results that the items take from each other, or nil.
local function wrong_chains(client, list)
  local journal = client:journal()
  return chains.wrong(list, function(key)
    local entry = journal and journal:find(key)
    return entry ~= nil and entry.state == "saved"
  end)
end

-- Returns how many edits the service takes at once, of the items' models.
local function most_active(client, list)
  local most, seen = 1, {}
  for _, item in ipairs(list) do
    local model = item.model or client:default_model()
    if not seen[model] and models.find(model) then
      seen[model] = true
      most = math.max(most, client:limit(models.find(model).name))
    end
  end
  return most
end

--- Makes a batch and begins its first items.
---@param client table
---@param list table[] parameters as of edit, each with or without a `key`
---@param options table? max_active, on_progress(result, batch), stop_on_error, retry_ambiguous,
--- remake
---@return kontext.Batch
function batch.new(client, list, options)
  options = options or {}
  local wrong = misuse(list, options) or wrong_chains(client, list)
  if wrong then error(wrong, 3 + client:depth()) end
  local self = setmetatable({
    total = #list, done = 0, failed = 0,
    _client = client, _list = list, _begun = 0, _under_way = {}, _results = {}, _arrived = {},
    _told = 0, _seen = {}, _waitables = {}, _needs = {}, _index_of = {}, _hanging = {},
    _released = { first = 1, last = 0 }, _causes = {},
    _max_active = options.max_active or most_active(client, list),
    _on_progress = options.on_progress, _stop_on_error = options.stop_on_error,
    _retry_ambiguous = options.retry_ambiguous, _remake = options.remake,
  }, Batch)
  for i, item in ipairs(list) do
    params.refuse_misuse(item, 3 + client:depth(), client:default_model())
    local needs = chains.needs(item)
    if #needs > 0 then self._needs[i] = needs end
    if item.key then self._index_of[item.key] = i end
  end
  start(self)
  return self
end

function Batch:__tostring()
  return ("kontext.batch: %d of %d, %d failed"):format(self.done, self.total, self.failed)
end

--- Returns whether there is a result for every item.
---@return boolean
function Batch:ended()
  return self.done == self.total
end

-- Waits until `over` says so, or the time is over; returns whether it was `over`. The loops wait
-- for it as they do for a job.
local function wait_for(self, seconds, over)
  local deadline = seconds and core.now() + seconds
  local waitable = { watchers = {} }
  function waitable.ended() return over() end
  function waitable.watch(_, fn) waitable.watchers[#waitable.watchers + 1] = fn end
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
  for index = 1, self._begun do
    local job = self._under_way[index]
    if type(job) == "table" then jobs[#jobs + 1] = job end
  end
  for _, job in ipairs(jobs) do job:cancel() end
  start(self)
  tell(self)
end

return batch
