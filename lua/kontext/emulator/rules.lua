-- What the service takes: the fields of a model's row, judged as FastAPI and pydantic judge them
-- (numbers in strings pass; unknown members are ignored, or refused by a strict model), each
-- refusal one entry of `detail`. What a row says without being sure refuses nothing.

local geometry = require "kontext.geometry"
local json = require "kontext.emulator.json"
local models = require "kontext.models"
local body = require "kontext.emulator.body"
local rehearsals = require "kontext.emulator.rehearsals"

local rules = {}

-- Each judge gets a value that is not null and the field's row, and returns the value to use, or
-- nil, pydantic's type of error and its message.
local judge = {}

local function characters(text) return select(2, text:gsub("[^\128-\191]", "")) end

function judge.string(value)
  if type(value) == "string" then return value end
  return nil, "string_type", "Input should be a valid string"
end

judge.secret = judge.string

function judge.text(value, field)
  local kind, message = select(2, judge.string(value))
  if kind then return nil, kind, message end
  if field.max_length and characters(value) > field.max_length then
    return nil, "string_too_long",
      ("String should have at most %d characters"):format(field.max_length)
  end
  if field.name ~= "prompt" then
    if value ~= "" then return value end
    return nil, "string_too_short", "String should have at least 1 character"
  end
  local unknown = select(2, rehearsals.parse(value))
  if not unknown then return value end
  return nil, "value_error", ("Value error, the emulator knows no rehearsal %q"):format(unknown)
end

function judge.boolean(value)
  if type(value) == "boolean" then return value end
  local words = {
    ["1"] = true, ["true"] = true, t = true, y = true, yes = true, on = true,
    ["0"] = false, ["false"] = false, f = false, n = false, no = false, off = false,
  }
  local known = words[(tostring(value):lower():gsub("%.0$", ""))]
  if known ~= nil then return known end
  if type(value) == "table" then
    return nil, "bool_type", "Input should be a valid boolean"
  end
  return nil, "bool_parsing", "Input should be a valid boolean, unable to interpret input"
end

-- Refuses a number that is outside of the field's range.
local function in_range(number, field)
  if field.min and number < field.min then
    return nil, "greater_than_equal",
      ("Input should be greater than or equal to %s"):format(json.encode(field.min))
  end
  if field.max and number > field.max and not (field.doubts and field.doubts.max) then
    return nil, "less_than_equal",
      ("Input should be less than or equal to %s"):format(json.encode(field.max))
  end
  return number
end

function judge.integer(value, field)
  local text, number = value, value
  if type(value) == "boolean" then number = value and 1 or 0 end
  if type(value) == "string" then
    number = tonumber((text:match "^%s*([+-]?%d+)%s*$" or text:match "^%s*([+-]?%d+)%.0+%s*$"))
    if not number then
      return nil, "int_parsing",
        "Input should be a valid integer, unable to parse string as an integer"
    end
  elseif type(number) ~= "number" then
    return nil, "int_type", "Input should be a valid integer"
  elseif number % 1 ~= 0 then
    return nil, "int_from_float",
      "Input should be a valid integer, got a number with a fractional part"
  end
  return in_range(number, field)
end

judge.seed = judge.integer

function judge.number(value, field)
  local number = tonumber(value)
  if not number then return nil, "float_type", "Input should be a valid number" end
  return in_range(number, field)
end

function judge.choice(value, field)
  for _, choice in ipairs(field.choices) do
    if value == choice then return value end
  end
  return nil, "enum", ("Input should be '%s'"):format(table.concat(field.choices, "' or '"))
end

function judge.ratio(value, field)
  local _, kind, message = judge.string(value)
  if kind then return nil, kind, message end
  local w, h = value:match "^%s*(%d+%.?%d*)%s*:%s*(%d+%.?%d*)%s*$"
  local ratio = w and w .. ":" .. h
  if not ratio then
    return nil, "value_error", "Value error, aspect_ratio should be 'width:height', such as '16:9'"
  end
  local wanted = geometry.parse_ratio(ratio)
  if wanted and wanted >= field.min and wanted <= field.max then return ratio end
  return nil, "value_error", "Value error, aspect_ratio should be between 9:21 and 21:9"
end

function judge.url(value)
  local _, kind = judge.string(value)
  if kind then return nil, "url_type", "URL input should be a string or URL" end
  if #value > 2083 then
    return nil, "url_too_long", "URL should have at most 2083 characters"
  end
  local scheme, rest = value:match "^(%a[%w+.-]*):/*(.*)$"
  if not scheme then
    return nil, "url_parsing", value == "" and "Input should be a valid URL, input is empty"
      or "Input should be a valid URL, relative URL without a base"
  end
  if not ({ http = true, https = true })[scheme:lower()] then
    return nil, "url_scheme", "URL scheme should be 'http' or 'https'"
  end
  if not rest:match "^[^/?#%s]" then
    return nil, "url_parsing", "Input should be a valid URL, empty host"
  end
  return value
end

