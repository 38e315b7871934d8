-- nvim --headless -S spec/hosts/plugin_session.lua: each promise of the plugin's, tried in a real
-- Neovim. Writes what came of each to $KONTEXT_OUT/results.
local kontext = require "kontext"

local out = os.getenv "KONTEXT_OUT"
vim.env.XDG_DATA_HOME = out

vim.cmd("cd " .. out)
vim.cmd "filetype on"

local notices = {}
vim.notify = function(message, level) notices[#notices + 1] = { message, level } end

local function last_notice()
  local notice = notices[#notices] or {}
  return notice[1] or "nothing was told", notice[2]
end

local function wait(what, done)
  assert(vim.wait(20000, done, 20), what .. " did not happen; the last notice: " .. last_notice())
end

-- Runs a command and waits for the notice that ends it.
local function kontext_command(command)
  local told = #notices
  vim.cmd("Kontext " .. command)
  wait("the end of " .. command, function() return #notices > told end)
  return last_notice()
end

local function buffer(name, lines)
  vim.cmd("edit! " .. name)
  vim.api.nvim_buf_set_lines(0, 0, -1, false, lines)
end

local function lines() return vim.api.nvim_buf_get_lines(0, 0, -1, false) end

-- The window of the progress, or of a preview, which alone can have the cursor.
local function float(focusable)
  for _, window in ipairs(vim.api.nvim_list_wins()) do
    local config = vim.api.nvim_win_get_config(window)
    if config.relative ~= "" and config.focusable == focusable then return window end
  end
end

local function equal(expected, found)
  if not vim.deep_equal(expected, found) then
    error(("expected %s, found %s"):format(vim.inspect(expected), vim.inspect(found)), 2)
  end
end

local function copy(name)
  assert(vim.loop.fs_copyfile(os.getenv "KONTEXT_PHOTO", out .. "/" .. name))
end

local promises = {}
local function promise(name, fn) promises[#promises + 1] = { name = name, fn = fn } end

promise("saves an edit of the file that is named beside it", function()
  copy "car.jpg"
  local message, level = kontext_command "edit car.jpg Make it red"
  equal({ "kontext: car.jpg is ready: " .. out .. "/car-kontext-1.jpg, 1184 × 880",
    vim.log.levels.INFO }, { message, level })
  equal("jpeg", kontext.check({ path = "car-kontext-1.jpg" }).format)
end)

promise("never saves over a picture that is there", function()
  local bytes = kontext.check({ path = "car-kontext-1.jpg" }).bytes
  assert(kontext_command("edit car.jpg Make it green"):find "car%-kontext%-2.jpg")
  equal(bytes, kontext.check({ path = "car-kontext-1.jpg" }).bytes)
end)

promise("edits the last result further", function()
  assert(kontext_command("again Now make it snow"):find "car%-kontext%-3.jpg is ready"
    or last_notice():find "car%-kontext%-2.jpg is ready: .*/car%-kontext%-3.jpg")
end)

promise("takes file names with blanks", function()
  copy "my car.jpg"
  assert(kontext_command([[edit my\ car.jpg Make it red]]):find "my car%-kontext%-1.jpg")
end)

promise("puts a Markdown link below the link that names the picture", function()
  buffer("trip.md", { "# Trip", "", "See ![my car](car.jpg).", "", "The end." })
  vim.api.nvim_win_set_cursor(0, { 3, 8 })
  kontext_command "edit Make it blue"
  equal({ "# Trip", "", "See ![my car](car.jpg).", "![Make it blue](car-kontext-4.jpg)", "",
    "The end." }, lines())
end)

promise("puts the link where the cursor was, whatever was typed since", function()
  buffer("trip.md", { "Look: !", "The end." })
  vim.api.nvim_win_set_cursor(0, { 1, 6 })
  vim.cmd "Kontext edit car.jpg Make it grey"
  vim.api.nvim_buf_set_lines(0, 0, 0, false, { "A new first line" })
  wait("the link", function() return lines()[2] ~= "Look: !" end)
  equal({ "A new first line", "Look: ![Make it grey](car-kontext-5.jpg)!", "The end." }, lines())
end)

promise("takes the selected words for the prompt", function()
  copy "words.jpg"
  buffer("trip.md", { "Please make it naïve, soon." })
  vim.cmd [[normal! fm]]
  vim.cmd [[execute "normal! vf,h\<Esc>"]]
  local told = #notices
  vim.cmd "'<,'>Kontext edit words.jpg"
  wait("the edit", function() return #notices > told end)
  assert(lines()[1]:find("![make it naïve](words-kontext-1.jpg)", 1, true), lines()[1])
end)

promise("edits the part of the picture that region= names, and keeps its size", function()
  copy "part.jpg"
  local told = #notices
  vim.cmd "Kontext edit part.jpg region=25%,25%,30%,40% Make the door red"
  wait("the edit", function() return #notices > told end)
  local before = assert(require "kontext".check { path = "part.jpg" })
  local after = assert(require "kontext".check { path = "part-kontext-1.jpg" })
  equal({ before.width, before.height }, { after.width, after.height })
  assert(vim.fn.execute("Kontext list"):find "Make the door red")
end)

promise("takes a range's lines for the prompt", function()
  copy "range.jpg"
  buffer("prompt.txt", { "Not this.", "Make it", "winter.", "Nor this." })
  local told = #notices
  vim.cmd "2,3Kontext edit range.jpg"
  wait("the edit", function() return #notices > told end)
  assert(vim.fn.execute("Kontext list"):find "Make it winter%.")
end)

promise("asks for the prompt where none is given", function()
  local asked
  vim.ui.input = function(options, answer)
    asked = options.prompt
    answer "Make it old"
  end
  kontext_command "edit car.jpg"
  equal("Kontext: ", asked)
  assert(vim.fn.execute("Kontext list"):find "Make it old")
end)

promise("edits the picture that the buffer holds", function()
  copy "own.jpg"
  vim.cmd "edit own.jpg"
  assert(kontext_command("edit Make it red"):find "own%-kontext%-1.jpg")
end)

promise("shows how far an edit is in a window that never has the cursor", function()
  local window = vim.api.nvim_get_current_win()
  vim.cmd "Kontext edit car.jpg [emulate: slow 1]"
  wait("the progress window", function() return float(false) end)
  equal(window, vim.api.nvim_get_current_win())
  local shown = vim.api.nvim_win_get_buf(float(false))
  local seen, told = {}, #notices
  wait("the end of the progress", function()
    if vim.api.nvim_buf_is_valid(shown) then
      local line = vim.api.nvim_buf_get_lines(shown, 0, -1, false)[1] or ""
      seen[line:match "car.jpg (%S+ %S+)" or ""] = true
    end
    return #notices > told
  end)
  assert(vim.tbl_count(seen) >= 3, vim.inspect(seen))
  wait("the window's end", function() return not float(false) end)
end)

promise("shows the pictures before and after, without taking the cursor", function()
  local window = vim.api.nvim_get_current_win()
  vim.wait(1000) -- until earlier edits have shown theirs
  wait("the preview", function() return float(true) end)
  equal(window, vim.api.nvim_get_current_win())
  vim.cmd "Kontext close"
  equal(nil, float(true))
  vim.cmd "Kontext show 1"
  wait("the first edit's preview", function() return float(true) end)
  wait("the drawing", function()
    if not float(true) then return false end
    local shown = vim.api.nvim_win_get_buf(float(true))
    local text = table.concat(vim.api.nvim_buf_get_lines(shown, 0, -1, false), "\n")
    return text:find "^car.jpg 1365×1074 .*car%-kontext%-1.jpg" and text:find "▀▀▀▀"
  end)
  vim.api.nvim_set_current_win(float(true))
  vim.cmd "normal q"
  equal(nil, float(true))
end)

promise("cancels an edit", function()
  local told = #notices
  vim.cmd "Kontext edit car.jpg [emulate: slow 9]"
  vim.wait(300)
  vim.cmd "Kontext cancel"
  wait("the cancelled edit's notice", function() return #notices > told end)
  local message, level = last_notice()
  assert(message:find "cancelled" and level == vim.log.levels.ERROR, message)
  assert(vim.fn.execute("Kontext list"):find "cancelled")
end)

-- Answers vim.ui.select with the choice of that number while `fn` runs; returns what was offered.
local function choosing(number, fn)
  local select, offered = vim.ui.select, {}
  vim.ui.select = function(items, options, answer)
    for n, item in ipairs(items) do offered[n] = options.format_item(item) end
    answer(items[number])
  end
  fn()
  vim.ui.select = select
  return offered
end

promise("asks which one is meant, where several edits run", function()
  local told = #notices
  vim.cmd "Kontext edit car.jpg [emulate: slow 9] first"
  vim.cmd "Kontext edit car.jpg [emulate: slow 9] second"
  vim.wait(300)
  local offered = choosing(2, function() vim.cmd "Kontext cancel" end)
  equal({ "car.jpg: [emulate: slow 9] second", "car.jpg: [emulate: slow 9] first" }, offered)
  wait("the cancelled edit's notice", function() return #notices > told end)
  local list = vim.fn.execute "Kontext list"
  assert(list:find "failed[^\n]*first" or list:find "cancelled[^\n]*first", list)
  assert(not list:find "cancelled[^\n]*second", list)
  told = #notices
  vim.cmd "Kontext cancel" -- one is left, so nothing is asked
  wait("the other's notice", function() return #notices > told end)
end)

promise("asks which edit is shown, where several are ready", function()
  vim.cmd "Kontext close"
  local offered = choosing(1, function() vim.cmd "Kontext show" end)
  assert(#offered > 5 and vim.tbl_contains(offered, "car.jpg: Make it green"), vim.inspect(offered))
  wait("the preview", function() return float(true) end)
  vim.cmd "Kontext close"
end)

promise("asks which picture is edited, where a line names several and none is under the cursor",
  function()
    copy "a lamp.jpg"
    copy "road.jpg"
    buffer("several.md", { "See ![a](a%20lamp.jpg) and ![b](<road.jpg>)." })
    vim.api.nvim_win_set_cursor(0, { 1, 0 })
    local offered = choosing(1, function() kontext_command "edit Make it red" end)
    equal({ "a lamp.jpg", "road.jpg" }, offered)
    assert(vim.loop.fs_stat "a lamp-kontext-1.jpg")
    equal("![Make it red](<a lamp-kontext-1.jpg>)", lines()[2])
    vim.api.nvim_win_set_cursor(0, { 1, 32 })
    assert(kontext_command("edit Make it blue"):find "road%-kontext%-1.jpg")
  end)

promise("tells why an edit failed", function()
  local message, level = kontext_command "edit car.jpg [emulate: request moderated]"
  equal(vim.log.levels.ERROR, level)
  assert(message:find "^kontext: car.jpg: .*moderation", message)
  message = kontext_command "edit gone.jpg Make it red"
  assert(message:find "gone.jpg", message)
  buffer("empty.txt", { "" })
  assert(kontext_command("edit"):find "no picture here")
  assert(kontext_command("draw car.jpg"):find "no command \"draw\"")
end)

promise("completes commands, files and numbers", function()
  local function complete(line) return vim.fn.getcompletion(line, "cmdline") end
  equal({ "again", "cancel", "close", "edit", "list", "resume", "show" }, complete "Kontext ")
  equal({ "cancel", "close" }, complete "Kontext c")
  equal({ "range-kontext-1.jpg", "range.jpg" }, complete "Kontext edit ran")
  equal({}, complete "Kontext cancel ")
  assert(vim.tbl_contains(complete "Kontext show ", "1"))
end)

promise("runs nothing that stands in a file's name, however odd it is", function()
  local odd = { "odd `touch ran`.jpg", "odd $(touch ran).jpg", [[odd\name %d.jpg]],
    "odd|bar #1.jpg", "odd\27]0;t\7.jpg" }
  for _, file in ipairs(odd) do copy(file) end
  local offered = require("kontext.nvim").complete([[odd\ ]], [[Kontext edit odd\ ]])
  equal({ [[odd\ $(touch\ ran).jpg]], [[odd\ `touch\ ran`.jpg]] }, offered)
  equal({ [[odd\\name\ %d.jpg]] },
    require("kontext.nvim").complete([[odd\\]], [[Kontext edit odd\\]]))
  for n, file in ipairs(odd) do
    local word = file:gsub("[\\ ]", "\\%0")
    local message = kontext_command("edit " .. word .. " Make it red")
    assert(message:find "is ready", message)
    assert(not message:find "%c", message)
    local stem = file:gsub("%.jpg$", "")
    assert(vim.loop.fs_stat(stem .. "-kontext-1.jpg"), file .. " is not beside itself: " .. n)
  end
  buffer("odd.md", { "![x](odd `touch ran`.jpg)" })
  vim.api.nvim_win_set_cursor(0, { 1, 5 })
  assert(kontext_command("edit Make it red"):find "touch ran`%-kontext%-2.jpg")
  equal(nil, vim.loop.fs_stat "ran")
  vim.wait(1000) -- until these edits have shown theirs
end)

promise("takes what a user types for a file: the buffer's name, home, a variable", function()
  local named = require("kontext.nvim.paths").named
  vim.cmd "edit own.jpg"
  equal(out .. "/own.jpg", named "%")
  equal(out .. "/own.png", named "%:r.png")
  equal(vim.env.HOME .. "/x.jpg", named "~/x.jpg")
  vim.env.KONTEXT_PLACE = out
  equal(out .. "/x.jpg", named "$KONTEXT_PLACE/x.jpg")
  equal("`id`.jpg", named "`id`.jpg")
  equal("*.jpg", named "*.jpg")
end)

promise("keeps an unfinished edit inside its folder, whatever the service calls it", function()
  local unfinished = require "kontext.nvim.unfinished"
  local job = { id = "../../victim", status = "pending" }
  function job.token() return "t" end
  function job.ended() return false end
  unfinished.keep({ job = job, file = "f", prompt = "p", path = "x" }, nil)
  local kept = unfinished.list()
  equal({ 1, "t", vim.fn.stdpath "data" .. "/kontext" },
    { #kept, kept[1].token, vim.fn.fnamemodify(kept[1].kept, ":h") })
  unfinished.forget(kept[1], nil)
  vim.fn.writefile({ "7" }, vim.fn.stdpath "data" .. "/kontext/odd.json")
  equal({}, unfinished.list())
end)

promise("gives the edit to on_ready instead, where that is set", function()
  local got
  vim.cmd "Kontext close"
  require("kontext.nvim").setup { on_ready = function(edit) got = edit end,
    params = { output_format = "png" } }
  kontext_command "edit car.jpg Make it yellow"
  equal({ "Make it yellow", out .. "/car-kontext-1.png" }, { got.prompt, got.path })
  equal("png", got.image.format)
  vim.wait(1000) -- time for a preview that must not come
  equal(nil, float(true))
end)

promise("checks its health, and tells no key", function()
  vim.cmd "checkhealth kontext"
  local text = table.concat(lines(), "\n")
  for _, words in ipairs { "core.so loads", "libcurl [%d.]+", "resolver is asynchronous", "TLS: ",
    "JSON: ", "%d+ credits" } do
    assert(text:find(words), words .. " is not in:\n" .. text)
  end
  assert(not text:find "ERROR", text)
  assert(not text:find(os.getenv "BFL_API_KEY", 1, true), text)
end)

promise("says in its health what is wrong with the key", function()
  require("kontext.nvim").setup { client = { api_key = "bad" } }
  vim.cmd "checkhealth kontext"
  local text = table.concat(lines(), "\n")
  assert(text:find "ERROR.*BFL_API_KEY", text)
end)

promise("has help for each command", function()
  local folder = vim.fn.tempname()
  vim.fn.mkdir(folder .. "/doc", "p")
  local source = vim.api.nvim_get_runtime_file("doc/kontext.txt", false)[1]
  assert(vim.loop.fs_copyfile(source, folder .. "/doc/kontext.txt"))
  vim.cmd("helptags " .. folder .. "/doc")
  vim.opt.runtimepath:prepend(folder)
  for _, name in ipairs(require("kontext.nvim").complete("", "Kontext ")) do
    vim.cmd("help :Kontext-" .. name)
    equal("help", vim.bo.buftype) -- its filetype is the modeline's, which 0.10 ignores for root
    assert(vim.api.nvim_get_current_line():find("*:Kontext-" .. name .. "*", 1, true))
  end
end)

local file = assert(io.open(out .. "/results", "w"))
for _, one in ipairs(promises) do
  local kept, problem = xpcall(one.fn, debug.traceback)
  file:write(vim.json.encode { name = one.name, problem = not kept and problem or nil }, "\n")
end
file:close()
vim.cmd "qall!"
