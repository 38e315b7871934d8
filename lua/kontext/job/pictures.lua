--- The pictures of a checked edit: which there are, and what the model takes.
local fields = require "kontext.job.fields"
local geometry = require "kontext.geometry"
local messages = require "kontext.job.messages"
local models = require "kontext.models"

local pictures = {}

-- Calls `fn` with the key of each picture of a checked edit.
local function each_picture(checked, row, fn)
  for _, field in ipairs(row.fields) do
    if field.type == "image" and checked[field.name] then
      fn(field.name)
    elseif field.type == "images" then
      local i = 1
      while checked[fields.item_name(field.name, i)] do
        fn(fields.item_name(field.name, i))
        i = i + 1
      end
    end
  end
end

--- Lists the pictures of an edit, in the order of the request.
---@param checked table from `params.check`
---@return { name: string, source: table, is_mask: boolean }[]
function pictures.list(checked)
  local row, found = fields.row_of(checked) or models.find(models.default), {}
  each_picture(checked, row, function(key)
    found[#found + 1] = { name = key, source = checked[key],
      is_mask = row.mask ~= nil and row.mask.name == key }
  end)
  return found
end

--- Forgets the images, because their bytes are no longer needed.
---@param checked table from `params.check`
function pictures.drop(checked)
  for _, picture in ipairs(pictures.list(checked)) do checked[picture.name] = nil end
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
function pictures.check(checked, known)
  local row = fields.row_of(checked)
  local limits = row.images
  local context = { row = row, warnings = checked.warnings or {} }
  for _, picture in ipairs(pictures.list(checked)) do
    local of = known[picture.name]
    if not of and limits.url_confirmed == false and picture.source.url then
      messages.warn(context, ("%s is a URL; it is not confirmed that %s takes one"):format(
        picture.name, row.name))
    end
    for _, limit in ipairs(of and picture_limits or {}) do
      local most = limits[limit[1]]
      if most and limit[2](of, most) then
        local message = limit[3]:format(limit[4](of, row, most))
        local kept = messages.unless_doubtful(true, message, limit[1], context,
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

return pictures
