--- How large an answer will be. No file and no network: only numbers come in.
local geometry = {}

--- Kontext's 17 sizes: { width, height }, from the tallest to the widest.
geometry.sizes = {
  { 672, 1568 }, { 688, 1504 }, { 720, 1456 }, { 752, 1392 }, { 800, 1328 }, { 832, 1248 },
  { 880, 1184 }, { 944, 1104 }, { 1024, 1024 }, { 1104, 944 }, { 1184, 880 }, { 1248, 832 },
  { 1328, 800 }, { 1392, 752 }, { 1456, 720 }, { 1504, 688 }, { 1568, 672 },
}

--- Returns Kontext's size for an input of `width` by `height`, or any pair in that ratio.
---@param width number
---@param height number
---@return integer width
---@return integer height
function geometry.nearest(width, height)
  local wanted, best, nearest = width / height, nil, math.huge
  for _, size in ipairs(geometry.sizes) do
    local distance = math.abs(size[1] / size[2] - wanted)
    if distance < nearest then best, nearest = size, distance end
  end
  return best[1], best[2]
end

-- Reads a decimal number; before Lua 5.3 tonumber takes only the locale's own point.
local function decimal(text)
  local whole_part, fraction = (text or ""):match "^(%d+)%.?(%d*)$"
  return whole_part and tonumber(whole_part .. fraction) / 10 ^ #fraction
end

-- Returns width and height of a text such as "16:9", or nil.
local function sides(text)
  if #text > 32 then return nil end
  local width, height = text:match("^(%d+%.?%d*):(%d+%.?%d*)$")
  return decimal(width), decimal(height)
end

--- Reads an aspect ratio such as "16:9" or "2.39:1".
---@param text string
---@return number? ratio width / height, or nil where it is no ratio from 3:7 to 7:3
function geometry.parse_ratio(text)
  local width, height = sides(text)
  -- Multiplied, not divided, so that 3:7 and 9:21 are within the limits exactly.
  if not width or not height or height == 0 or width * 7 < height * 3 or width * 3 > height * 7 then
    return nil
  end
  return width / height
end

local function whole(number) return math.floor(number + 0.5) end

-- Returns an integer if this Lua has integers, so that no size is shown as 1024.0.
local integer = math.tointeger or function(number) return number end -- luacheck: ignore 143

-- Returns the sides rounded to whole multiples, at least one.
local function in_multiples(width, height, multiple, round)
  return math.max(round(width / multiple), 1) * multiple,
    math.max(round(height / multiple), 1) * multiple
end

-- Returns the sides, scaled down to an area at most.
local function within(width, height, area)
  if width * height <= area then return width, height end
  local scale = math.sqrt(area / (width * height))
  return width * scale, height * scale
end

-- Returns the ratio of the list that is nearest to a picture's.
local function nearest_ratio(list, width, height)
  local best, nearest = "1:1", math.huge
  for _, text in ipairs(list) do
    local w, h = sides(text)
    local distance = w and math.abs(math.log((w / h) / (width / height)))
    if distance and distance < nearest then best, nearest = text, distance end
  end
  return best
end

-- The rules. Each gets the row's `sizes`, the parameters and the picture that the answer follows
-- ({width, height}; nil: none; without a width: not known here), and returns width, height and
-- whether that is confirmed; or nothing when it cannot be known.
local rules = {}

rules["17 sizes"] = function(_, params, picture)
  if params.aspect_ratio then
    local ratio = geometry.parse_ratio(params.aspect_ratio)
    local width, height = geometry.nearest(ratio, 1)
    return width, height, true
  elseif not picture then
    return 1024, 1024, true
  elseif picture.width then
    local width, height = geometry.nearest(picture.width, picture.height)
    return width, height, true
  end
end

rules["width x height"] = function(sizes, params, picture)
  if params.width and params.height then
    local exact = params.width % sizes.multiple == 0 and params.height % sizes.multiple == 0
    return params.width, params.height, exact
  elseif not picture then
    return 1024, 1024, true
  elseif picture.width then
    local width, height = within(picture.width, picture.height, sizes.max_area)
    width, height = in_multiples(width, height, sizes.multiple, math.floor)
    return math.max(width, sizes.min_side), math.max(height, sizes.min_side),
      width == picture.width and height == picture.height
  end
end

rules["ratio and resolution"] = function(sizes, params, picture)
  if sizes.exact and params.width and params.height then
    return params.width, params.height, false
  end
  local ratio, resolution = params.aspect_ratio or "auto", params.resolution or "1k"
  local is_guess = ratio == "auto"
  if is_guess then
    if picture and not picture.width then return end
    ratio = picture and nearest_ratio(sizes.ratios, picture.width, picture.height) or "1:1"
  end
  local known = sizes.known and sizes.known[resolution .. " " .. ratio]
  if known then return known[1], known[2], not is_guess end
  local w, h = sides(ratio)
  if resolution == "1k" then
    w, h = geometry.nearest(w, h)
    return w, h, false
  end
  local height = math.sqrt(sizes.areas[resolution] * h / w)
  w, h = in_multiples(height * w / h, height, 16, whole)
  return w, h, false
end

function rules.input(sizes, _, picture)
  if not picture or not picture.width then return end
  local width, height = picture.width, picture.height
  if sizes.shrinks_above and width * height > sizes.shrinks_above then
    width, height = within(width, height, sizes.shrinks_to)
    return whole(width), whole(height), false
  end
  return width, height, true
end

function rules.margins(_, params, picture)
  if not picture or not picture.width then return end
  return picture.width + (params.left or 0) + (params.right or 0),
    picture.height + (params.top or 0) + (params.bottom or 0), false
end

function rules.exact(_, params)
  return params.width, params.height, true
end

--- Returns the size of the answer.
---@param row table the model's
---@param params table the edit's parameters by the names of the request
---@param picture? { width: integer?, height: integer? } the first input picture
---@return integer? width nil where it cannot be known beforehand
---@return integer? height
---@return boolean? confirmed
function geometry.output_size(row, params, picture)
  local width, height, confirmed = rules[row.sizes.rule](row.sizes, params, picture)
  if not width then return nil end
  return integer(width), integer(height),
    (confirmed and not row.sizes.doubts.size and row.confirmed ~= false) == true
end

--- Returns the size to which `fit = true` scales a picture: the service would use no more of it.
---@param row table
---@param params table
---@param width integer
---@param height integer
---@return integer? width nil: it is not scaled, since the answer is to be as large as the picture
---@return integer? height
function geometry.fitted_size(row, params, width, height)
  local rule = row.sizes.rule
  if rule == "17 sizes" then return geometry.nearest(width, height) end
  local area = rule == "width x height" and row.sizes.max_area or row.images.max_pixels
  if rule == "ratio and resolution" then
    area = row.sizes.areas[params.resolution or "1k"]
    if row.images.max_pixels then area = math.min(area, row.images.max_pixels) end
  end
  if not area or row.mask then return nil end
  local w, h = within(width, height, area)
  return integer(math.floor(w)), integer(math.floor(h))
end

--- Returns where the picture lies in the answer of a model that paints around it.
---@param row table
---@param params table
---@param picture { width: integer, height: integer }
---@return integer? left nil: the model does not keep the picture in place
---@return integer? top
function geometry.place(row, params, picture)
  if row.sizes.rule == "margins" then return params.left or 0, params.top or 0 end
  if row.sizes.rule ~= "exact" then return nil end
  return params.reference_offset_x or math.floor((params.width - picture.width) / 2),
    params.reference_offset_y or math.floor((params.height - picture.height) / 2)
end

return geometry