function judge.image(value)
  local _, kind, message = judge.string(value)
  if kind then return nil, kind, message end
  if value:match "^https?://" then return { url = value } end
  if value:match "^data:" then
    return nil, "value_error",
      "Value error, expected base64 without a 'data:' prefix, or a URL"
  end
  local bytes = value ~= "" and body.unbase64(value)
  if not bytes then return nil, "value_error", "Value error, not valid base64" end
  return { bytes = bytes }
end

function judge.images(value, field)
  if type(value) == "string" then value = { value } end
  if type(value) ~= "table" or #value == 0 then
    return nil, "list_type", "Input should be a valid list of 1 item or more"
  elseif #value > field.max then
    return nil, "too_long", ("List should have at most %d items"):format(field.max)
  end
  local images = {}
  for i, one in ipairs(value) do
    local image, kind, message = judge.image(one)
    if not image then return nil, kind, message end
    images[i] = image
  end
  return images
end

--- One entry of `detail`.
---@param place any[] where: "body" or "query", then the name
---@param kind string
---@param message string
function rules.refusal(place, kind, message)
  return json.object {
    { "loc", json.array(place) }, { "msg", message }, { "type", kind },
  }
end

-- The field as it is for these parameters: with a picture to edit the guide's range is shorter.
local function field_for(field, sent, row)
  local picture = sent[row.images.first]
  if not field.max_with_image or not picture or picture == json.null then return field end
  return setmetatable({ max = field.max_with_image }, { __index = field })
end

-- A size is both or neither, and no larger than is known to be made.
local function judge_size(params, row, refuse)
  local sizes = row.sizes
  if not row.by_name.width or not (params.width and params.height) then return end
  if sizes.max_area and not sizes.doubts.max_area
    and params.width * params.height > sizes.max_area then
    refuse("width", "value_error", ("Value error, width times height should be at most %d"):format(
      sizes.max_area))
  end
end

--- Judges the parameters of a submit. Returns those that were given, in the form the work needs,
--- and a list of refusals, which is empty when all is well.
---@param sent table as it came
---@param row table the model's
---@return table params, table refusals
function rules.judge(sent, row)
  local params, refusals = {}, json.array {}
  local function refuse(name, kind, message)
    refusals[#refusals + 1] = rules.refusal({ "body", name }, kind, message)
  end
  for _, field in ipairs(row.fields) do
    local name, value = field.name, sent[field.name]
    if value == nil or value == json.null and not field.required and field.nullable ~= false then
      if field.required then refuse(name, "missing", "Field required") end
    else
      local good, kind, message = judge[field.type](value, field_for(field, sent, row))
      if kind then refuse(name, kind, message) end
      params[name] = good
    end
  end
  if row.strict then
    for name in pairs(sent) do
      if not row.by_name[name] then
        refuse(name, "extra_forbidden", "Extra inputs are not permitted")
      end
    end
  end
  judge_size(params, row, refuse)
  return params, refusals
end

-- What the pictures of a model must be like: whether it is beyond the limit, and the message.
local picture_rules = {
  { "min_side", function(image, limit) return math.min(image.width, image.height) < limit end,
    "image should be at least %d pixels a side" },
  { "max_pixels", function(image, limit) return image.width * image.height > limit end,
    "image should have at most %d pixels" },
  { "max_bytes", function(image, limit) return #image.bytes > limit end,
    "image should have at most %d bytes" },
  { "max_base64", function(image, limit) return math.ceil(#image.bytes / 3) * 4 > limit end,
    "image should have at most %d bytes of base64" },
  { "max_ratio", function(image, limit)
    return math.max(image.width / image.height, image.height / image.width) > limit
  end, "image should be at most %d times as long as wide" },
}

--- Judges a picture whose size is known by now. Returns what is wrong with it, or nil.
---@param image table bytes, width, height
---@param row table
---@return string? message
function rules.judge_picture(image, row)
  for _, rule in ipairs(picture_rules) do
    local limit = row.images[rule[1]]
    if limit and models.is_confirmed(row) and rule[2](image, limit) then
      return rule[3]:format(limit)
    end
  end
end

--- Judges what a mask and a canvas have to do with the picture. Returns the field's name and what
--- is wrong, or nil.
---@param params table judged
---@param row table
---@return string? name, string? message
function rules.judge_together(params, row)
  local picture = params[row.images.first]
  local mask = row.mask and params[row.mask.name]
  if not picture or not picture.width then return nil end
  if mask and mask.width and (mask.width ~= picture.width or mask.height ~= picture.height) then
    return row.mask.name, "mask should have the same dimensions as the image"
  elseif row.mask and not mask and picture.format == "jpeg" then
    return row.mask.name, "mask is required for an image without an alpha channel"
  elseif row.sizes.rule == "exact" and not params.auto_crop then
    local left, top = geometry.place(row, params, picture)
    if left < 0 or top < 0 or left + picture.width > params.width
      or top + picture.height > params.height then
      return row.images.first, "image should lie inside of the canvas, or auto_crop be true"
    end
  end
end

return rules
