--- Checks the parameters of an edit: misuse by the program, and bad values of a user. This one
--- checker serves all models, by their rows in kontext.models.
local body = require "kontext.job.body"
local fields = require "kontext.job.fields"
local messages = require "kontext.job.messages"
local models = require "kontext.models"
local pictures = require "kontext.job.pictures"
local sources = require "kontext.job.sources"
local values = require "kontext.job.values"

local item_name, row_of = fields.item_name, fields.row_of
local unless_doubtful, warn = messages.unless_doubtful, messages.warn

--- The parts of this folder's tables and checks that others use, under one name.
local params = {
  fields = fields.all, fields_of = fields.of, known = fields.known,
  unknown = messages.unknown, no_such_model = messages.no_such_model,
  image = sources.image, result = sources.result, result_key = sources.result_key,
  pictures = pictures.list, check_pictures = pictures.check, drop_images = pictures.drop,
  body = body.of,
}

-- Renames `input_image` (and `input_image_2` … for a list) for models with another name for the
-- picture. Returns the parameters under the model's names, and the caller's name of each renamed
-- one.
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
  local message = messages.unknown(key, fields.known(row))
  -- "image" is the end of what was meant, though another model has a field of that name.
  local meant = message:match 'did you mean "(.-)"'
  if #names == 0 or meant and meant:find(key, 1, true) then return message end
  local few = table.concat(names, ", ", 1, math.min(#names, 3))
  return ("unknown key %s: %s has no such field; it is one of %s%s"):format(messages.shown(key),
    row.name, few, #names > 3 and " and others" or "")
end

-- Returns what is wrong where `input_image` or `input_image_3` was not taken for a picture of a
-- model that has another name for it, or nil.
local function misplaced(key, given, row)
  local first = row.images.first
  local n = key == "input_image" and 1 or tonumber(tostring(key):match "^input_image_(%d+)$")
  if not n or not first or row.by_name.input_image then return nil end
  local takes_list = row.images.style == "list"
  if given[first] ~= nil and (takes_list or n == 1) then
    return ("%s and %s are both given: give the pictures of %s as one of them"):format(first, key,
      row.name)
  elseif takes_list and n > 1 and n <= row.by_name[first].max then
    return ("%s is given and a picture before it is not: number them from input_image on, without "
      .. "a gap"):format(key)
  end
end

-- Returns what is misused in a list of pictures, or nil.
local function wrong_list(name, value)
  for i, one in ipairs(is_list(value) and value or {}) do
    if type(one) ~= "string" and type(one) ~= "table" then
      return ("%s must be a string or table, not %s"):format(item_name(name, i), type(one))
    end
  end
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
    local field = row and row.by_name[key] or fields.ours[key] or not row and params.fields[key]
    if type(key) ~= "string" or not field then
      return row and (misplaced(key, given, row) or unknown_field(key, row))
        or messages.unknown(key, params.fields)
    end
    local types = field.types or fields.lua_types[field.type]
    if not types[type(value)] then
      local list = {}
      for t in pairs(types) do list[#list + 1] = t end
      table.sort(list)
      return ("%s must be a %s, not %s"):format(names[key] or key, table.concat(list, " or "),
        type(value))
    end
    local wrong = field.type == "images" and not names[item_name(key, 1)] and wrong_list(key, value)
    if wrong then return wrong end
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
          source, message = sources.image(one)
        else
          message = "must be a string or table, not " .. type(one)
        end
        if not source then return nil, (names[key] or key) .. " " .. message end
        checked[key] = source
      end
    elseif value ~= nil then
      local kept, message = values[field.type](value, field, context)
      if kept == nil then return nil, (names[field.name] or field.name) .. " " .. message end
      checked[field.name] = kept
      if field.send == false then
        warn(context, ("%s is not sent: no published document of the service has it"):format(
          field.name))
      end
    end
  end
  for _, field in ipairs(fields.ours) do
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
  checked.result_format = checked.output_format
    or checked.save_as and values.format_of(checked.save_as) or nil
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
  if not row then return nil, "model " .. messages.no_such_model(given.model or default_model) end
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
  checked.output_format = checked.output_format
    or checked.save_as and values.format_of(checked.save_as) or row.default_format
  if #context.warnings > 0 then checked.warnings = context.warnings end
  return checked
end

return params
