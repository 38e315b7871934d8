-- Edits pictures from Neovim: the commands of doc/kontext.txt.
if not pcall(require, "kontext.core") then return require "kontext.nvim.unbuilt" end

local graphics = require "kontext.nvim.graphics"
local kontext = require "kontext"
local preview = require "kontext.nvim.preview"
local paths = require "kontext.nvim.paths"
local unfinished = require "kontext.nvim.unfinished"
local wording = require "kontext.wording"

local nvim = {}

local options = {
  client = {}, -- for kontext.new
  params = {}, -- sent with every edit: aspect_ratio, safety_tolerance …
  preview = true, -- show before and after when an edit is ready
  graphics = nil, -- "kitty", "iterm2", "sixel" or "cells"; nil: what the terminal has
  on_ready = nil, -- function(edit): instead of the preview and the Markdown link
}

local edits = {} -- of this session: { job, file, prompt, path, buffer, mark, image, failure }
local marks = vim.api.nvim_create_namespace "kontext"
local client

--- Sets options (:help kontext-setup); a client is made anew when next needed.
---@param given nil|table
function nvim.setup(given)
  options = vim.tbl_deep_extend("force", options, given or {})
  client = nil
end

local function notify(message, level)
  vim.notify("kontext: " .. wording.safe(message), vim.log.levels[level or "INFO"])
end

-- Returns a file's name as it is shown: it may hold any byte.
local function name(path) return wording.safe(vim.fn.fnamemodify(path, ":t")) end

local function running(edit) return edit.image == nil and edit.failure == nil end

-- Files ---------------------------------------------------------------------------------------

local function is_picture(path) return path ~= "" and kontext.check { path = path } ~= nil end

-- A document's links may have blanks and other characters as %20.
local function decoded(target)
  return (target:gsub("%%(%x%x)", function(digits) return string.char(tonumber(digits, 16)) end))
end

-- The picture that a text of the buffer names, beside the buffer's file or in the current folder.
local function picture_of(text)
  local folder = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(0), ":h")
  for _, path in ipairs { text, decoded(text) } do
    if is_picture(folder .. "/" .. path) then return folder .. "/" .. path end
    if is_picture(path) then return path end
  end
end

