-- A small picture as what a terminal draws: kitty's, iTerm2's and sixel graphics, or half-block
-- cells, which every terminal has. `rgb` is three bytes a pixel, row by row, by core.thumbnail.
local core = require "kontext.core"

local terminal = {}

local signs = { -- variable, pattern, graphics
  { "TMUX", ".", "cells" }, -- a multiplexer does not pass graphics on
  { "STY", ".", "cells" },
  { "KITTY_WINDOW_ID", ".", "kitty" },
  { "TERM", "kitty", "kitty" },
  { "TERM_PROGRAM", "^ghostty$", "kitty" },
  { "TERM_PROGRAM", "^iTerm%.app$", "iterm2" },
  { "TERM_PROGRAM", "^WezTerm$", "iterm2" },
  { "TERM", "^foot", "sixel" },
  { "TERM", "^mlterm", "sixel" },
}

--- Returns by the environment what the terminal draws: "kitty", "iterm2", "sixel" or "cells".
---@param getenv nil|fun(name: string): string?  `os.getenv`
---@return string
function terminal.graphics(getenv)
  for _, sign in ipairs(signs) do
    if ((getenv or os.getenv)(sign[1]) or ""):find(sign[2]) then return sign[3] end
  end
  return "cells"
end

-- The nearest level of 256 colours' 6×6×6 cube: 0, 95, 135, 175, 215, 255.
local function level(value)
  if value < 48 then return 0 end
  return value < 115 and 1 or math.floor((value - 35) / 40)
end

-- The nearest of 256 colours: of 24 greys from 8 to 238, or of the cube.
local function color(r, g, b)
  local grey = math.floor((r + g + b) / 30 - 0.3)
  if math.max(r, g, b) - math.min(r, g, b) < 24 and grey >= 0 and grey < 24 then
    return 232 + grey
  end
  return 16 + 36 * level(r) + 6 * level(g) + level(b)
end

--- Draws with the upper half block: two pixels a cell, so `rgb` has 2 × `rows` rows.
---@param colors integer  the terminal's colours: 256, or 2^24
---@return string[] lines
function terminal.cells(rgb, columns, rows, colors)
  local escape = colors > 256
      and function(ground, r, g, b) return ("\27[%d;2;%d;%d;%dm"):format(ground, r, g, b) end
    or function(ground, r, g, b) return ("\27[%d;5;%dm"):format(ground, color(r, g, b)) end
  local lines = {}
  for row = 1, rows do
    local top, line = (row - 1) * 2 * columns * 3, {}
    local last_above, last_below
    for at = top + 1, top + columns * 3, 3 do
      local above = escape(38, rgb:byte(at, at + 2))
      local below = escape(48, rgb:byte(at + columns * 3, at + columns * 3 + 2))
      if above ~= last_above then line[#line + 1] = above end
      if below ~= last_below then line[#line + 1] = below end
      line[#line + 1] = "\226\150\128" -- ▀
      last_above, last_below = above, below
    end
    lines[row] = table.concat(line) .. "\27[0m"
  end
  return lines
end

--- Draws with kitty's protocol, as picture number `id`.
---@return string
function terminal.kitty(png, columns, rows, id)
  local data, chunks = core.base64(png), {}
  local control = ("a=T,f=100,c=%d,r=%d,i=%d,q=2,C=1,"):format(columns, rows, id)
  for at = 1, #data, 4096 do
    local more = at + 4096 <= #data and 1 or 0
    chunks[#chunks + 1] = ("\27_G%sm=%d;%s\27\\"):format(control, more, data:sub(at, at + 4095))
    control = ""
  end
  return table.concat(chunks)
end

--- Takes kitty's picture number `id` off the screen.
---@return string
function terminal.kitty_remove(id) return ("\27_Ga=d,d=I,i=%d,q=2\27\\"):format(id) end

--- Draws with iTerm2's protocol.
---@return string
function terminal.iterm2(jpeg, columns, rows)
  return ("\27]1337;File=inline=1;size=%d;width=%d;height=%d;preserveAspectRatio=0:%s\7"):format(
    #jpeg, columns, rows, core.base64(jpeg))
end

-- Ordered dithering hides that sixel pictures have six levels of each colour here.
local bayer = { [0] = { [0] = 0, 8, 2, 10 }, { [0] = 12, 4, 14, 6 }, { [0] = 3, 11, 1, 9 },
  { [0] = 15, 7, 13, 5 } }

local function sixel_pixel(rgb, width, x, y)
  local r, g, b = rgb:byte((y * width + x) * 3 + 1, (y * width + x) * 3 + 3)
  local shift, floor = (bayer[y % 4][x % 4] + 0.5) / 16, math.floor
  return floor(r / 51 + shift) * 36 + floor(g / 51 + shift) * 6 + floor(b / 51 + shift)
end

-- One row of sixels of one colour, equal neighbours counted.
local function sixel_run(bits, width)
  local out, x = {}, 0
  while x < width do
    local value, start = bits[x] or 0, x
    repeat x = x + 1 until x == width or (bits[x] or 0) ~= value
    local sixel = string.char(63 + value)
    out[#out + 1] = x - start > 3 and ("!%d%s"):format(x - start, sixel) or sixel:rep(x - start)
  end
  return table.concat(out)
end

--- Draws with sixels.
---@return string
function terminal.sixel(rgb, width, height)
  local out = { ('\27P0;1;0q"1;1;%d;%d'):format(width, height) }
  for hue = 0, 215 do
    local r, g, b = math.floor(hue / 36), math.floor(hue / 6) % 6, hue % 6
    out[#out + 1] = ("#%d;2;%d;%d;%d"):format(hue, r * 20, g * 20, b * 20)
  end
  for band = 0, height - 1, 6 do
    local used = {}
    for row = 0, math.min(5, height - 1 - band) do
      for x = 0, width - 1 do
        local hue = sixel_pixel(rgb, width, x, band + row)
        used[hue] = used[hue] or {}
        used[hue][x] = (used[hue][x] or 0) + 2 ^ row
      end
    end
    for hue, bits in pairs(used) do
      out[#out + 1] = ("#%d%s$"):format(hue, sixel_run(bits, width))
    end
    out[#out + 1] = "-"
  end
  return table.concat(out) .. "\27\\"
end

-- What each kind of graphics is made of.
local formats = { kitty = "png", iterm2 = "jpeg", sixel = "rgb" }

--- Draws a picture's file over cells.
---@param how { graphics: string, columns: integer, rows: integer, colors: integer, id: integer,
---  cell_width: integer, cell_height: integer }  colors: 256 or 2^24; id: kitty's; a cell in pixels
---@param path string
---@return string? drawing  of cells the lines, parted by newlines
---@return string? message
function terminal.draw(how, path)
  local source, columns, rows = { path = path }, how.columns, how.rows
  if how.graphics == "cells" then
    local rgb, message = core.thumbnail(source, columns, 2 * rows)
    return rgb and table.concat(terminal.cells(rgb, columns, rows, how.colors), "\n"), message
  end
  local width, height = columns * how.cell_width, rows * how.cell_height
  local picture, message = core.thumbnail(source, width, height, formats[how.graphics])
  if not picture then return nil, message end
  if how.graphics == "sixel" then return terminal.sixel(picture, width, height) end
  return terminal[how.graphics](picture, columns, rows, how.id)
end

return terminal
