--- The picture check: rejects a bad picture before the upload, in a sentence that says what to do.
local core = require "kontext.core"
local errors = require "kontext.errors"
local models = require "kontext.models"
local params = require "kontext.job.params"

local check = {}

local takes = "the service takes JPEG, PNG or WebP"

-- Returns 20000000 as "20,000,000".
local function grouped(number)
  local text = ("%d"):format(number):reverse():gsub("(%d%d%d)", "%1,"):reverse()
  return (text:gsub("^,", ""))
end

-- The formats that `fit = true` can decode; a BMP only if the core can read its size.
local decoded = { jpeg = true, png = true, bmp = true }

-- Returns whether `fit = true` would help.
local function can_fit(known)
  return decoded[known.format] and known.width ~= nil
end

-- Returns the end of a message: how to make the picture usable.
local function advice(how, known)
  return how .. (can_fit(known) and ", or pass fit = true" or "")
end

-- The message for each outcome of the core's check, from the picture's name and facts, and the
-- model.
local sentences = {
  file = function(name, known) return ("cannot read %s: %s"):format(name, known.why) end,
  memory = function(name) return ("not enough memory to look at %s"):format(name) end,
  empty = function(name) return ("%s is empty: 0 bytes"):format(name) end,
  cut = function(name, known)
    return ("%s is cut: its %s header ends after %s bytes; get the whole file"):format(
      name, known.label or "picture's", grouped(known.bytes))
  end,
  unknown = function(name) return ("%s is not a picture; %s"):format(name, takes) end,
  foreign = function(name, known)
    local how = known.format == "base64" and "decode it first" or "convert it"
    return ("%s is %s; %s: %s"):format(name, known.label, takes, advice(how, known))
  end,
  no_size = function(name, known)
    return ("%s says it is %d x %d pixels: it is damaged"):format(
      name, known.width or 0, known.height or 0)
  end,
  huge = function(name, known, row)
    return ("%s says it is %d x %d pixels; the service takes up to %s pixels"):format(
      name, known.width, known.height, grouped(row.images.max_pixels or 2 ^ 28))
  end,
  damaged = function(name, known) return ("%s is damaged: %s"):format(name, known.why) end,
  odd = function(name, known)
    return ("%s cannot be used: %s; save it again as an ordinary JPEG or PNG"):format(
      name, known.why)
  end,
}

-- Returns which limit of the model a picture exceeds, or nil. A limit that is not confirmed rejects
-- nothing here: params.check_pictures warns about it.
local function over_limits(name, known, row)
  local limits, pixels = row.images, known.width * known.height
  if not models.is_confirmed(row) then return nil end
  local doubts = limits.doubts or {}
  if limits.max_pixels and pixels > limits.max_pixels and not doubts.max_pixels then
    return ("%s has %s pixels (%d x %d); the service takes up to %s: %s"):format(name,
      grouped(pixels), known.width, known.height, grouped(limits.max_pixels),
      advice("scale it", known))
  elseif limits.max_bytes and known.bytes > limits.max_bytes and not doubts.max_bytes then
    return ("%s has %s bytes; the service takes up to %s: %s"):format(name, grouped(known.bytes),
      grouped(limits.max_bytes), advice("scale it", known))
  end
end

--- Returns whether a picture exceeds a model's limits.
---@param known table info of check.source
---@param row table the model's
---@return boolean
function check.is_too_large(known, row)
  return over_limits("", known, row) ~= nil
end

--- Returns whether `fit = true` can decode a format.
---@param format string
---@return boolean
function check.is_decoded(format)
  return decoded[format] == true
end

--- Returns the width and height of the upright picture, by its Exif orientation.
---@param known table info of check.source or check.image
---@return integer width
---@return integer height
function check.upright(known)
  if known.orientation >= 5 then return known.height, known.width end
  return known.width, known.height
end

--- Returns the name of a source for messages.
---@param source table {path=}, {bytes=} or {url=}
---@return string
function check.name(source)
  return source.path and source.path:gsub("[%c]", "?") or "the image"
end

local found = {} -- reused for each picture, so that thousands of edits make no garbage

--- Checks a source, reading only its header.
---@param source table {path=} or {bytes=}
---@param fitting? boolean the picture will be made to fit: it may be larger than the service takes
---@param model? string whose limits count; default: Kontext's
---@return table? info as of core.check, until the next check
---@return kontext.Error? err
function check.source(source, fitting, model)
  local name, row = check.name(source), models.find(model) or models.find(models.default)
  local known, outcome, detail
  if source.path and source.path:find("%z") then
    known, outcome, detail = nil, "file", { why = "its name contains a NUL byte" }
  else
    known, outcome, detail = core.check(source, found)
  end
  if fitting and outcome == "foreign" and can_fit(detail) then
    detail.orientation = 1
    return detail
  end
  local message = known and not (fitting and can_fit(known))
    and over_limits(name, known, row)
  if known and not message then return known end
  return nil, errors.new {
    kind = outcome == "file" and "file" or "image",
    message = message or sentences[outcome](name, detail, row),
    code = detail and detail.code,
    stage = "check",
    charged = false,
  }
end

-- Reads an image that a program names. `loose` accepts what fit = true would make smaller. Returns
-- its facts, or nil, message, error. Misuse raises at the caller's caller.
local function look(image, loose)
  if type(image) ~= "string" and type(image) ~= "table" then
    error("image must be a string or a table, not " .. type(image), 3)
  end
  local source, message = params.image(image)
  if source and source.url then source, message = nil, "is a URL: only the service looks at it" end
  if not source then
    return errors.result(errors.new { kind = "invalid", message = "the image " .. message,
      stage = "check", charged = false })
  end
  local known, err = check.source(source, loose)
  if not known then return errors.result(err) end
  return known
end

--- Returns the facts about an image. It reads only the header, and sends nothing. Width and height
--- are as stored: orientations 5 to 8 exchange them in the upright picture.
---@param image string|table a path, an image's bytes, an image, {path=} or {bytes=}
---@return table? info {format, width, height, megapixels, bytes, orientation}
---@return string? message
---@return kontext.Error? err of kind "image", "file" or "invalid"
function check.image(image)
  local known, message, err = look(image)
  if not known then return nil, message, err end
  return {
    format = known.format, width = known.width, height = known.height, bytes = known.bytes,
    megapixels = known.width * known.height / 1e6, orientation = known.orientation,
  }
end

--- Returns the size of the upright image, even if it is too large to be sent.
---@param image string|table
---@return integer? width
---@return integer|string height or, after nil, a message
---@return kontext.Error? err
function check.size(image)
  local known, message, err = look(image, true)
  if not known then return nil, message, err end
  return check.upright(known)
end

return check
