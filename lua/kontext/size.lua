--- The size of an answer, before anything is sent.
local api = require "kontext.api"
local check = require "kontext.job.check"
local errors = require "kontext.errors"

local size = {}

local function positive(value)
  return type(value) == "number" and value > 0 and value < math.huge
end

--- Returns the size of the service's answer: the one of its 17 sizes whose aspect ratio is nearest.
--- A ratio is seldom met exactly: "16:9" gives 1392 x 752. An image counts upright: Exif's
--- orientations 5 to 8 exchange its stored width and height.
---@param value string|number|table an aspect ratio such as "16:9"; a width, its height following;
--- or an image, whose own ratio the service takes where none is asked for
---@param height? number
---@return integer? width
---@return integer|string height or, after nil, a message
---@return kontext.Error? err
function size.output_size(value, height)
  local kind = type(value)
  if kind == "number" then
    if not positive(value) or not positive(height) then
      error("output_size: width and height must be numbers above 0", 2)
    end
    return api.output_size(value, height)
  elseif kind ~= "string" and kind ~= "table" then
    error("output_size takes a ratio, a width and a height, or an image, not " .. kind, 2)
  elseif kind == "string" and value:find("^[%d.]+:[%d.]+$") then
    local ratio = api.parse_ratio(value)
    if ratio then return api.output_size(ratio, 1) end
    return errors.result(errors.new { kind = "invalid", stage = "check", charged = false,
      message = ('"%s" is no ratio from 3:7 to 7:3'):format(value) })
  end
  local width, message, err = check.size(value)
  if not width then return nil, message, err end
  return api.output_size(width, message)
end

return size