-- The pictures that may be meant when none is named: the one under the cursor, else those of the
-- Markdown links in its line, else the buffer's own. Also returns whether the line names them.
local function default_files()
  local under = picture_of(vim.fn.expand "<cfile>") -- as it stands: nothing in it is expanded
  local line, column = vim.api.nvim_get_current_line(), vim.api.nvim_win_get_cursor(0)[2] + 1
  local files = {}
  for from, target, to in line:gmatch "()!?%[[^%]]*%]%(<?(.-)>?%)()" do
    local path = picture_of(target)
    if path and column >= from and column < to then return { path }, true end
    if path and not vim.tbl_contains(files, path) then files[#files + 1] = path end
  end
  if under then return { under }, true end
  if #files > 0 then return files, true end
  local own = vim.api.nvim_buf_get_name(0)
  return is_picture(own) and { own } or {}, false
end

-- Calls `fn` with the one of `items` that is meant: the only one, or what the user chooses.
local function choose(items, what, describe, fn)
  if #items == 1 then return fn(items[1]) end
  vim.ui.select(items, { prompt = what, kind = "kontext", format_item = describe }, function(item)
    if item then fn(item) end
  end)
end

-- car.jpg → car-kontext-1.jpg, the first that is neither there nor on its way.
local function free_path(file, format)
  local stem = vim.fn.fnamemodify(file, ":p:r"):gsub("%-kontext%-%d+$", "")
  local ending = (format or options.params.output_format) == "png" and "png" or "jpg"
  local taken = {}
  for _, edit in ipairs(edits) do taken[edit.path] = true end
  for n = 1, math.huge do
    local path = ("%s-kontext-%d.%s"):format(stem, n, ending)
    if not taken[path] and vim.fn.filereadable(path) == 0 then return path end
  end
end

-- What follows an edit ------------------------------------------------------------------------

-- Writes ![prompt](path) where the cursor was: in a line of its own, if a link stood there.
local function insert_link(edit)
  local buffer = edit.buffer
  if not vim.api.nvim_buf_is_loaded(buffer) or not vim.bo[buffer].modifiable then return end
  local place = vim.api.nvim_buf_get_extmark_by_id(buffer, marks, edit.mark, {})
  vim.api.nvim_buf_del_extmark(buffer, marks, edit.mark)
  local row, column = place[1], place[2]
  if not row then return end
  local path = edit.path
  local folder = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ":p:h") .. "/"
  if path:sub(1, #folder) == folder then path = path:sub(#folder + 1) end
  path = path:gsub("[%z\1-\31\127<>]", function(char) return ("%%%02X"):format(char:byte()) end)
  if path:find "[%s()]" then path = "<" .. path .. ">" end
  local link = ("![%s](%s)"):format(edit.prompt:gsub("[%[%]%z\n]", " "), path)
  if edit.below then
    vim.api.nvim_buf_set_lines(buffer, row + 1, row + 1, false, { link })
  else
    vim.api.nvim_buf_set_text(buffer, row, column, row, column, { link })
  end
end

local function finish(edit, image, message, err)
  unfinished.forget(edit, err)
  if not image then
    edit.failure = message
    notify(("%s: %s"):format(name(edit.file), message), "ERROR")
    return
  end
  edit.image = image
  notify(("%s is ready: %s, %d × %d"):format(name(edit.file), edit.path, image.width,
    image.height))
  if options.on_ready then return options.on_ready(edit) end
  if edit.mark then insert_link(edit) end
  if options.preview then preview.show(edit, options.graphics) end
end

-- Progress: a small window that never takes the cursor --------------------------------------------

local progress = { frame = 0 }
local spinner = { "⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏" }

local function bar(job)
  local done = job.progress
  if job.status == "uploading" and (job.total or 0) > 0 then done = job.sent / job.total end
  local full = math.floor((done or 0) * 10 + 0.5)
  return ("█"):rep(full) .. ("░"):rep(10 - full)
end

local function progress_lines()
  local lines = {}
  progress.frame = progress.frame % #spinner + 1
  for _, edit in ipairs(edits) do
    if running(edit) then
      lines[#lines + 1] = (" %s %s %s %s "):format(
        spinner[progress.frame], name(edit.file), bar(edit.job), edit.job.status)
    end
  end
  return lines
end

local function close_progress()
  progress.timer:stop()
  if progress.window and vim.api.nvim_win_is_valid(progress.window) then
    vim.api.nvim_win_close(progress.window, true)
  end
  progress.window = nil
end

local function draw_progress()
  local lines = progress_lines()
  if #lines == 0 then return close_progress() end
  local width = 1
  for _, line in ipairs(lines) do width = math.max(width, vim.fn.strdisplaywidth(line)) end
  local place = { relative = "editor", anchor = "SE", row = vim.o.lines - vim.o.cmdheight - 1,
    col = vim.o.columns, width = width, height = #lines, focusable = false, style = "minimal" }
  vim.api.nvim_buf_set_lines(progress.buffer, 0, -1, false, lines)
  if progress.window and vim.api.nvim_win_is_valid(progress.window) then
    vim.api.nvim_win_set_config(progress.window, place)
  else
    place.noautocmd = true
    progress.window = vim.api.nvim_open_win(progress.buffer, false, place)
  end
  -- While a command is typed Neovim redraws nothing by itself.
  if vim.api.nvim_get_mode().mode:find "^c" then vim.cmd "redraw" end
end

local function show_progress()
  if not progress.buffer or not vim.api.nvim_buf_is_valid(progress.buffer) then
    progress.buffer = vim.api.nvim_create_buf(false, true)
  end
  progress.timer = progress.timer or (vim.uv or vim.loop).new_timer()
  progress.timer:start(0, 100, vim.schedule_wrap(draw_progress))
end

-- Commands ------------------------------------------------------------------------------------

--- Returns the client that edits, made when it is first needed.
---@return kontext.Client
function nvim.client()
  client = client or kontext.new(options.client)
  return client
end

-- Follows an edit whose job `make(params)` gives.
local function follow(edit, make)
  graphics.ask() -- the answer is there before the picture
  edits[#edits + 1] = edit
  edit.job = make(vim.tbl_extend("force", options.params, {
    prompt = edit.prompt,
    save_as = edit.path,
  }))
  show_progress()
  coroutine.wrap(function() finish(edit, edit.job:wait()) end)()
end

local function start(file, prompt, below, make, format)
  local edit = { file = file, prompt = prompt, path = free_path(file, format), below = below }
  if vim.bo.filetype == "markdown" then
    local cursor = vim.api.nvim_win_get_cursor(0)
    edit.buffer = vim.api.nvim_get_current_buf()
    edit.mark = vim.api.nvim_buf_set_extmark(edit.buffer, marks, cursor[1] - 1, cursor[2], {})
  end
  follow(edit, make)
end

-- The lines that a command was given, or just the words selected in them.
local function selection(command)
  local lines = vim.api.nvim_buf_get_lines(0, command.line1 - 1, command.line2, false)
  local from, to = vim.fn.getpos "'<", vim.fn.getpos "'>"
  local selected = from[2] == command.line1 and to[2] == command.line2
  if selected and vim.fn.visualmode() == "v" then
    local last = lines[#lines]
    lines[#lines] = last:sub(1, to[3]) .. last:sub(to[3] + 1):match "^[\128-\191]*"
    lines[1] = lines[1]:sub(from[3])
  end
  return table.concat(lines, " ")
end

-- Calls `fn` with the prompt: the words given, else the selection, else what the user types.
local function with_prompt(words, command, fn)
  if #words > 0 then return fn(table.concat(words, " ")) end
  if command.range > 0 then return fn(selection(command)) end
  vim.ui.input({ prompt = "Kontext: " }, function(text)
    if text and text ~= "" then fn(text) end
  end)
end

-- The newest edit that `fits`.
local function newest(fits)
  for n = #edits, 1, -1 do
    if fits(edits[n]) then return edits[n] end
  end
end

local function ready(edit) return edit.image ~= nil end

local function in_short(edit)
  return wording.safe(("%s: %s"):format(vim.fn.fnamemodify(edit.file, ":t"), edit.prompt))
end

-- Calls `fn` with the edit that a number names, else with the one of those that fit, newest first,
-- which the user chooses. `none` is the notice where there is none.
local function with_edit(words, fits, what, none, fn)
  local fitting = {}
  for n = #edits, 1, -1 do
    local meant = not words[1] or tonumber(words[1]) == n
    if meant and fits(edits[n]) then fitting[#fitting + 1] = edits[n] end
  end
  if #fitting == 0 then return notify(none, "ERROR") end
  choose(fitting, what, in_short, fn)
end

local commands = {}

-- Edits a file, or the region of it that the first word names: then the format stays.
local function edit_file(file, below, words, command)
  local region = (words[1] or ""):match "^region=(.+)$"
  if region then words = vim.list_slice(words, 2) end
  with_prompt(words, command, function(prompt)
    local known = region and kontext.check { path = file }
    start(file, prompt, below, function(params)
      params.input_image, params.region = { path = file }, region
      return nvim.client():edit(params)
    end, known and known.format)
  end)
end

function commands.edit(words, command)
  local file = words[1] and paths.named(words[1])
  if file and (vim.fn.filereadable(file) == 1 or file:find "%.%a%w%w%w?$") then
    return edit_file(file, false, vim.list_slice(words, 2), command)
  end
  local files, below = default_files()
  if #files == 0 then return notify("no picture here; name one: :Kontext edit car.jpg", "ERROR") end
  choose(files, "Edit which picture?", name, function(chosen)
    edit_file(chosen, below, words, command)
  end)
end

function commands.again(words, command)
  local last = newest(ready)
  if not last then return notify("no edit is ready yet", "ERROR") end
  with_prompt(words, command, function(prompt)
    start(last.path, prompt, false, function(params) return last.image:edit(params) end)
  end)
end

function commands.show(words)
  with_edit(words, ready, "Show which edit?", "no such edit is ready", function(edit)
    preview.show(edit, options.graphics)
  end)
end

function commands.close() preview.close() end

function commands.list()
  local lines = {}
  for n, edit in ipairs(edits) do
    lines[n] = wording.safe(("%2d  %-11s %s  %s  %s"):format(
      n, edit.job.status, name(edit.file), edit.prompt, edit.failure or edit.path))
  end
  vim.api.nvim_echo({ { #lines > 0 and table.concat(lines, "\n") or "no edits yet" } }, false, {})
end

function commands.resume()
  local kept = unfinished.list()
  if #kept == 0 then return notify "no edit was left unfinished" end
  local choices = { kept }
  if #kept > 1 then vim.list_extend(choices, kept) end
  choose(choices, "Go on with which edit?", function(choice)
    return choice == kept and ("all %d"):format(#kept) or in_short(choice)
  end, function(choice)
    for _, edit in ipairs(choice == kept and kept or { choice }) do
      follow(edit, function()
        return nvim.client():resume(edit.token, { save_as = edit.path }) -- a token has no name
      end)
    end
  end)
end

function commands.cancel(words)
  with_edit(words, running, "Cancel which edit?", "no such edit is running", function(edit)
    edit.job:cancel()
  end)
end

vim.api.nvim_create_autocmd("VimLeavePre", {
  callback = function()
    for _, edit in ipairs(edits) do
      if running(edit) then unfinished.keep(edit, nvim.client()) end
    end
  end,
})

--- Runs `:Kontext` with what was typed after it.
---@param command table  as nvim_create_user_command gives it
function nvim.command(command)
  local words = vim.list_slice(command.fargs, 2)
  local run = commands[command.fargs[1]]
  if run then return run(words, command) end
  notify(("no command %q; there are: %s"):format(command.fargs[1],
    table.concat(nvim.complete("", "Kontext "), ", ")), "ERROR")
end

--- Completes a command, a file after `edit`, a number after `show` and `cancel`.
---@param lead string
---@param line string
---@return string[]
function nvim.complete(lead, line)
  local command, rest = line:match "Kontext%s+(%a+)%s+(.*)$"
  if not command then
    local names = vim.tbl_filter(function(one) return vim.startswith(one, lead) end,
      vim.tbl_keys(commands))
    table.sort(names)
    return names
  end
  if command == "edit" then
    local is_first = not rest:gsub("\\.", ""):find "%s" -- a blank of a file's name is escaped
    return is_first and paths.complete(lead) or {}
  end
  local numbers = {}
  for n, edit in ipairs(edits) do
    if command == "show" and ready(edit) or command == "cancel" and running(edit) then
      numbers[#numbers + 1] = tostring(n)
    end
  end
  return numbers
end

return nvim
