-- Before and after, side by side, in a floating window that does not take the cursor. The pictures
-- are made small on libuv's threads: decoding one of 12 megapixels takes a while.
local kontext = require "kontext"
local graphics_of_terminal = require "kontext.nvim.graphics"
local terminal = require "kontext.terminal"
local wording = require "kontext.wording"

local uv = vim.uv or vim.loop

local preview = {}

local GAP = 2 -- columns between the two

local shown -- the window

-- The folder of kontext's Lua files, and of core.so after `make nvim`.
local root = debug.getinfo(1, "S").source:match "^@(.*)kontext/nvim/preview%.lua$"

-- Writes to the terminal in one blocking call, into which nothing that Neovim draws can fall:
-- chansend(v:stderr) drops what the terminal does not take at once.
local function write(data)
  for _, descriptor in ipairs { 2, 1 } do
    if uv.guess_handle(descriptor) == "tty" then
      local tty = uv.new_tty(descriptor, false)
      tty:set_blocking(true)
      tty:write(data)
      return tty:close()
    end
  end
end

-- A cell's width and height in pixels, which the terminal's driver knows, if the terminal told it.
local function cell_size()
  local found, ffi = pcall(require, "ffi")
  if found then
    pcall(ffi.cdef, "int ioctl(int, unsigned long, ...);")
    local size = ffi.new "unsigned short[4]" -- rows, columns, width, height
    local TIOCGWINSZ = ffi.os == "OSX" and 0x40087468 or 0x5413
    for descriptor = 2, 1, -1 do
      if ffi.C.ioctl(descriptor, TIOCGWINSZ, size) == 0 and size[2] > 0 then
        return math.floor(size[2] / size[1]), math.floor(size[3] / size[0])
      end
    end
  end
  return 8, 16
end

-- Draws in another thread, where nothing of this one is known; calls `done` with drawing, message.
local function draw(done, ...)
  uv.new_work(function(lua, c, path, graphics, columns, rows, colors, id, cell_width, cell_height)
    package.path, package.cpath = lua .. package.path, c .. package.cpath
    return require("kontext.terminal").draw({ graphics = graphics, columns = columns,
      rows = rows, colors = colors, id = id, cell_width = cell_width, cell_height = cell_height },
      path)
  end, vim.schedule_wrap(done)):queue(
    root .. "?.lua;" .. package.path .. ";", root .. "?.so;" .. package.cpath .. ";", ...)
end

-- Cells for one picture: at most a third of the screen's width and of its height, a cell being
-- twice as high as wide.
local function cells(info)
  local width, height = info.width, info.height
  if (info.orientation or 1) > 4 then width, height = height, width end
  local columns, rows = math.floor(vim.o.columns / 3), math.floor(vim.o.lines / 3)
  local scale = math.min(columns / width, rows * 2 / height)
  return math.max(1, math.floor(width * scale)), math.max(1, math.floor(height * scale / 2))
end

local function pad(text, columns)
  local width = vim.fn.strdisplaywidth(text)
  if width > columns then return vim.fn.strcharpart(text, 0, columns) end
  return text .. (" "):rep(columns - width)
end

-- Opens the window with lines of text and colours, in the half of the screen without the cursor.
local function open(columns, rows, lines)
  local buffer = vim.api.nvim_create_buf(false, true)
  vim.bo[buffer].bufhidden = "wipe"
  local below = vim.fn.screenrow() <= vim.o.lines / 2
  local window = vim.api.nvim_open_win(buffer, false, {
    relative = "editor", col = vim.o.columns, anchor = below and "SE" or "NE",
    row = below and vim.o.lines - vim.o.cmdheight - 2 or 0,
    width = columns, height = rows, style = "minimal", border = "rounded", noautocmd = true,
  })
  vim.wo[window].winhighlight = "NormalFloat:Normal,FloatBorder:Normal"
  vim.keymap.set("n", "q", preview.close, { buffer = buffer, nowait = true })
  -- A terminal is as wide as the current window when it is opened.
  vim.api.nvim_win_call(window, function()
    vim.api.nvim_chan_send(vim.api.nvim_open_term(buffer, {}), table.concat(lines, "\r\n"))
  end)
  return window
end

--- Takes the preview away.
function preview.close()
  if shown and vim.api.nvim_win_is_valid(shown) then vim.api.nvim_win_close(shown, true) end
  shown = nil
end

-- Draws over the window's empty lines, once Neovim has drawn those; and off again with the window.
local function overlay(window, pictures, graphics)
  vim.defer_fn(function()
    if not vim.api.nvim_win_is_valid(window) then return end
    local place, drawings = vim.api.nvim_win_get_position(window), {}
    local column = place[2] + 2
    for n, picture in ipairs(pictures) do
      drawings[n] = ("\27[%d;%dH%s"):format(place[1] + 3, column, picture.drawing)
      column = column + picture.columns + GAP
    end
    write("\0277" .. table.concat(drawings) .. "\0278") -- the cursor comes back
  end, 50)
  vim.api.nvim_create_autocmd("WinClosed", {
    pattern = tostring(window),
    once = true,
    callback = function()
      if graphics ~= "kitty" then return vim.cmd "mode" end
      for id in ipairs(pictures) do write(terminal.kitty_remove(id)) end
    end,
  })
end

-- Puts both drawings into a window: in its lines, or over its empty lines.
local function show(pictures, graphics)
  preview.close()
  local rows, captions, lines = 0, {}, {}
  for n, picture in ipairs(pictures) do
    rows = math.max(rows, picture.rows)
    captions[n] = pad(picture.caption, picture.columns)
    picture.lines = graphics == "cells" and vim.split(picture.drawing, "\n") or {}
  end
  for row = 1, rows do
    local line = {}
    for n, picture in ipairs(pictures) do
      line[n] = picture.lines[row] or (" "):rep(picture.columns)
    end
    lines[row] = table.concat(line, (" "):rep(GAP))
  end
  table.insert(lines, 1, table.concat(captions, (" "):rep(GAP)))
  local width = pictures[1].columns + GAP + pictures[2].columns
  shown = open(width, rows + 1, lines)
  if graphics ~= "cells" then overlay(shown, pictures, graphics) end
end

--- Shows an edit's picture beside what it was made of.
---@param edit table  of kontext.nvim: file, path
---@param graphics nil|string  "kitty", "iterm2", "sixel", "cells"
function preview.show(edit, graphics)
  graphics = graphics or graphics_of_terminal.best()
  local pictures = {}
  local left = 2
  for n, path in ipairs { edit.file, edit.path } do
    local info = kontext.check { path = path }
    if not info then return end
    local picture = { path = path }
    picture.columns, picture.rows = cells(info)
    picture.caption = ("%s %d×%d"):format(
      wording.safe(vim.fn.fnamemodify(path, ":t")), info.width, info.height)
    pictures[n] = picture
    draw(function(drawing, message)
      picture.drawing = drawing or wording.safe(tostring(message))
      left = left - 1
      if left == 0 then show(pictures, graphics) end
    end, path, graphics, picture.columns, picture.rows, vim.o.termguicolors and 2 ^ 24 or 256, n,
      cell_size())
  end
end

return preview
