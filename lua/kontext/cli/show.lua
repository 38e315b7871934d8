--- kontext show: two pictures beside each other, or below each other, in the terminal.
local core = require "kontext.core"
local kontext = require "kontext"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"
local terminal = require "kontext.terminal"

local show = {}

local gap = 2 -- columns between the two
local narrow = 50 -- columns: below, the second picture stands below the first
local ramp = " .:-=+*#%@" -- dark to bright, where a terminal has no colours

-- Returns how to draw pictures: as the options ask, else as the terminal can.
local function graphics_of(options)
  if options.graphics then return options.graphics end
  local no_color = os.getenv "NO_COLOR"
  if os.getenv "TERM" == "dumb" or no_color and no_color ~= "" then return "ascii" end
  return core.terminal(1) and terminal.graphics() or "cells"
end

-- Returns how many colours the terminal has.
local function colors()
  local told = os.getenv "COLORTERM" or ""
  return (told == "truecolor" or told == "24bit") and 2 ^ 24 or 256
end

-- Returns the picture in characters: a row of the terminal is two rows of `rgb`.
local function characters(path, columns, rows)
  local rgb, message = core.thumbnail({ path = path }, columns, rows)
  if not rgb then return nil, message end
  local lines = {}
  for row = 1, rows do
    local line = {}
    for column = 1, columns do
      local r, g, b = rgb:byte(((row - 1) * columns + column - 1) * 3 + 1,
        ((row - 1) * columns + column) * 3)
      local at = math.floor((0.3 * r + 0.59 * g + 0.11 * b) / 256 * #ramp) + 1
      line[column] = ramp:sub(at, at)
    end
    lines[row] = table.concat(line)
  end
  return table.concat(lines, "\n")
end

-- Returns the screen: its columns and rows, and a cell's width and height in pixels.
local function screen_size()
  local columns, rows, width, height = core.terminal(1)
  if not columns then return 80, 24, 8, 16 end
  if width == 0 or height == 0 then return columns, rows, 8, 16 end
  return columns, rows, math.max(1, math.floor(width / columns)),
    math.max(1, math.floor(height / rows))
end

-- Returns the cells that a picture takes of this room; a cell is about twice as high as wide.
local function cells(info, columns, rows)
  local scale = math.min(columns / info.width, 2 * rows / info.height)
  return math.max(1, math.floor(info.width * scale)),
    math.max(1, math.floor(info.height * scale / 2))
end

-- Returns the caption of a picture, no wider than it. It keeps the end of a long name, which says
-- more than the beginning.
local function caption(name, info, columns)
  local size = (" %dx%d"):format(info.width, info.height)
  local text = screen.escape(name) .. size
  return screen.cut(text, columns)
end

-- Returns the pictures with their cells, drawings and captions; or nil and an error.
local function draw(options, graphics)
  local columns, rows, cell_width, cell_height = screen_size()
  local beside = columns >= narrow
  local room = beside and math.floor((columns - gap) / 2) or columns
  local high = math.max(4, beside and rows - 4 or math.floor(rows / 2) - 2)
  local pictures = {}
  for n, path in ipairs { options.before, options.after } do
    local info, _, err = kontext.check { path = path }
    if not info then return nil, err end
    if (info.orientation or 1) > 4 then info.width, info.height = info.height, info.width end
    local wide, tall = cells(info, room, high)
    local how = { graphics = graphics, columns = wide, rows = tall, colors = colors(), id = n,
      cell_width = cell_width, cell_height = cell_height }
    local drawing, message
    if graphics == "ascii" then
      drawing, message = characters(path, wide, tall)
    else
      drawing, message = terminal.draw(how, path)
    end
    if not drawing then
      return nil, { kind = "image", charged = false, message = path .. ": " .. message }
    end
    pictures[n] = { columns = wide, rows = tall, drawing = drawing, beside = beside, room = room,
      caption = caption(path, info, beside and room or columns) }
  end
  return pictures
end

-- Returns a text that takes `columns` on the screen.
local function pad(text, columns)
  return text .. (" "):rep(columns - screen.columns(text))
end

-- Returns the drawings as lines of text, beside each other.
local function lines_beside(pictures)
  local left, right = pictures[1], pictures[2]
  local columns, parts = {}, {}
  for n, picture in ipairs(pictures) do
    columns[n] = {}
    for line in (picture.drawing .. "\n"):gmatch "(.-)\n" do
      columns[n][#columns[n] + 1] = line
    end
  end
  local width = math.max(left.columns, screen.columns(left.caption))
  parts[1] = pad(left.caption, width + gap) .. right.caption
  for row = 1, math.max(left.rows, right.rows) do
    local line = columns[1][row] and columns[1][row] .. (" "):rep(width - left.columns)
      or (" "):rep(width)
    parts[#parts + 1] = line .. (" "):rep(gap) .. (columns[2][row] or "")
  end
  return table.concat(parts, "\n")
end

-- Returns the text that draws the terminal's graphics beside each other. It makes the lines for
-- them first, so that the screen has scrolled before the cursor's place is saved.
local function graphics_beside(pictures)
  local rows = math.max(pictures[1].rows, pictures[2].rows)
  local second = math.max(pictures[1].columns, screen.columns(pictures[1].caption)) + gap
  local parts = { pad(pictures[1].caption, second), pictures[2].caption, ("\n"):rep(rows + 1),
    ("\27[%dA"):format(rows) }
  for n, picture in ipairs(pictures) do
    parts[#parts + 1] = ("\0277%s%s\0278"):format(n == 2 and ("\27[%dC"):format(second) or "",
      picture.drawing)
  end
  parts[#parts + 1] = ("\27[%dB"):format(rows)
  return table.concat(parts)
end

-- Returns one picture below the other.
local function below(pictures, is_text)
  local parts = {}
  for n, picture in ipairs(pictures) do
    parts[n] = picture.caption .. "\n" .. (is_text and picture.drawing
      or ("%s\27[%dA\0277%s\0278\27[%dB"):format(("\n"):rep(picture.rows), picture.rows,
        picture.drawing, picture.rows))
  end
  return table.concat(parts, "\n")
end

--- kontext show BEFORE AFTER
---@param options table
---@return integer code
function show.run(options)
  local graphics = graphics_of(options)
  local is_text = graphics == "cells" or graphics == "ascii"
  local pictures, err = draw(options, graphics)
  if not pictures then return report.fail(options, err) end
  report.say(not pictures[1].beside and below(pictures, is_text)
    or is_text and lines_beside(pictures) or graphics_beside(pictures))
  return 0
end

return show
