--- One item of a batch: its key, what an earlier run left of it, how it begins, and its result.
--- These are functions over a batch, which knows the results of the other items.
local chains = require "kontext.chains"
local check = require "kontext.job.check"
local earlier = require "kontext.journal.earlier"
local errors = require "kontext.errors"
local identity = require "kontext.journal.identity"
local image = require "kontext.image"
local models = require "kontext.models"
local params = require "kontext.job.params"
local resume = require "kontext.journal.resume"

local items = {}

--- Returns the identity of an item: all parameters of the edit, defaults included.
---@param self kontext.Batch
---@param item table
---@param digests? table<string, string> of the item's files
---@return string
function items.identity(self, item, digests)
  local model = self._client:default_model()
  return identity.of(params.check(item, 1, model) or item, digests, model)
end

--- Returns the paths of an item's pictures, whose content is part of its key; or nil and an error
--- if the service does not take one of them.
---@param self kontext.Batch
---@param item table
---@return string[]? paths
---@return table|kontext.Error stamps by path: which file it was; or the error
function items.paths(self, item)
  local paths, stamps, model = {}, {}, self._client:default_model()
  item = params.flatten(item, model)
  for _, field in ipairs(params.fields_of(item, model)) do
    local value = field.api == "image" and item[field.name]
    local source = value and params.image(value)
    if source and source.path then
      -- A picture that is made to fit, or of which a window is sent, may exceed the limits.
      local known, err = check.source(source, item.fit or item.region or item.mask,
        item.model or model)
      if not known then return nil, err end
      paths[#paths + 1], stamps[source.path] = source.path, known.stamp
    end
  end
  return paths, stamps
end

--- Returns an error if one of an item's pictures has changed since it was digested, because its key
--- would then name other content; else nil.
---@param self kontext.Batch
---@param item table
---@param stamps table of items.paths
---@return kontext.Error?
function items.changed(self, item, stamps)
  local paths, now = items.paths(self, item)
  if not paths then return now end
  for _, path in ipairs(paths) do
    if now[path] ~= stamps[path] then
      return errors.new { kind = "file", code = "ESTALE", stage = "check", charged = false,
        retryable = true, message = path .. " has changed while it was read: edit again" }
    end
  end
end

-- Returns the result of a job that has ended.
local function result_of(job)
  local result = { error = job.error, warnings = job.warnings }
  if job.error then return result end
  result.saved = job.image.path
  image.copy_place(job.image, result)
  if not result.saved then result.image = job.image end
  return result
end

local once_more = "; look at your account, then pass retry_ambiguous = true to send it again"

local refusals = {
  ambiguous = earlier.said.ambiguous .. once_more,
  lost = earlier.said.lost .. once_more,
  other = earlier.said.other,
  elsewhere = earlier.said.elsewhere,
  stopped = 'edit "%s" was not begun, because the batch was stopped',
  running = 'edit "%s" is under way with other parameters: give this one another key',
  gone = 'edit "%s" was saved by an earlier run, but its file is gone or was changed, and the '
    .. "service no longer has the picture: pass remake = true to pay for it again",
}

--- Returns the result of an item that is not begun.
---@param kind string of the error
---@param name string of the sentence above
---@param key string
---@return kontext.BatchResult
function items.refusal(kind, name, key)
  return { error = errors.new { kind = kind, message = refusals[name]:format(key), stage = "submit",
    charged = kind == "invalid" and false or nil } }
end

-- Returns the result of an item that takes the result of a failed one. Along a chain it gives the
-- reason of the first that failed.
local function hung_on_failure(self, index, key, parent)
  local err, first = self._results[parent].error, self._causes[parent] or { key = key }
  first.message = first.message or err.message
  self._causes[index] = first
  local way = first.key ~= key and (' (which takes that of "%s")'):format(first.key) or ""
  return { error = errors.new { kind = err.kind, stage = "check", charged = false,
    retryable = err.retryable, message = ('the edit takes the result of "%s"%s, which failed: %s')
      :format(key, way, first.message) } }
end

-- Returns the picture of the item with that key; or nil and the result of the item that takes it.
local function picture_of(self, index, key)
  local parent = self._index_of[key]
  local result = parent and self._results[parent]
  if result and result.error then return nil, hung_on_failure(self, index, key, parent) end
  if result then return result.saved and { path = result.saved } or params.image(result.image) end
  local journal = self._client:journal() -- an earlier run made it, and no item has its key now
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

-- Returns a job that fetches a picture again whose file is gone, the result's mark, and a function
-- for when the service no longer has it; or nil and a result.
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
    return nil, items.refusal("lost", "gone", key)
  end
  local job = resume.entry(self._client, entry, { save_as = item.save_as or entry.path,
    no_replace = occupied or item.no_replace or nil, on_progress = item.on_progress })
  return job, "fetched_again", again
end

--- Begins an item, or continues what an earlier run left of it.
---@param self kontext.Batch
---@param index integer
---@param item table
---@param key string
---@param id? string what distinguishes the item; nil: the key itself does
---@return kontext.Job? job nil: the item has ended
---@return string|table|nil mark how the result is marked; of an item that has ended its result
---@return function? otherwise what to do when the service no longer has the picture
function items.begin(self, index, item, key, id)
  local client = self._client
  local function is_same(job)
    return not (id and job:identity() ~= id) and job:save_as() == item.save_as
  end
  local running = client:job_of_key(key, is_same)
  if running then
    if not is_same(running) then
      return nil, items.refusal("invalid", "running", key)
    end
    return running -- joins: one edit, two results
  end
  local journal = client:journal()
  local known, message, code
  if journal then known, message, code = journal:find(key) end
  if message then
    return nil, { error = errors.new(earlier.unknown(key, message, code)) }
  end
  if known and known.elsewhere then
    return nil, items.refusal("invalid", "elsewhere", key)
  end
  local state = known and known.state
  if state and state ~= "failed" and state ~= "unsent" then
    if id and known.identity and known.identity ~= id then
      return nil, items.refusal("invalid", "other", key)
    elseif state == "saved" then
      local there, occupied = earlier.is_saved(client.system, known)
      if there then return nil, { saved = known.path, skipped = true } end
      return get_again(self, index, item, key, known, occupied)
    elseif resume.can_be_asked(known) then
      return resume.entry(client, known, item)
    elseif not self._retry_ambiguous then
      return nil, items.refusal(state, state, key)
    end
  end
  if self._refused then return nil, { error = errors.new(errors.copy(self._refused)) } end
  return begin_anew(self, index, key)
end

--- Returns the result of an item whose job has ended.
---@param job kontext.Job
---@param key string
---@param mark? "fetched_again"|"remade"
---@return kontext.BatchResult
function items.result(job, key, mark)
  if mark == "fetched_again" and job.error and job.error.kind == "lost" then
    return items.refusal("lost", "gone", key)
  end
  local result = result_of(job)
  if mark and not job.error then result[mark] = true end
  return result
end

return items
