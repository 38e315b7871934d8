--- Checks the arguments of a batch, and decides how many items run at once.
local chains = require "kontext.chains"
local models = require "kontext.models"
local params = require "kontext.job.params"

local given = {}

local types = { max_active = "number", on_progress = "function", stop_on_error = "boolean",
  retry_ambiguous = "boolean", remake = "boolean" }

-- Names that no two items may share.
local unique = { "key", "save_as" }

-- Returns what is misused in a list, or nil.
local function misused_list(list)
  if type(list) ~= "table" then
    return "batch takes a list of parameters or an iterator, not a " .. type(list)
  end
  if #list == 0 and next(list) ~= nil then
    return "batch takes a list of parameters: { { prompt = … }, … }"
  end
  local last = 0
  for index in pairs(list) do
    if type(index) == "number" and index > last then last = index end
  end
  local seen, replaced = { key = {}, save_as = {} }, {}
  for i = 1, last do
    local item = list[i]
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
    if item.save_as ~= nil and not item.no_replace then replaced[item.save_as] = i end
  end
  for i, item in ipairs(list) do
    local path = type(item.input_image) == "table" and item.input_image.path or item.input_image
    local taken = type(path) == "string" and replaced[path]
    if taken and taken ~= i then
      return ("items %d and %d: what one edits, %s, is where the other is saved"):format(i, taken,
        path)
    end
  end
end

-- Returns what is misused, or nil.
local function misuse(list, options)
  local wrong = type(list) ~= "function" and misused_list(list)
  if wrong then return wrong end
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

-- Returns what is wrong with the results that items take from each other, or nil.
local function wrong_chains(client, list)
  local journal = client:journal()
  return chains.wrong(list, function(key)
    local entry = journal and journal:find(key)
    return entry ~= nil and entry.state == "saved"
  end)
end

--- Returns what is wrong with a list and its options, or nil.
---@param client kontext.Client
---@param list any
---@param options any
---@return string?
function given.wrong(client, list, options)
  return misuse(list, options) or type(list) == "table" and wrong_chains(client, list) or nil
end

--- Returns how many edits the service takes at once, of the items' models.
---@param client kontext.Client
---@param list table[]|function
---@return integer
function given.most_active(client, list)
  if type(list) == "function" then return client:limit(client:default_model()) end
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

return given
