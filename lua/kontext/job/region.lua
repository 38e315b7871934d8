--- The geometry of edits of a region: which window of the photograph is sent, so that the answer
--- can be put back pixel for pixel, and the core's tasks before the upload and after the download.
--- Coordinates are those of the upright picture.
local api = require "kontext.api"
local check = require "kontext.job.check"
local core = require "kontext.core"
local errors = require "kontext.errors"
local params = require "kontext.job.params"

local region = {}

local margin = 64 -- pixels of context around a region, where the picture allows
local quality = 95 -- of a JPEG that is sent
local memory = 384 * 1024 * 1024 -- bytes that cutting and composing may take
local most_stretch = 1.02 -- by which one side may be scaled more than the other

---@class kontext.RegionPlan
---@field window table {x, y, width, height}: what is sent, in pixels of the upright picture
---@field region table {x, y, width, height}: what may change
---@field scale number pixels of the answer for one of the picture's; 1: nothing is resampled
---@field upload table {width, height, bytes}: of the picture that is sent; bytes are an estimate
---@field output table {width, height}: of the answer
---@field memory integer bytes that cutting and composing take

local names = { "x", "y", "width", "height" }
local option_types = { margin = "number", sizes = "table" }

local function is_side(value)
  return type(value) == "number" and value >= 1 and value < 65536 and value % 1 == 0
end

-- Returns one number of a region in pixels; "25%" is a part of `whole`.
local function pixels(value, whole)
  if type(value) == "string" then
    local percent = #value < 16 and tonumber(value:match "^%s*(%d+%.?%d*)%s*%%%s*$")
    if percent then return percent / 100 * whole end
    value = #value < 16 and tonumber(value:match "^%s*(%d+%.?%d*)%s*$")
  end
  if type(value) == "number" and value >= 0 and value < math.huge then return value end
end

