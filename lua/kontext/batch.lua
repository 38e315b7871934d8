--- Many edits with a few in flight. With a journal a batch can be killed at any moment and run
--- again: it skips what is saved, fetches what was accepted, and reports what is in doubt. An item
--- that takes another item's result waits until that item has ended.
local chains = require "kontext.chains"
local core = require "kontext.core"
local errors = require "kontext.errors"
local given = require "kontext.batch.given"
local items = require "kontext.batch.items"
local loop = require "kontext.loop"
local params = require "kontext.job.params"
local receiver = require "kontext.receiver"
local retry = require "kontext.job.retry"

local batch = {}

---@class kontext.Batch
---@field total integer items; of an iterator those that it has given so far
---@field done integer results so far
---@field failed integer results with an error so far
local Batch = { __name = "kontext.batch" }
Batch.__index = Batch

---@class kontext.BatchResult
---@field key string
---@field index integer the item's place in the list
---@field image kontext.Image? the picture, where the item has no save_as
---@field saved string? where it was saved
---@field region table? of an edit of a region: {x, y, width, height}, what was to change
---@field window table? the same of what was sent
---@field match number? how alike the margins are, 0 … 1; nil: there was none to compare
---@field shift {x: number, y: number}? by how many pixels the answer was displaced
---@field skipped boolean? an earlier run had saved it
---@field fetched_again boolean? an earlier run had saved it, and the file was gone
---@field remade boolean? the same, and the service no longer had it: it was paid for again
---@field warnings string[]? of the job
---@field error kontext.Error?

---@class (private) kontext.Batch
---@field _needs table<integer, string[]> by item: the keys of those whose results it takes
---@field _index_of table<string, integer> the item of a key
---@field _hanging table<integer, integer[]> by item: those that wait for its result
---@field _released table queue of items whose wait is over
---@field _causes table<integer, table> by item: which one failed first, and why
---@field _pull? fun(): table? the iterator, until it has given all
---@field _streamed boolean the items come from an iterator: nothing of one is kept after its end
---@field _drops boolean nobody asks for the results of an iterator's items by `results`

-- Returns the key of an item that has none. The second of two equal items is another edit, not the
-- first again.
local function numbered(self, key)
  if self._streamed then return key end -- a set of all keys would grow with the list
  local times = (self._seen[key] or 0) + 1
  self._seen[key] = times
  return times == 1 and key or key .. "#" .. times
end

