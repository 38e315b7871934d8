--- Chains: an edit of a batch may take the picture that another one makes,
--- `input_image = { result = "key" }`. Nothing here knows a client, a file or a journal.
local params = require "kontext.job.params"

local chains = {}

-- Returns the key that a value such as { result = "key" } names, or nil. Its type is not checked.
local function named(value)
  if type(value) ~= "table" or getmetatable(value) ~= nil then return nil end
  local name, key = next(value)
  if name == "result" and next(value, name) == nil then return key end
end

-- Calls `fn` with each result that an item names: the parameter, the place in its list or nil, and
-- the key.
local function each(item, fn)
  for name, value in pairs(item) do
    local key = named(value)
    if key ~= nil then
      fn(name, nil, key)
    elseif type(value) == "table" and getmetatable(value) == nil then
      for i, one in ipairs(value) do
        key = named(one)
        if key ~= nil then fn(name, i, key) end
      end
    end
  end
end

--- Returns the keys of the items whose results an item takes, each once.
---@param item table
---@return any[] keys strings, where nothing is misused
function chains.needs(item)
  local keys, seen = {}, {}
  each(item, function(_, _, key)
    if not seen[key] then
      seen[key] = true
      keys[#keys + 1] = key
    end
  end)
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

--- Returns an item in which `put(key)` replaces each result that it names.
---@param item table
---@param put fun(key: string): table
---@return table item the same one where it names none
function chains.with(item, put)
  local made
  each(item, function(name, i, key)
    if not made then
      made = {}
      for one, value in pairs(item) do made[one] = value end
    end
    if not i then
      made[name] = put(key)
      return
    end
    if made[name] == item[name] then
      made[name] = {}
      for at, value in ipairs(item[name]) do made[name][at] = value end
    end
    made[name][i] = put(key)
  end)
  return made or item
end

--- Returns an item in which markers replace the results, for the checks and the item's identity.
---@param item table
---@return table
function chains.marked(item)
  return chains.with(item, params.result)
end

-- Says which items wait for each other, beginning at one that waits.
local function circle(list, index_of, needs, waits, at)
  local seen, way = {}, {}
  repeat -- each one that is left waits for another one that is left
    seen[at] = #way + 1
    way[#way + 1] = ('"%s"'):format(tostring(list[at].key))
    for _, key in ipairs(needs[at]) do
      local other = index_of[key]
      if other and waits[other] > 0 then
        at = other
        break
      end
    end
  until seen[at]
  local keys = table.concat(way, ", ", seen[at])
  return ("the items %s wait for each other's results"):format(keys)
end

--- Returns what is wrong with the results that the items of a list name, or nil.
---@param list table[] tables, with keys that differ
---@param is_known? fun(key: string): boolean whether an earlier run has made the result
---@return string?
function chains.wrong(list, is_known)
  local index_of, needs, waits, children = {}, {}, {}, {}
  for i, item in ipairs(list) do
    if item.key ~= nil then index_of[item.key] = i end
    waits[i], children[i] = 0, {}
  end
  for i, item in ipairs(list) do
    needs[i] = chains.needs(item)
    for _, key in ipairs(needs[i]) do
      local parent = index_of[key]
      if type(key) ~= "string" then
        return ("item %d: result must be the key of another item, a string, not %s"):format(i,
          type(key))
      elseif parent == i then
        return ('item %d takes its own result "%s"'):format(i, key)
      elseif parent then
        waits[i] = waits[i] + 1
        table.insert(children[parent], i)
      elseif not (is_known and is_known(key)) then
        return ('item %d takes the result of "%s", and no item has that key'):format(i, key)
      end
    end
  end
  local ready = {}
  for i in ipairs(list) do
    if waits[i] == 0 then ready[#ready + 1] = i end
  end
  local at = 1
  while ready[at] do -- takes away what waits for nothing, until nothing more can be taken away
    for _, child in ipairs(children[ready[at]]) do
      waits[child] = waits[child] - 1
      if waits[child] == 0 then ready[#ready + 1] = child end
    end
    at = at + 1
  end
  for i in ipairs(list) do
    if waits[i] > 0 then return circle(list, index_of, needs, waits, i) end
  end
end

return chains
