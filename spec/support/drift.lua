-- Compares the table of models with an OpenAPI document of the service and prints what differs.
--   lua spec/support/drift.lua FILE
-- It ends with 1 when something differs that is not listed here as known.

local models = require "kontext.models"

local drift = {}

-- What is known to differ, and why. `where` is matched against "model.field: …" as a pattern.
drift.known = {
  { where = "^[^:]*%.user: not in the document", why = "added in September 2026" },
  { where = "^[^:]*%.disable_pup: not in the document", why = "added in September 2026" },
  { where = "^[^:]*%.transparent_bg: ", why = "in no published document, and never sent" },
  { where = "^flux%-2%-flex%.input_image_blob_path: not in the table",
    why = "the service's own, gone since September 2026" },
  { where = "^flux%-kontext%-[^:]*%.output_format: default",
    why = "always sent, jpeg by the guide" },
  { where = "^flux%-kontext%-[^:]*%.output_format: choices", why = "webp is not documented there" },
  { where = "^flux%-3%-[^:]*: the model is not in the document", why = "newer than May 2026" },
  { where = "^flux%-tools/[^:]*: the model is not in the document", why = "newer than May 2026" },
  { where = "^flux%-pro%-1%.1[^:]*: the model is not in the table",
    why = "makes, but does not edit" },
  { where = "^flux%-dev: the model is not in the table", why = "makes, but does not edit" },
  { where = "finetune[^:]*: the model is not in the table", why = "ended in October 2025" },
}

-- Returns a schema with its references followed.
local function resolve(document, schema)
  for _ = 1, 8 do
    local name = schema["$ref"] and schema["$ref"]:match "([^/]+)$"
    if not name then break end
    schema = document.components.schemas[name] or {}
  end
  return schema
end

-- Returns what a property may be: of "this or null" this, with the default that stands outside.
local function property_of(document, property)
  local found = { default = property.default }
  local any = property.anyOf or { property }
  for _, one in ipairs(any) do
    one = resolve(document, one)
    if one.type ~= "null" then
      found.type = found.type or one.type
      found.enum = found.enum or one.enum
      found.minimum, found.maximum = found.minimum or one.minimum, found.maximum or one.maximum
      found.max_length, found.max_items = found.max_length or one.maxLength, one.maxItems
    end
  end
  return found
end

-- The type in the document of a field's type.
local types = {
  text = "string", image = "string", images = "string", choice = "string", ratio = "string",
  url = "string", secret = "string", boolean = "boolean", integer = "integer", seed = "integer",
  number = "number",
}

local function shown(value)
  if type(value) == "table" then return table.concat(value, "|") end
  if type(value) == "number" then return ("%.14g"):format(value) end
  return tostring(value)
end

-- Compares one field with its property.
local function compare_field(add, field, property, required)
  local function same(what, ours, theirs)
    if shown(ours) ~= shown(theirs) then
      add(("%s: %s is %s here and %s in the document"):format(field.name, what, shown(ours),
        shown(theirs)))
    end
  end
  if not (property.type == "array" and field.type == "images") then
    same("type", types[field.type], property.type)
  end
  same("required", field.required == true, required)
  if field.type == "integer" or field.type == "number" then
    same("the least", field.min, property.minimum)
    same("the most", field.max, property.maximum)
  elseif field.type == "choice" then
    same("choices", field.choices, property.enum)
  elseif field.type == "text" then
    same("the longest", field.max_length, property.max_length)
  end
  -- What is 0 or null by default is what is not sent: the table has no default for it.
  if field.default ~= nil then same("default", field.default, property.default) end
end

local function compare_model(add, row, document, schema)
  local required = {}
  for _, name in ipairs(schema.required or {}) do required[name] = true end
  if schema.additionalProperties == false and not row.strict then
    add("strict: the document forbids other fields, the table does not")
  end
  for _, field in ipairs(row.fields) do
    local property = schema.properties[field.name]
    if property then
      compare_field(add, field, property_of(document, property), required[field.name] == true)
    else
      add(field.name .. ": not in the document")
    end
  end
  for name in pairs(schema.properties) do
    if not row.by_name[name] then add(name .. ": not in the table") end
  end
end

-- Returns the schema of what is posted to a path, or nil.
local function posted(document, path)
  local operation = document.paths[path] and document.paths[path].post
  local body = operation and operation.requestBody
  local content = body and body.content and body.content["application/json"]
  return content and resolve(document, content.schema)
end

--- Compares the table with a document.
---@param document table
---@return { text: string, why: string? }[] differences sorted; `why` where one is known
function drift.compare(document)
  local found, paths = {}, {}
  for _, name in ipairs(models.names()) do
    local row = models.find(name)
    local schema = posted(document, row.path)
    paths[row.path] = true
    if not schema then
      found[#found + 1] = name .. ": the model is not in the document"
    else
      compare_model(function(text) found[#found + 1] = name .. "." .. text end, row, document,
        schema)
    end
  end
  for path in pairs(document.paths) do
    if not paths[path] and posted(document, path) then
      found[#found + 1] = path:gsub("^/v1/", "") .. ": the model is not in the table"
    end
  end
  table.sort(found)
  for i, text in ipairs(found) do
    local why
    for _, known in ipairs(drift.known) do
      if text:find(known.where) then why = known.why end
    end
    found[i] = { text = text, why = why }
  end
  return found
end

--- Reads a document and prints what differs.
---@param path string
---@param print_line? fun(line: string)
---@return integer new how many differences are not known
function drift.report(path, print_line)
  local file = assert(io.open(path, "rb"))
  local document = assert(require "cjson.safe".decode(file:read "*a"))
  file:close()
  local new = 0
  for _, difference in ipairs(drift.compare(document)) do
    if not difference.why then new = new + 1 end
    local line = (difference.why and "known  " or "NEW    ") .. difference.text
    if difference.why then line = line .. " (" .. difference.why .. ")" end
    (print_line or print)(line)
  end
  return new
end

local script = rawget(_G, "arg")
if script and script[0] and script[0]:find "drift%.lua$" then
  if not script[1] then error("usage: make drift SPEC=FILE, an OpenAPI document in JSON", 0) end
  local new = drift.report(script[1])
  print(("%d new differences"):format(new))
  os.exit(new == 0 and 0 or 1)
end

return drift