-- Calls the watchers of each wait that is over.
local function tell(self)
  local told = {} -- a watcher may wait again, which adds to the list
  for waitable in pairs(self._waitables) do
    if waitable:ended() then
      for _, watcher in ipairs(waitable.watchers) do told[#told + 1] = watcher end
      waitable.watchers = {}
    end
  end
  for _, watcher in ipairs(told) do watcher() end
end

-- Takes one item's result.
local function settle(self, result)
  if not self._drops then
    self._results[result.index] = result
    self._last = self._last + 1
    self._arrived[self._last] = result.index
  end
  if self._streamed then self._list[result.index] = nil end
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

local burst = 0.002 -- seconds of beginning items in a row
local most_untold = 100 -- results of an iterator's items that wait for `results`

local start

-- Takes the result of an item that has ended.
local function ended(self, index, key, result)
  result.key, result.index = key, index
  settle(self, result)
end

-- Follows an item's job to its end.
local function follow(self, index, key, job, mark, otherwise)
  self._client:on_end(job, function()
    local result
    local kind = not self._refused and job.error and job.error.kind
    if otherwise and (kind == "lost" or kind == "expired") then
      local second, how = otherwise()
      if second then return follow(self, index, key, second, how) end
      result = how -- the result that the item takes is missing
    end
    self._under_way[index] = nil
    ended(self, index, key, result or items.result(job, key, mark))
    start(self)
    tell(self)
  end)
end

-- Begins an item whose key is known. Without `id` the key alone identifies the edit.
local function start_keyed(self, index, key, id)
  local item = chains.marked(self._list[index])
  local job, mark, otherwise
  if self._stopped or self._client:is_closed() then
    mark = items.refusal("cancelled", "stopped", key)
  else
    job, mark, otherwise = items.begin(self, index, item, key, id)
  end
  if not job then
    self._under_way[index] = nil
    return ended(self, index, key, mark)
  end
  self._under_way[index] = job
  follow(self, index, key, job, mark, otherwise)
end

-- Takes note of the first item that was refused for good. Its result comes later in this step; what
-- begins now would be sent with the refused key.
local function note_refusal(self)
  if self._refused then return end
  local refused
  for index, job in pairs(self._under_way) do
    if job ~= true and retry.is_hopeless(job.error) and index <= (refused or index) then
      refused = index
    end
  end
  if refused then self._refused = self._under_way[refused].error end
end

-- Begins an item. Without a key of its own its content is its key in a journal, and is read by
-- the worker first.
local function start_item(self, index)
  local item = chains.marked(self._list[index])
  self._under_way[index] = true
  if item.key then return start_keyed(self, index, item.key, items.identity(self, item)) end
  local paths, stamps = {}, nil
  if not self._stopped and self._client:journal() then paths, stamps = items.paths(self, item) end
  if not paths then -- a run that can read the picture would give the edit another key
    self._under_way[index] = nil
    return ended(self, index, items.identity(self, item), { error = stamps })
  elseif #paths == 0 then
    return start_keyed(self, index, numbered(self, items.identity(self, item)))
  end
  self._client:digest(paths, function(digests, message, code)
    note_refusal(self) -- it may have come in this step
    local changed = digests and items.changed(self, item, stamps)
    if changed then
      self._under_way[index] = nil
      ended(self, index, items.identity(self, item), { error = changed })
    elseif digests then
      local id = items.identity(self, item, digests)
      start_keyed(self, index, numbered(self, id))
    elseif self._client:is_closed() then
      self._under_way[index] = nil
      local key = items.identity(self, item)
      ended(self, index, key, items.refusal("cancelled", "stopped", key))
    else -- a run that can read the file would give the edit another key
      self._under_way[index] = nil
      ended(self, index, items.identity(self, item), { error = errors.new { kind = "file",
        code = code, stage = "check", charged = false, message = "cannot read " .. message } })
    end
    if not self._under_way[index] then
      start(self)
      tell(self)
    end
  end)
end

-- Returns the result of an iterator's item that is misused, or nil.
local function misused(self, item)
  local sound, wrong = type(item) == "table", "an item must be a table, not " .. type(item)
  if sound then
    sound, wrong = pcall(params.refuse_misuse, item, -1, self._client:default_model())
  end
  if sound and #chains.needs(item) > 0 then
    sound, wrong = false, "an iterator's item cannot take another one's result: give a list"
  end
  return not sound and { error = errors.new { kind = "invalid", stage = "check", charged = false,
    message = tostring(wrong) } } or nil
end

-- Takes the iterator's next item. Returns its index, or nil when it gives none now.
local function pull(self)
  if self._stopped or not self._drops and self._last - self._told >= most_untold then return nil end
  local done, item = pcall(self._pull)
  if not done then -- an error of the host's function: the host's own step raises it
    self._pull = nil
    self._client:tell_host(function() error(item, 0) end)
    return nil
  elseif item == nil then
    self._pull = nil
    return nil
  end
  self.total = self.total + 1
  self._begun = self.total
  self._list[self.total] = item
  return self.total, misused(self, item)
end

-- Returns the next item that waits for no other item's result, or nil when none is left; and the
-- result of an item that is misused.
local function next_item(self)
  if self._streamed then
    if self._stopped then self._pull = nil end
    if not self._pull then return nil end
    return pull(self)
  end
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

-- Keeps as many items under way as are allowed. An item that ends at once does not start the next
-- one from within this call.
function start(self)
  if self._starting or self._later then return end
  self._starting = true
  local active, stop = 0, self._client:clock()() + burst
  for _ in pairs(self._under_way) do active = active + 1 end
  note_refusal(self)
  while active < self._max_active or self._stopped do
    local index, wrong = next_item(self)
    if not index then break end
    if wrong then
      ended(self, index, tostring(index), wrong)
    else
      start_item(self, index)
    end
    if self._under_way[index] then
      active = active + 1
    elseif self._client:clock()() > stop and not self._client:is_closed() then
      self._later = true -- thousands of saved items in a row would block the host
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

--- Makes a batch and begins its first items.
---@param client table
---@param list table[]|fun(): table? parameters as of edit, each with or without a `key`; or a
--- function that returns the next ones, and nil at the end
---@param options table? max_active, on_progress(result, batch), stop_on_error, retry_ambiguous,
--- remake
---@return kontext.Batch
function batch.new(client, list, options)
  options = options or {}
  local wrong = given.wrong(client, list, options)
  if wrong then error(wrong, 3 + client:depth()) end
  local streamed = type(list) == "function"
  local self = setmetatable({
    total = streamed and 0 or #list, done = 0, failed = 0,
    _pull = streamed and list or nil, _streamed = streamed, _last = 0,
    _drops = streamed and options.on_progress ~= nil,
    _client = client, _list = streamed and {} or list, _begun = 0, _under_way = {},
    _results = {}, _arrived = {},
    _told = 0, _seen = {}, _waitables = {}, _needs = {}, _index_of = {}, _hanging = {},
    _released = { first = 1, last = 0 }, _causes = {},
    _max_active = options.max_active or given.most_active(client, list),
    _on_progress = options.on_progress, _stop_on_error = options.stop_on_error,
    _retry_ambiguous = options.retry_ambiguous, _remake = options.remake,
  }, Batch)
  for i, item in ipairs(self._list) do
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
  return self.done == self.total and not self._pull
end

-- Waits until `over()` is true or the time has passed, and returns `over()`. A loop waits for this
-- as it waits for a job.
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
---@param seconds? number at most; the batch goes on afterwards
---@return kontext.BatchResult[]? results in the order of the list; none of an iterator's
---@return string? message
---@return kontext.Error? err of kind "timeout" when only the wait ran out
function Batch:wait(seconds)
  receiver.check(self, Batch, "batch:wait()", 2)
  if self._streamed then
    self._drops, self._results, self._arrived, self._told = true, {}, {}, self._last
    start(self)
  end
  if wait_for(self, seconds, function() return self:ended() end) then return self._results end
  return errors.result(errors.new { kind = "timeout", stage = "wait",
    message = ("%d of %d edits did not end within the %g s of this wait; they go on: wait again")
      :format(self.total - self.done, self.total, seconds) })
end

--- Iterates over the results as they come; `for result in batch:results() do … end`.
---@return fun(): kontext.BatchResult?
function Batch:results()
  receiver.check(self, Batch, "batch:results()", 2)
  return function()
    wait_for(self, nil, function() return self._told < self._last or self:ended() end)
    if self._told == self._last then return nil end
    self._told = self._told + 1
    local index = self._arrived[self._told]
    local result = self._results[index]
    if self._streamed then
      self._arrived[self._told], self._results[index] = nil, nil
      start(self)
    end
    return result
  end
end

--- Cancels what is under way and begins nothing more.
function Batch:cancel()
  receiver.check(self, Batch, "batch:cancel()", 2)
  self._stopped = true
  local jobs = {}
  local order = {}
  for index, job in pairs(self._under_way) do
    if type(job) == "table" then order[#order + 1] = index end
  end
  table.sort(order)
  for i, index in ipairs(order) do jobs[i] = self._under_way[index] end
  for _, job in ipairs(jobs) do job:cancel() end
  start(self)
  tell(self)
end

return batch
