--- The parameters of an edit: their names, their Lua types, and how each becomes JSON.
local json = require "kontext.json"
local models = require "kontext.models"
local values = require "kontext.job.values"

local fields = {}

--- Our own parameters, which are not sent; each is also found under its name.
fields.ours = {
  { name = "model", types = { string = true }, check = values.as_it_is },
  { name = "timeout", types = { number = true }, check = values.seconds },
  { name = "save_as", types = { string = true }, check = values.save_as },
  { name = "fit", types = { boolean = true }, check = values.as_it_is },
  { name = "region", types = { table = true, string = true }, check = values.region },
  { name = "mask", types = { table = true, string = true }, check = values.mask_file },
  { name = "keep_metadata", types = { boolean = true }, check = values.as_it_is },
  { name = "strip", types = { boolean = true }, check = values.as_it_is },
  { name = "no_replace", types = { boolean = true }, check = values.as_it_is },
  { name = "reserved", types = { boolean = true }, check = values.as_it_is },
  { name = "on_progress", types = { ["function"] = true }, check = values.as_it_is },
  { name = "key", types = { string = true }, check = values.name },
}
for _, field in ipairs(fields.ours) do fields.ours[field.name] = field end

--- The Lua types that a field of each type takes.
fields.lua_types = {
  text = { string = true }, choice = { string = true }, ratio = { string = true },
  url = { string = true }, secret = { string = true }, boolean = { boolean = true },
  integer = { number = true }, number = { number = true },
  seed = { number = true, string = true, cdata = true },
  image = { string = true, table = true }, images = { string = true, table = true },
}

--- How a checked value becomes JSON, by the type of its field; for a picture "image".
fields.writers = {
  text = json.string, choice = json.string, ratio = json.string, url = json.string,
  secret = json.string, boolean = tostring, integer = json.integer, number = json.number,
  seed = json.integer, image = "image", images = "image",
}

local function described(name, kind)
  return { name = name, type = kind, types = fields.lua_types[kind], api = fields.writers[kind] }
end

--- The parameters of all our models, in the order of the requests (Kontext's first), then ours;
--- each is also found under its name: { name, types, api }. What has no `api` is not sent; of a
--- picture `api` is "image". Each picture of a list is there as "images[1]", "images[2]" …
fields.all = {}

local function add_field(list, field)
  if list[field.name] then return end
  list[#list + 1] = field
  list[field.name] = field
end

--- Returns the key of one picture of a list in a checked edit.
---@param field_name string
---@param i integer
---@return string
function fields.item_name(field_name, i)
  return ("%s[%d]"):format(field_name, i)
end

-- Adds the fields of a model that no earlier model has.
local function add_model(list, row)
  for _, field in ipairs(row.fields) do
    if field.type == "images" then
      for i = 1, field.max do
        add_field(list, described(fields.item_name(field.name, i), "image"))
      end
      list[field.name] = { name = field.name, type = "images", types = fields.lua_types.images }
    else
      add_field(list, described(field.name, field.type))
    end
  end
end

add_model(fields.all, models.find(models.default))
for _, model_name in ipairs(models.names()) do
  if models.is_own(model_name) then add_model(fields.all, models.find(model_name)) end
end
for _, field in ipairs(fields.ours) do add_field(fields.all, field) end

--- Returns the parameters that a model's edit may have: the request's fields and ours, by name.
---@param row table the model's
---@return table<string, table>
function fields.known(row)
  local known = {}
  for key, field in pairs(row.by_name) do known[key] = field end
  for _, field in ipairs(fields.ours) do known[field.name] = field end
  return known
end

--- Returns the row of an edit's model; nil: there is no such model.
---@param given any
---@param default? string the model of an edit that names none
---@return table?
function fields.row_of(given, default)
  local wanted = type(given) == "table" and type(given.model) == "string" and given.model
  return models.find(wanted or default or models.default)
end

local by_row = setmetatable({}, { __mode = "k" })

--- Returns the parameters that an edit by the model may have, as `fields.all` has them: those of a
--- program's own model too. Their order never changes, for it tells edits apart.
---@param given table
---@param default_model? string the client's
---@return table[]
function fields.of(given, default_model)
  local row = fields.row_of(given, default_model)
  if not row or models.is_own(row.name) then return fields.all end
  local list = by_row[row]
  if list then return list end
  local its_own = {}
  list = {}
  add_model(its_own, row)
  for _, field in ipairs(fields.all) do add_field(list, its_own[field.name] or field) end
  for _, field in ipairs(its_own) do add_field(list, field) end
  by_row[row] = list
  return list
end

return fields