-- Returns the four values that were given, as a table by name or by number, or as "X,Y,W,H"; nil
-- where a text has other than four.
local function values(given)
  if type(given) == "string" then
    local parts = {}
    for part in given:sub(1, 100):gmatch "[^,]+" do parts[#parts + 1] = part end
    if #parts ~= 4 then return nil end
    given = parts
  end
  local found = {}
  for i, name in ipairs(names) do found[i] = given[name] or given[i] end
  return found
end

--- Reads a region as it is given: {x=, y=, width=, height=}, four numbers, or "X,Y,W,H"; each in
--- pixels or per cent of the picture's width or height.
---@param given table|string
---@param width integer of the upright picture
---@param height integer
---@return table? region {x, y, width, height} in whole pixels, inside of the picture
---@return string? message
function region.read(given, width, height)
  if type(given) ~= "table" and type(given) ~= "string" then
    return nil, "region must be a table or a string, not " .. type(given)
  end
  local read, found = {}, values(given)
  if not found then
    return nil, 'region must be four numbers, "X,Y,W,H", each in pixels or per cent, such as '
      .. '"25%,25%,50%,50%"'
  end
  for i, name in ipairs(names) do
    read[i] = pixels(found[i], i % 2 == 1 and width or height)
    if not read[i] then
      return nil, ('region.%s must be pixels or per cent, such as 900 or "25%%"'):format(name)
    end
  end
  local left, top = math.floor(read[1]), math.floor(read[2])
  local right = math.min(math.ceil(read[1] + read[3]), width)
  local bottom = math.min(math.ceil(read[2] + read[4]), height)
  if read[3] <= 0 or read[4] <= 0 then
    return nil, "the region is empty: give it a width and a height"
  end
  if left >= right or top >= bottom then
    return nil, ("the region begins at %.0f, %.0f, outside of the picture of %d x %d pixels")
      :format(read[1], read[2], width, height)
  end
  return { x = left, y = top, width = right - left, height = bottom - top }
end

-- Returns where a window of `size` begins on an axis so that the region is in its middle.
local function place(start, length, size, whole)
  local at = math.floor(start + length / 2 - size / 2 + 0.5)
  return math.max(0, math.min(at, whole - size))
end

-- Returns a candidate: the window for one output size with this much context around the region.
local function try(rect, width, height, size, context)
  local least = math.max(
    math.min(rect.width + 2 * context, width) / size[1],
    math.min(rect.height + 2 * context, height) / size[2])
  local most = math.min(width / size[1], height / size[2]) -- of what the picture has room for
  local factor = math.min(math.max(1, least), math.max(most, least))
  local w = math.min(width, math.max(rect.width, math.floor(size[1] * factor + 0.5)))
  local h = math.min(height, math.max(rect.height, math.floor(size[2] * factor + 0.5)))
  local across, down = size[1] / w, size[2] / h
  return {
    width = w, height = h, size = size, scale = math.min(across, down),
    stretch = math.max(across / down, down / across),
    -- Context on the sides where the picture has some.
    context = math.min(width > w and w - rect.width or math.huge,
      height > h and h - rect.height or math.huge),
  }
end

-- Returns whether a candidate is better than another: not stretched, then pixel for pixel or the
-- finest, then with the most context.
local function is_better(a, b)
  if not b then return true end
  local a_even, b_even = a.stretch <= most_stretch, b.stretch <= most_stretch
  if a_even ~= b_even then return a_even end
  if not a_even and math.abs(a.stretch - b.stretch) > 1e-9 then return a.stretch < b.stretch end
  local a_scale, b_scale = math.min(a.scale, 1), math.min(b.scale, 1)
  if math.abs(a_scale - b_scale) > 1e-9 then return a_scale > b_scale end
  if a.context ~= b.context then return a.context > b.context end
  return a.stretch < b.stretch
end

local function best_with(rect, width, height, sizes, context)
  local best
  for _, size in ipairs(sizes) do
    local candidate = try(rect, width, height, size, context)
    if is_better(candidate, best) then best = candidate end
  end
  return best
end

--- Plans the window of a region: of the model's output sizes the one in which it is sent pixel for
--- pixel with the most context, else the finest scale. Pixel for pixel is worth more than a wide
--- margin, unless the margin is asked for.
---@param rect table of region.read
---@param width integer of the upright picture
---@param height integer
---@param options? table {sizes = list of {width, height}, margin = pixels}
---@return table plan {window, region, scale, stretch, upload, output}
function region.plan(rect, width, height, options)
  options = options or {}
  local sizes = options.sizes or api.sizes
  local contexts = options.margin and { options.margin } or { margin, margin / 2, margin / 4, 0 }
  local first, best
  for _, context in ipairs(contexts) do
    best = best_with(rect, width, height, sizes, context)
    first = first or best
    if best.scale >= 1 and best.stretch <= most_stretch then break end
  end
  if best.scale < 1 or best.stretch > most_stretch then best = first end
  return {
    window = { x = place(rect.x, rect.width, best.width, width),
      y = place(rect.y, rect.height, best.height, height),
      width = best.width, height = best.height },
    region = rect,
    scale = best.scale,
    stretch = best.stretch,
    upload = { width = math.min(best.width, best.size[1]),
      height = math.min(best.height, best.size[2]) },
    output = { width = best.size[1], height = best.size[2] },
  }
end

local sent_as = { jpeg = quality, png = 0 }

-- Estimates the bytes of the upload from how many the picture has for each pixel.
local function estimate(known, plan)
  local density = known.bytes / (known.width * known.height)
  if known.format == "jpeg" then density = math.min(math.max(density * 1.6, 0.2), 1.2) end
  return math.ceil(plan.upload.width * plan.upload.height * density)
end

local function failure(kind, message)
  return errors.new { kind = kind, message = message, stage = "check", charged = false }
end

-- Returns the sentence about a mask that is not as large as its picture.
local function other_size(source, mask, width, height)
  return ("the mask %s has %d x %d pixels, the picture %d x %d: make it as large"):format(
    check.name(source), mask.width, mask.height, width, height)
end

--- Reads a mask at once: a PNG as large as the upright picture, of which white may change.
---@param source table {path=} or {bytes=}
---@param width integer of the upright picture
---@param height integer
---@return table? box {x, y, width, height} around what is not black
---@return string? message
function region.mask(source, width, height)
  local mask, message = core.region_mask(source)
  if not mask then
    return nil, ("the mask %s cannot be used: %s"):format(check.name(source), message)
  end
  if mask.width ~= width or mask.height ~= height then
    return nil, other_size(source, mask, width, height)
  end
  return mask.box
end

-- Returns why no region of a picture can be edited, or nil; and the memory that a window takes.
local function look(source, width, height)
  local refusal, need = core.region_look(source, width, height)
  return refusal and failure("image", ("a region of %s cannot be edited: %s"):format(
    check.name(source), refusal)), need
end

--- Returns why no region of a picture can be edited, whichever it is, or nil.
---@param source table {path=} or {bytes=}
---@return kontext.Error?
function region.refusal(source)
  return (look(source, 0, 0))
end

--- Returns what is wrong with a mask by its header, or notes the state of its file: its pixels are
--- the worker's to read.
---@param source table {path=}
---@param known table of check.source, of the photograph
---@return kontext.Error?
function region.wrong_mask(source, known)
  local width, height = check.upright(known)
  local mask, outcome, detail = core.check(source, {})
  if outcome == "file" then
    return failure("file", ("the mask %s cannot be used: %s"):format(check.name(source),
      detail.why))
  elseif not mask and detail and detail.format == "png" then
    return failure("invalid", ("the mask %s cannot be used: %s"):format(check.name(source),
      detail.why or outcome == "cut" and "it is cut: get the whole file" or "it is damaged"))
  elseif not mask or mask.format ~= "png" then
    return failure("invalid", ("the mask %s is no PNG: a mask is one, as large as the picture, of "
      .. "which white may change"):format(check.name(source)))
  elseif mask.width ~= width or mask.height ~= height then
    return failure("invalid", other_size(source, mask, width, height))
  end
  source.stamp = mask.stamp
end

--- Plans an edit of a region of a checked picture.
---@param source table {path=} or {bytes=}
---@param known table of check.source
---@param given table {region=} as region.read takes it, or {box=} of a mask; {sizes=, margin=}
---@return kontext.RegionPlan? plan
---@return kontext.Error? err
function region.prepare(source, known, given)
  local name = check.name(source)
  local width, height = check.upright(known)
  local rect, message = given.box, nil
  if not rect then rect, message = region.read(given.region, width, height) end
  if not rect then return nil, failure("invalid", message) end
  local plan = region.plan(rect, width, height, given)
  local refusal, need = look(source, plan.window.width, plan.window.height)
  if refusal then
    return nil, refusal
  elseif need > memory then
    return nil, failure("image", ("a region of %s takes %.0f MiB of memory to edit, and %.0f are "
      .. "allowed: make the picture smaller first"):format(name, need / 2 ^ 20, memory / 2 ^ 20))
  end
  plan.memory = need
  plan.upload.bytes = estimate(known, plan)
  return plan
end

-- Copies what names a source.
local function of(source, fields)
  fields.path, fields.bytes, fields.stamp = source.path, source.bytes, source.stamp
  fields.memory = memory
  return fields
end

--- Returns what the engine cuts: the argument of engine:region_cut, whose event's body is sent.
---@param plan kontext.RegionPlan
---@param source table {path=, stamp=} or {bytes=}
---@param format "jpeg"|"png" of the picture
---@return table
function region.cut(plan, source, format)
  return of(source, { window = plan.window, width = plan.upload.width,
    height = plan.upload.height, quality = sent_as[format] or 0 })
end

--- Returns how the engine puts the answer back: the argument of engine:region_compose.
---@param plan kontext.RegionPlan
---@param source table {path=, stamp=} or {bytes=}
---@param given table {answer= or answer_path=, mask=, to=, no_replace=, keep_metadata=, strip=}
---@return table
function region.compose(plan, source, given)
  local metadata = given.strip and "strip" or given.keep_metadata == false and "none" or "keep"
  return of(source, { window = plan.window, region = not given.mask and plan.region or nil,
    answer = given.answer, answer_path = given.answer_path, mask_path = given.mask,
    to = given.to, no_replace = given.no_replace, metadata = metadata })
end

-- Returns what is wrong with the options of region.region, or nil.
local function misuse(options)
  if options == nil then return nil end
  if type(options) ~= "table" then return "options must be a table, not " .. type(options) end
  for name in pairs(options) do
    if name ~= "margin" and name ~= "sizes" then return params.unknown(name, option_types) end
  end
  local context, sizes = options.margin, options.sizes
  local is_width = type(context) == "number" and context >= 0 and context < math.huge
  if context ~= nil and not is_width then
    return "margin must be a number of pixels, 0 or more"
  elseif sizes ~= nil and not (type(sizes) == "table" and sizes[1]) then
    return "sizes must be a list of sizes, {width, height} each"
  end
  for _, size in ipairs(sizes or {}) do
    if type(size) ~= "table" or not is_side(size[1]) or not is_side(size[2]) then
      return "sizes must be a list of sizes, {width, height} each"
    end
  end
end

--- Returns beforehand what an edit of a region sends and gets; nothing is sent.
---@param image string|table a path, an image's bytes, an image, {path=} or {bytes=}
---@param rect table|string {x=, y=, width=, height=} of the upright picture, in pixels or per cent;
--- or {mask = path}
---@param options? table {margin = pixels, sizes = list of {width, height}}
---@return kontext.RegionPlan? plan
---@return string? message
---@return kontext.Error? err of kind "image", "file" or "invalid"
function region.region(image, rect, options)
  if type(image) ~= "string" and type(image) ~= "table" then
    error("image must be a string or a table, not " .. type(image), 2)
  elseif type(rect) ~= "string" and type(rect) ~= "table" then
    error("region must be a string or a table, not " .. type(rect), 2)
  end
  local wrong = misuse(options)
  if wrong then error(wrong, 2) end
  local source, message = params.image(image)
  if source and source.url then source, message = nil, "is a URL: only the service looks at it" end
  if not source then return errors.result(failure("invalid", "the image " .. message)) end
  local known, err = check.source(source, true)
  if not known then return errors.result(err) end
  local given = { region = rect, margin = options and options.margin,
    sizes = options and options.sizes }
  if type(rect) == "table" and rect.mask then
    given.box, message = region.mask({ path = rect.mask }, check.upright(known))
    if not given.box then return errors.result(failure("invalid", message)) end
  end
  local plan
  plan, err = region.prepare(source, known, given)
  if not plan then return errors.result(err) end
  return plan
end

return region
