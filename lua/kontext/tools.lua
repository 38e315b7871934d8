--- Edits that are called by their purpose, erase and outpaint: each is translated into the
--- parameters of the model that does it.
local check = require "kontext.job.check"
local geometry = require "kontext.geometry"
local sources = require "kontext.job.sources"

local tools = {}

--- The model of each tool.
tools.models = { erase = "flux-tools/erase-v1", outpaint = "flux-tools/outpainting-v1" }

-- Returns a copy of the parameters with the model set. Raises at the caller of the tool.
local function with_model(name, given, level)
  if type(given) ~= "table" then
    error(("%s takes a table, not %s"):format(name, type(given)), level + 2)
  end
  local made = {}
  for key, value in pairs(given) do made[key] = value end
  made.model = given.model or tools.models[name]
  return made
end

--- Returns the edit that removes what is white in a mask, and fills in the background.
---@param given table image, mask (black and white, of the image's size), and any of dilate_pixels,
--- seed, output_format, save_as …
---@param level? integer as for `error`: 1 (default) blames the caller
---@return table edit
function tools.erase(given, level)
  return with_model("erase", given, level or 1)
end

local margins = { "top", "bottom", "left", "right" }

--- Returns the edit that paints around a picture. What is added is given as margins in pixels,
--- or the whole canvas as the service takes it.
---@param given table input_image, and any of top, bottom, left and right, or width and height and
--- reference_offset_x and _y; and prompt, mode, output_format, save_as …
---@param level? integer as for `error`: 1 (default) blames the caller
---@return table edit if the picture cannot be read, one that fails with the reason
function tools.outpaint(given, level)
  local edit = with_model("outpaint", given, level or 1)
  local has_margins = false
  for _, side in ipairs(margins) do
    local value = edit[side]
    if value ~= nil then
      if type(value) ~= "number" or value < 0 or value % 1 ~= 0 then
        error(("%s must be a whole number of pixels, 0 or more"):format(side), (level or 1) + 1)
      end
      has_margins = true
    end
  end
  if not has_margins then return edit end
  if edit.width ~= nil or edit.height ~= nil then
    error("outpaint takes margins or a width and a height, not both", (level or 1) + 1)
  end
  if type(edit.input_image) ~= "string" and type(edit.input_image) ~= "table" then
    error("input_image must be a string or table, not " .. type(edit.input_image), (level or 1) + 1)
  end
  local info, message, err = check.image(edit.input_image)
  if not info and err.kind == "invalid" then
    if (sources.image(edit.input_image) or {}).url then
      message = "input_image is a URL, and margins need the picture's size: give the width and "
        .. "height of the canvas, or download the picture"
    end
    error(message, (level or 1) + 1)
  end
  local size = { width = 64, height = 64 }
  if info then size.width, size.height = check.upright(info) end
  edit.width, edit.height = geometry.output_size({ sizes = { rule = "margins", doubts = {} } },
    edit, size)
  edit.reference_offset_x, edit.reference_offset_y = edit.left or 0, edit.top or 0
  for _, side in ipairs(margins) do edit[side] = nil end
  return edit
end

return tools
