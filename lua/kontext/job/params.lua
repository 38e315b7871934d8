--- The parameters of an edit: what they are called, what they may be, and the JSON made of them.
--- What a model takes stands in kontext.models; this is the one checker for all of them.
local api = require "kontext.api"
local core = require "kontext.core"
local geometry = require "kontext.geometry"
local json = require "kontext.json"
local models = require "kontext.models"

local params = {}

-- Returns a value as a sentence may show it.
local function shown(value)
  value = tostring(value)
  if #value > 60 then value = value:sub(1, 57) .. "..." end
  return '"' .. value:gsub("[%z\1-\31\127]", "?") .. '"'
end

-- Returns the members as a sentence lists them: "jpeg", "png" or "webp".
local function any_of(members)
  local quoted = {}
  for i, member in ipairs(members) do quoted[i] = '"' .. member .. '"' end
  local last = table.remove(quoted)
  return #quoted > 0 and table.concat(quoted, ", ") .. " or " .. last or last
end

local function warn(context, message)
  local warnings = context.warnings
  for _, other in ipairs(warnings) do
    if other == message then return end
  end
  warnings[#warnings + 1] = message
end

-- Returns the value and a warning where a fact is not confirmed, else nil and the message.
local function unless_doubtful(value, message, fact, context, field)
  local doubtful = field.doubts and field.doubts[fact] or field.confirmed == false
    or context.row.confirmed == false
  if not doubtful then return nil, message end
  warn(context, ("%s %s; this limit is not confirmed, so the edit is sent"):format(field.name,
    message))
  return value
end

-- The checks. Each gets a value of the right Lua type, its field, and the context {given, row,
-- warnings}, and returns the value as it is kept, or nil and what is wrong with it, to stand after
-- the parameter's name.

local function utf8_text(value)
  local at = json.invalid_utf8(value)
  if at then
    return nil, ("is not valid UTF-8 (byte %d, 0x%02X): convert it"):format(at, value:byte(at))
  end
  return value
end

-- Returns how many characters a UTF-8 text has.
local function length(value)
  return select(2, value:gsub("[^\128-\191]", ""))
end

local checks = {}

function checks.text(value, field, context)
  if not field.may_be_empty and not value:find("%S") then
    return nil, field.name == "prompt" and "is empty: say what is to be changed" or "is empty"
  end
  if field.max_bytes and #value > field.max_bytes then
    return nil, ("has %d bytes, and the service reads at most %d tokens: shorten it"):format(
      #value, field.max_tokens)
  end
  local kept, message = utf8_text(value)
  if kept and field.max_length and length(value) > field.max_length then
    kept, message = unless_doubtful(value, ("has %d characters: at most %d are taken"):format(
      length(value), field.max_length), "max_length", context, field)
  end
  return kept, message
end

function checks.image(value)
  return params.image(value)
end

function checks.ratio(value, field)
  local ratio = geometry.parse_ratio(value)
  if ratio and ratio >= field.min and ratio <= field.max then return value end
  return nil, ('is %s: write it as "W:H", such as "16:9", from 3:7 to 7:3'):format(shown(value))
end

function checks.seed(value)
  local digits = json.integer(value)
  if digits then return digits end
  return nil, ("is %s: it must be a whole number"):format(shown(value))
end

function checks.boolean(value)
  return value
end

function checks.choice(value, field, context)
  for _, choice in ipairs(field.choices) do
    if value == choice then return value end
  end
  return unless_doubtful(value, ("is %s: it must be %s"):format(shown(value),
    any_of(field.choices)), "choices", context, field)
end

-- Returns a number as a sentence shows it, whatever the locale.
local function digits(value)
  return json.number(value) or tostring(value)
end

-- Returns "a whole number from 0 (strict) to 2 with an input image".
local function range(field, max, with_image)
  local what = field.type == "integer" and "a whole number" or "a number"
  if field.min and max then
    return ("%s from %s%s to %s%s"):format(what, digits(field.min),
      field.name == "safety_tolerance" and " (strict)" or "", digits(max),
      with_image and " with an input image" or "")
  end
  return field.min and ("%s of at least %s"):format(what, digits(field.min)) or what
end

local function number(value, field, context)
  local with_image = field.max_with_image and context.given[context.row.images.first] ~= nil
  local max = with_image and field.max_with_image or field.max
  local is_number = value == value and math.abs(value) < math.huge
    and (field.type == "number" or value % 1 == 0)
  local message = ("is %s: it must be %s"):format(is_number and digits(value) or tostring(value),
    range(field, max, with_image))
  if not is_number then return nil, message end
  if field.min and value < field.min then
    return unless_doubtful(value, message, "min", context, field)
  elseif max and value > max then
    return unless_doubtful(value, message, "max", context, field)
  end
  return value
end

checks.integer, checks.number = number, number

function checks.url(value, field)
  if #value > field.max_length then
    return nil, ("has %d characters: at most %d are taken"):format(#value, field.max_length)
  end
  -- Not shown: a URL may hold a password or a signature.
  if not value:lower():find("^https?://[\33-\126]+$") then
    return nil, "must be an http:// or https:// URL, in ASCII and without spaces"
  end
  return value
end

-- The value is a secret: no message shows it.
function checks.secret(value)
  if value == "" then return nil, "is empty: an empty secret proves nothing" end
  if value:find("[%z\1-\31\127]") then
    return nil, "has control characters: it could not come back in a header"
  end
  return utf8_text(value)
end

-- What is ours and is not sent.

local function as_it_is(value)
  return value
end

local function seconds(value)
  if value > 0 and value < math.huge then return value end
  return nil, ("is %s: it must be a number of seconds above 0"):format(tostring(value))
end

local labels = { jpeg = "JPEG", png = "PNG", webp = "WebP" }
local endings = { jpeg = ".jpg", png = ".png", webp = ".webp" }

-- Returns the format that a file's name asks for; false: no model makes it; nil: no certain one.
local function format_of(name)
  local extension = name:match("%.(%w+)$")
  if not extension then return nil end
  extension = extension:lower()
  if extension == "webp" then return "webp" end
  return api.extensions[extension]
end

local function save_as(value, _, context)
  if value == "" or value:find("%z") then return nil, "is not the name of a file" end
  local format, row = format_of(value), context.row
  if format == nil then return value end
  local made, ends = {}, {}
  for i, one in ipairs(row.formats) do
    if one == format then return value end
    made[i], ends[i] = labels[one], endings[one]
  end
  return nil, ("is %s, and the service makes %s: end the name in %s"):format(shown(value),
    table.concat(made, " or "), table.concat(ends, " or "))
end

local function name(value)
  if value == "" then return nil, "is empty" end
  return utf8_text(value)
end

-- Returns a region as one text, which tells edits apart; the pixels are read once the picture's
-- size is known.
local function region(value)
  if type(value) == "table" then
    local parts = {}
    for i, key in ipairs { "x", "y", "width", "height" } do
      local part = value[key] or value[i]
      if type(part) == "number" then part = digits(part) end
      if type(part) ~= "string" then
        return nil, ("has no %s: give {x =, y =, width =, height =} in pixels or per cent"):format(
          key)
      end
      parts[i] = part
    end
    value = table.concat(parts, ",")
  end
  if #value > 100 then return nil, "is too long: give X,Y,W,H in pixels or per cent" end
  return (value:gsub("%s+", ""))
end

local function mask_file(value)
  local source, message = params.image(value)
  if source and not source.path then return nil, "must be the path of a PNG" end
  return source, message
end

local ours = {
  { name = "model", types = { string = true }, check = as_it_is },
  { name = "timeout", types = { number = true }, check = seconds },
  { name = "save_as", types = { string = true }, check = save_as },
  { name = "fit", types = { boolean = true }, check = as_it_is },
  { name = "region", types = { table = true, string = true }, check = region },
  { name = "mask", types = { table = true, string = true }, check = mask_file },
  { name = "keep_metadata", types = { boolean = true }, check = as_it_is },
  { name = "strip", types = { boolean = true }, check = as_it_is },
  { name = "no_replace", types = { boolean = true }, check = as_it_is },
  { name = "reserved", types = { boolean = true }, check = as_it_is },
  { name = "on_progress", types = { ["function"] = true }, check = as_it_is },
  { name = "key", types = { string = true }, check = name },
}
for _, field in ipairs(ours) do ours[field.name] = field end

local lua_types = {
  text = { string = true }, choice = { string = true }, ratio = { string = true },
  url = { string = true }, secret = { string = true }, boolean = { boolean = true },
  integer = { number = true }, number = { number = true },
  seed = { number = true, string = true, cdata = true },
  image = { string = true, table = true }, images = { string = true, table = true },
}

-- How a kept value becomes JSON.
local writers = {
  text = json.string, choice = json.string, ratio = json.string, url = json.string,
  secret = json.string, boolean = tostring, integer = json.integer, number = json.number,
  seed = json.integer, image = "image", images = "image",
}

local function described(name_, kind)
  return { name = name_, type = kind, types = lua_types[kind], api = writers[kind] }
end

--- The parameters of all our models, in the order of the requests (Kontext's first), then ours;
--- each is also found under its name: { name, types, api }. What has no `api` is not sent; of a
--- picture `api` is "image". Each picture of a list is there as "images[1]", "images[2]" …
params.fields = {}

local function add_field(fields, field)
  if fields[field.name] then return end
  fields[#fields + 1] = field
  fields[field.name] = field
end

local function item_name(field_name, i) return ("%s[%d]"):format(field_name, i) end

-- Adds what a model has and no earlier one.
local function add_model(fields, row)
  for _, field in ipairs(row.fields) do
    if field.type == "images" then
      for i = 1, field.max do add_field(fields, described(item_name(field.name, i), "image")) end
      fields[field.name] = { name = field.name, type = "images", types = lua_types.images }
    else
      add_field(fields, described(field.name, field.type))
    end
  end
end

add_model(params.fields, models.find(models.default))
for _, model_name in ipairs(models.names()) do
  if models.is_own(model_name) then add_model(params.fields, models.find(model_name)) end
end
for _, field in ipairs(ours) do add_field(params.fields, field) end

local fields_by_row = setmetatable({}, { __mode = "k" })

--- Returns the parameters that an edit by the model may have, as `params.fields` has them: those of
--- a program's own model too. Their order never changes, for it tells edits apart.
---@param given table
---@param default_model? string the client's
---@return table[]
function params.fields_of(given, default_model)
  local row = params.row_of(given, default_model)
  if not row or models.is_own(row.name) then return params.fields end
  local fields = fields_by_row[row]
  if fields then return fields end
  local its_own = {}
  fields = {}
  add_model(its_own, row)
  for _, field in ipairs(params.fields) do add_field(fields, its_own[field.name] or field) end
  for _, field in ipairs(its_own) do add_field(fields, field) end
  fields_by_row[row] = fields
  return fields
end

--- Names what a model's edit may have: the request's fields and ours, by name.
---@param row table the model's
---@return table<string, table>
function params.known(row)
  local known = {}
  for key, field in pairs(row.by_name) do known[key] = field end
  for _, field in ipairs(ours) do known[field.name] = field end
  return known
end

-- Returns how many letters must be inserted, dropped or changed to make one word the other.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local corner = row[0]
    row[0] = i
    for j = 1, #b do
      local change = corner + (a:byte(i) == b:byte(j) and 0 or 1)
      corner = row[j]
      row[j] = math.min(change, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

--- Names the known key that an unknown one was probably meant to be.
---@param key any
---@param known table<string, any> its string keys are the known ones
---@return string message such as 'unknown key "promt" (did you mean "prompt"?)'
function params.unknown(key, known)
  local message = ("unknown key %s"):format(type(key) == "string" and shown(key) or tostring(key))
  if type(key) ~= "string" or #key > 40 then return message end
  local best, least = nil, 3
  for candidate in pairs(known) do
    if type(candidate) == "string" then
      local far = distance(key:lower(), candidate)
      -- "image" and "format" are the ends of what was meant.
      if far > 2 and #key > 3 and candidate:find(key:lower(), 1, true) then far = 2.5 end
      if far < least or far == least and best and candidate < best then
        best, least = candidate, far
      end
    end
  end
  return best and ('%s (did you mean "%s"?)'):format(message, best) or message
end

-- Returns the model's row for what was given.
local function row_of(given, default)
  local wanted = type(given) == "table" and type(given.model) == "string" and given.model
  return models.find(wanted or default or models.default)
end
params.row_of = row_of

--- Says that there is no such model, and which there are.
---@param given any
---@return string message such as 'is "flux-dev": it must be one of …'
function params.no_such_model(given)
  local names, candidates = models.names(), {}
  for _, known in ipairs(names) do candidates[known] = true end
  for short in pairs(models.aliases) do candidates[short] = true end
  local meant = params.unknown(given, candidates):match '%(did you mean ".-"%?%)$'
  return ("is %s: it must be one of %s%s"):format(shown(given), table.concat(names, ", "),
    meant and " " .. meant or "")
end

-- Where a model has its own name for the picture, `input_image` (and `input_image_2` … of a list)
-- may be given all the same. Returns what was given under the model's names, and the other way
-- round the caller's name of each renamed one.
local function renamed(given, row)
  local first = row.images.first
  if not first or row.by_name.input_image or given.input_image == nil then return given, {} end
  if row.images.style ~= "list" then
    if given[first] ~= nil then return given, {} end
    local copy = {}
    for key, value in pairs(given) do copy[key] = value end
    copy[first], copy.input_image = given.input_image, nil
    return copy, { [first] = "input_image" }
  end
  if given[first] ~= nil then return given, {} end
  local copy, images, names = {}, {}, {}
  for key, value in pairs(given) do copy[key] = value end
  for i = 1, row.by_name[first].max do
    local key = i == 1 and "input_image" or "input_image_" .. i
    if given[key] == nil then break end
    copy[key], images[i], names[item_name(first, i)] = nil, given[key], key
  end
  copy[first] = images
  return copy, names
end

-- Returns whether a value is a list of pictures, and not one picture.
local function is_list(value)
  return type(value) == "table" and rawget(value, "format") == nil and rawget(value, "path") == nil
    and rawget(value, "bytes") == nil and rawget(value, "url") == nil
    and rawget(value, "result") == nil
end

-- Gives each picture of a list a key of its own, as a checked edit has them.
local function spread(to, field_name, value)
  if not is_list(value) then value = { value } end
  for i, one in ipairs(value) do to[item_name(field_name, i)] = one end
end

--- Returns what was given with each picture under the key that it has in a checked edit.
---@param given table
---@param default_model? string the client's
---@return table flat `given` itself where nothing changes
function params.flatten(given, default_model)
  local row = row_of(given, default_model)
  if not row then return given end
  local flat = renamed(given, row)
  for _, field in ipairs(row.fields) do
    if field.type == "images" and flat[field.name] ~= nil then
      local copy = {}
      for key, value in pairs(flat) do copy[key] = value end
      copy[field.name] = nil
      spread(copy, field.name, flat[field.name])
      flat = copy
    end
  end
  return flat
end

-- Returns the names of the models that have a field.
local function who_has(key)
  local names = {}
  for _, model_name in ipairs(models.names()) do
    if models.find(model_name).by_name[key] then names[#names + 1] = model_name end
  end
  return names
end

-- Returns what is wrong with a key that the model does not have.
local function unknown_field(key, row)
  local names = type(key) == "string" and who_has(key) or {}
  local message = params.unknown(key, params.known(row))
  -- "image" is the end of what was meant, though another model has a field of that name.
  local meant = message:match 'did you mean "(.-)"'
  if #names == 0 or meant and meant:find(key, 1, true) then return message end
  local few = table.concat(names, ", ", 1, math.min(#names, 3))
  return ("unknown key %s: %s has no such field; it is one of %s%s"):format(shown(key), row.name,
    few, #names > 3 and " and others" or "")
end

-- Returns what is missing, or nil.
local function missing(given, row)
  for _, field in ipairs(row.fields) do
    if field.required and given[field.name] == nil then
      if field.name == "prompt" then
        return "prompt is missing: a string that says what to change"
      end
      return ("%s is missing: %s does not work without"):format(field.name, row.name)
    end
  end
end

-- Returns what is misused in `given`, or nil. Without a row (no such model) any model's field is
-- let pass.
local function misuse(given, row)
  if type(given) ~= "table" then
    return "the parameters must be a table, not " .. type(given)
  elseif given.model ~= nil and type(given.model) ~= "string" then
    return "model must be a string, not " .. type(given.model)
  end
  local renamed_given, names = given, {}
  if row then renamed_given, names = renamed(given, row) end
  for key, value in pairs(renamed_given) do
    local field = row and row.by_name[key] or ours[key] or not row and params.fields[key]
    if type(key) ~= "string" or not field then
      return row and unknown_field(key, row) or params.unknown(key, params.fields)
    end
    local types = field.types or lua_types[field.type]
    if not types[type(value)] then
      local list = {}
      for t in pairs(types) do list[#list + 1] = t end
      table.sort(list)
      return ("%s must be a %s, not %s"):format(names[key] or key, table.concat(list, " or "),
        type(value))
    end
  end
  return row and missing(renamed_given, row)
    or not row and given.prompt == nil and "prompt is missing: a string that says what to change"
    or nil
end

--- Raises what is misused in an edit's parameters: an unknown key, a wrong Lua type, a field that
--- is missing.
---@param given table
---@param level? integer as for `error`: 1 (default) blames the caller
---@param default_model? string the client's
function params.refuse_misuse(given, level, default_model)
  local wrong = misuse(given, row_of(given, default_model))
  if wrong then error(wrong, (level or 1) + 1) end
end

-- Checks each field and notes it in `checked`. Returns true, or nil and a sentence.
local function check_fields(checked, context, names)
  local given, row = context.given, context.row
  for _, field in ipairs(row.fields) do
    local value = given[field.name]
    if value ~= nil and field.type == "images" then
      if not is_list(value) then value = { value } end
      if #value == 0 then return nil, field.name .. " is an empty list: leave it out" end
      if #value > field.max then
        local few, message = unless_doubtful(true, ("has %d pictures: %s takes up to %d"):format(
          #value, row.name, field.max), "max", context, field)
        if not few then return nil, field.name .. " " .. message end
      end
      for i, one in ipairs(value) do
        local key = item_name(field.name, i)
        local source, message
        if type(one) == "string" or type(one) == "table" then
          source, message = params.image(one)
        else
          message = "must be a string or table, not " .. type(one)
        end
        if not source then return nil, (names[key] or key) .. " " .. message end
        checked[key] = source
      end
    elseif value ~= nil then
      local kept, message = checks[field.type](value, field, context)
      if kept == nil then return nil, (names[field.name] or field.name) .. " " .. message end
      checked[field.name] = kept
      if field.send == false then
        warn(context, ("%s is not sent: no published document of the service has it"):format(
          field.name))
      end
    end
  end
  for _, field in ipairs(ours) do
    local value = given[field.name]
    if value ~= nil and not row.by_name[field.name] then
      local kept, message = field.check(value, field, context)
      if kept == nil then return nil, field.name .. " " .. message end
      checked[field.name] = kept
    end
  end
  return true
end

-- Checks a size that was asked for. Returns true, or nil and a sentence.
local function check_size(checked, context)
  local sizes, width, height = context.row.sizes, checked.width, checked.height
  if not width and not height then return true end
  if not width or not height then
    return nil, ("%s is missing: give width and height, or neither"):format(
      width and "height" or "width")
  end
  local doubts = { name = "the size", doubts = sizes.doubts }
  if sizes.max_area and width * height > sizes.max_area then
    local kept, message = unless_doubtful(true,
      ("is %d x %d, which is %d pixels: at most %d are made"):format(width, height,
        width * height, sizes.max_area), "max_area", context, doubts)
    if not kept then return nil, "the size " .. message end
  end
  if sizes.multiple and (width % sizes.multiple ~= 0 or height % sizes.multiple ~= 0) then
    local kept, message = unless_doubtful(true,
      ("is %d x %d: both should be multiples of %d"):format(width, height, sizes.multiple),
      "multiple", context, doubts)
    if not kept then return nil, "the size " .. message end
  end
  return true
end

-- Checks what an edit of a region may have. Returns true, or nil and a sentence.
local function check_region(checked, row)
  local own_mask = not row.by_name.mask and checked.mask
  if not checked.region and not own_mask then
    if checked.keep_metadata then
      return nil, "keep_metadata is for edits with a region or a mask: a whole picture that the "
        .. "service made keeps what the service wrote into it"
    end
    return true
  end
  local what = checked.region and "region" or "mask"
  if row.sizes.rule ~= "17 sizes" then
    return nil, ("%s cannot be used with %s, the sizes of whose pictures cannot be planned: use "
      .. "flux-kontext-pro or flux-kontext-max"):format(what, row.name)
  elseif checked.region and own_mask then
    return nil, "mask and region are both given: the mask says what may change, so leave region out"
  elseif checked.aspect_ratio then
    return nil, "aspect_ratio cannot be used with a " .. what .. ": the photograph keeps its shape"
  elseif not checked.input_image then
    return nil, what .. " needs input_image: the photograph that it is a part of"
  elseif checked.input_image.url then
    return nil, "input_image is a URL, and a " .. what .. " needs the picture here: download it"
  end
  checked.is_region = true
  checked.result_format = checked.output_format or checked.save_as and format_of(checked.save_as)
    or nil
  checked.output_format = "png" -- of the answer: nothing is lost before it is put back
  return true
end

--- Checks what was given for an edit. Misuse (an unknown key, a wrong Lua type, a field that is
--- missing) raises; what a user or the environment may have spoiled is returned.
---@param given table
---@param level? integer as for `error`: 1 (default) blames the caller
---@param default_model? string the model of an edit that names none
---@return table? checked a new table: the model's full name, images as sources (those of a list as
--- "images[1]" …), the seed as digits, output_format filled; `warnings`: sentences, where a fact
--- about the model is not confirmed
---@return string? message a sentence
function params.check(given, level, default_model)
  local row = row_of(given, default_model)
  local wrong = misuse(given, row)
  if wrong then error(wrong, (level or 1) + 1) end
  if not row then return nil, "model " .. params.no_such_model(given.model or default_model) end
  local under_own_names, names = renamed(given, row)
  local context = { given = under_own_names, row = row, warnings = {} }
  local checked = {}
  if row.confirmed == false then
    warn(context, ("%s is known from one source only: its limits and its price may differ")
      :format(row.name))
  end
  local done, message = check_fields(checked, context, names)
  if done and row.by_name.width then done, message = check_size(checked, context) end
  if done then done, message = check_region(checked, row) end
  if not done then return nil, message end
  if checked.fit and row.mask then
    return nil, ("fit cannot be used with %s: the picture and its mask must have the same size")
      :format(row.name)
  end
  checked.model = row.name
  checked.output_format = checked.output_format or checked.save_as and format_of(checked.save_as)
    or row.default_format
  if #context.warnings > 0 then checked.warnings = context.warnings end
  return checked
end

-- Calls `fn` with the key of each picture of a checked edit.
local function each_picture(checked, row, fn)
  for _, field in ipairs(row.fields) do
    if field.type == "image" and checked[field.name] then
      fn(field.name)
    elseif field.type == "images" then
      local i = 1
      while checked[item_name(field.name, i)] do
        fn(item_name(field.name, i))
        i = i + 1
      end
    end
  end
end

--- Lists the pictures of an edit, in the order of the request.
---@param checked table from `params.check`
---@return { name: string, source: table, is_mask: boolean }[]
function params.pictures(checked)
  local row, found = row_of(checked) or models.find(models.default), {}
  each_picture(checked, row, function(key)
    found[#found + 1] = { name = key, source = checked[key],
      is_mask = row.mask ~= nil and row.mask.name == key }
  end)
  return found
end

--- Forgets the images, whose bytes are of no more use.
---@param checked table from `params.check`
function params.drop_images(checked)
  for _, picture in ipairs(params.pictures(checked)) do checked[picture.name] = nil end
end

-- The limits of a picture: what it is compared with, and the sentence when it is beyond.
local picture_limits = {
  { "min_side", function(known, limit) return math.min(known.width, known.height) < limit end,
    "is %d x %d pixels; %s takes pictures of at least %d x %d: enlarge it",
    function(known, row, limit) return known.width, known.height, row.name, limit, limit end },
  { "max_pixels", function(known, limit) return known.width * known.height > limit end,
    "has %d pixels (%d x %d); %s takes up to %d: scale it",
    function(known, row, limit)
      return known.width * known.height, known.width, known.height, row.name, limit
    end },
  -- The bytes of a picture that is to be scaled are not known yet.
  { "max_base64", function(known, limit) return math.ceil((known.bytes or 0) / 3) * 4 > limit end,
    "has %d bytes of base64; %s takes up to %d: scale it",
    function(known, row, limit) return math.ceil(known.bytes / 3) * 4, row.name, limit end },
  { "max_ratio", function(known, limit)
    return math.max(known.width / known.height, known.height / known.width) > limit
  end, "is %d x %d pixels; %s takes pictures of up to %d:1: cut it",
    function(known, row, limit) return known.width, known.height, row.name, limit end },
}

local function picture_name(picture)
  local path = picture.source.path
  return path and path:gsub("[%c]", "?") or picture.name
end

-- Returns what is wrong with a mask, or nil.
local function wrong_mask(row, checked, known)
  local mask, image = known[row.mask.name], known[row.images.first]
  if mask and image and (mask.width ~= image.width or mask.height ~= image.height) then
    return ("%s is %d x %d pixels and %s is %d x %d: they must have the same size"):format(
      row.mask.name, mask.width, mask.height, row.images.first, image.width, image.height)
  elseif not checked[row.mask.name] and image and image.format == "jpeg" then
    return ("%s is missing: a JPEG has no transparent part that could take its place"):format(
      row.mask.name)
  end
end

-- Returns what is wrong with the place of a picture on a canvas, or nil.
local function wrong_place(row, checked, known)
  local picture = known[row.images.first]
  if row.sizes.rule ~= "exact" or not picture or checked.auto_crop then return nil end
  local left, top = geometry.place(row, checked, picture)
  if left < 0 or top < 0 or left + picture.width > checked.width
    or top + picture.height > checked.height then
    return ("%s (%d x %d, at %d, %d) is not all inside of the canvas of %d x %d: enlarge the "
      .. "canvas, move it, or pass auto_crop = true"):format(row.images.first, picture.width,
      picture.height, left, top, checked.width, checked.height)
  end
end

--- Checks an edit's pictures against the model, once their headers were read.
---@param checked table from `params.check`; `warnings` may grow
---@param known table<string, table?> by name, {width, height, bytes, format} of each picture, as
--- it will be sent; of a URL nothing
---@return boolean? done
---@return string? message
function params.check_pictures(checked, known)
  local row = row_of(checked)
  local limits = row.images
  local context = { row = row, warnings = checked.warnings or {} }
  for _, picture in ipairs(params.pictures(checked)) do
    local of = known[picture.name]
    if not of and limits.url_confirmed == false and picture.source.url then
      warn(context, ("%s is a URL; it is not confirmed that %s takes one"):format(picture.name,
        row.name))
    end
    for _, limit in ipairs(of and picture_limits or {}) do
      local most = limits[limit[1]]
      if most and limit[2](of, most) then
        local message = limit[3]:format(limit[4](of, row, most))
        local kept = unless_doubtful(true, message, limit[1], context,
          { name = picture_name(picture), doubts = limits.doubts })
        if not kept then return nil, picture_name(picture) .. " " .. message end
      end
    end
  end
  local wrong = row.mask and wrong_mask(row, checked, known) or wrong_place(row, checked, known)
  if wrong then return nil, wrong end
  if #context.warnings > 0 then checked.warnings = context.warnings end
  return true
end

-- Returns the source of a URL, or nil and what is wrong with it (not showing it: it may be signed).
local function url_source(value)
  if not value:lower():find("^https://") then
    return nil, "is no https:// URL: the service is given no other; download it and give its bytes"
  elseif not value:find("^[\33-\126]+$") then
    return nil, "has characters that no URL has: percent-encode spaces and what is not ASCII"
  end
  return { url = value }
end

-- Returns the source that a plain string names.
local function string_source(value)
  if value == "" then return nil, "is empty: give a path, an image's bytes or an https:// URL" end
  local format = core.sniff(value)
  if format == "base64" or value:sub(1, 5):lower() == "data:" then
    return nil, "is base64 text: decode it and give the image's bytes"
  elseif format then
    return { bytes = value }
  elseif value:find("^%a+://") then
    return url_source(value)
  elseif #value > 4096 then -- longer than any path
    return nil, ("is a string of %d bytes, neither a picture's nor a path"):format(#value)
  end
  return { path = value }
end

local sources = {
  path = function(value) return { path = value } end,
  bytes = function(value) return { bytes = value } end,
  url = url_source,
}

local Result = {} -- what an edit of a batch takes from another one

--- Makes what stands for another item's result: its key alone while that item has not ended, then
--- the picture too.
---@param key string
---@param source? table {path=} or {bytes=}
---@return table
function params.result(key, source)
  return setmetatable({ result = key, path = source and source.path,
    bytes = source and source.bytes }, Result)
end

--- Returns the key of the item whose result a value stands for, or nil.
---@param value any
---@return string?
function params.result_key(value)
  return getmetatable(value) == Result and value.result or nil
end

--- Returns where an input image comes from.
---@param value string|table a path, an image's bytes, an https:// URL; an image of an earlier edit;
--- or exactly one of {path=}, {bytes=}, {url=}, for text that comes from strangers
---@return table? source {path=}, {bytes=} or {url=}
---@return string? message what is wrong with it, to stand after the parameter's name
function params.image(value)
  if type(value) == "string" then return string_source(value) end
  if params.result_key(value) then return value end
  if type(value.format) == "string" then -- an image; one that was saved is read where it lies
    local bytes = rawget(value, "bytes")
    if type(bytes) == "string" then return { bytes = bytes } end
    if type(value.path) == "string" then return { path = value.path } end
  end
  local key, content = next(value)
  if sources[key] and next(value, key) == nil and type(content) == "string" then
    return sources[key](content)
  elseif key == "result" and next(value, key) == nil then
    return nil, ("is the result of %s: only an edit of a batch takes another one's"):format(
      shown(content))
  end
  return nil, "is a table, but neither an image nor exactly one of {path=}, {bytes=}, {url=}"
end

--- Makes the JSON of a submit. Strings alternate with the images' sources, which the engine reads
--- and writes as base64 while it sends: a picture is never in memory as JSON.
---@param checked table from `params.check`
---@return (string|table)[] pieces
function params.body(checked)
  local pieces, written, before = {}, "", '{"'

  local function image(source)
    if source.url then
      written = written .. json.string(source.url)
    else
      pieces[#pieces + 1] = written .. '"'
      pieces[#pieces + 1] = source
      written = '"'
    end
  end

  local function images(field)
    written = written .. "["
    local i, source = 1, checked[item_name(field.name, 1)]
    while source do
      if i > 1 then written = written .. "," end
      image(source)
      i = i + 1
      source = checked[item_name(field.name, i)]
    end
    written = written .. "]"
  end

  for _, field in ipairs(row_of(checked).fields) do
    local value = checked[field.type == "images" and item_name(field.name, 1) or field.name]
    if value ~= nil and field.send ~= false then
      written = written .. before .. field.name .. '":'
      before = ',"'
      if field.type == "images" then
        images(field)
      elseif field.type == "image" then
        image(value)
      else
        written = written .. writers[field.type](value)
      end
    end
  end
  pieces[#pieces + 1] = written .. "}"
  return pieces
end

return params
