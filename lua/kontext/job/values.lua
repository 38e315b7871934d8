--- The checks of single values. Each gets a value of the right Lua type, its field, and the context
--- {given, row, warnings}. It returns the value to keep; or nil and what is wrong with it, to
--- follow the parameter's name in a message.
local api = require "kontext.api"
local geometry = require "kontext.geometry"
local json = require "kontext.json"
local messages = require "kontext.job.messages"
local sources = require "kontext.job.sources"

local digits, shown, unless_doubtful = messages.digits, messages.shown, messages.unless_doubtful

local values = {} -- by the field's type, and by the name of what is ours

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

function values.text(value, field, context)
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

function values.image(value)
  return sources.image(value)
end

function values.ratio(value, field)
  local ratio = geometry.parse_ratio(value)
  if ratio and ratio >= (field.min or 0) and ratio <= (field.max or math.huge) then return value end
  return nil, ('is %s: write it as "W:H", such as "16:9", from 3:7 to 7:3'):format(shown(value))
end

function values.seed(value)
  local whole = json.integer(value)
  if whole then return whole end
  return nil, ("is %s: it must be a whole number"):format(shown(value))
end

function values.boolean(value)
  return value
end

function values.choice(value, field, context)
  for _, choice in ipairs(field.choices) do
    if value == choice then return value end
  end
  return unless_doubtful(value, ("is %s: it must be %s"):format(shown(value),
    messages.any_of(field.choices)), "choices", context, field)
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

values.integer, values.number = number, number

function values.url(value, field)
  if field.max_length and #value > field.max_length then
    return nil, ("has %d characters: at most %d are taken"):format(#value, field.max_length)
  end
  -- The message does not show the URL: it may hold a password or a signature.
  if not value:lower():find("^https?://[\33-\126]+$") then
    return nil, "must be an http:// or https:// URL, in ASCII and without spaces"
  end
  return value
end

-- The value is a secret: no message shows it.
function values.secret(value)
  if value == "" then return nil, "is empty: an empty secret proves nothing" end
  if value:find("[%z\1-\31\127]") then
    return nil, "has control characters: it could not come back in a header"
  end
  return utf8_text(value)
end

-- Our own parameters, which are not sent.

function values.as_it_is(value)
  return value
end

function values.seconds(value)
  if value > 0 and value < math.huge then return value end
  return nil, ("is %s: it must be a number of seconds above 0"):format(tostring(value))
end

local labels = { jpeg = "JPEG", png = "PNG", webp = "WebP" }
local endings = { jpeg = ".jpg", png = ".png", webp = ".webp" }

--- Returns the format that a file's name asks for.
---@param name string
---@return string|false|nil format false: no model makes it; nil: no certain one
function values.format_of(name)
  local extension = name:match("%.(%w+)$")
  if not extension then return nil end
  extension = extension:lower()
  if extension == "webp" then return "webp" end
  return api.extensions[extension]
end

function values.save_as(value, _, context)
  if value == "" or value:find("%z") then return nil, "is not the name of a file" end
  local format, row = values.format_of(value), context.row
  if format == nil then return value end
  local made, ends = {}, {}
  for i, one in ipairs(row.formats) do
    if one == format then return value end
    made[i], ends[i] = labels[one], endings[one]
  end
  return nil, ("is %s, and the service makes %s: end the name in %s"):format(shown(value),
    table.concat(made, " or "), table.concat(ends, " or "))
end

function values.name(value)
  if value == "" then return nil, "is empty" end
  return utf8_text(value)
end

-- Returns a region as one text, which is part of the edit's identity; it becomes pixels once the
-- picture's size is known.
function values.region(value)
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

function values.mask_file(value)
  local source, message = sources.image(value)
  if source and not source.path then return nil, "must be the path of a PNG" end
  return source, message
end

return values
