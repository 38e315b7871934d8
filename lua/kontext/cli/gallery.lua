--- --gallery: a page that shows each edit before and after, in one file that loads nothing. It
--- holds small copies without metadata, so that it can be passed on.
local check = require "kontext.job.check"
local core = require "kontext.core"
local kontext = require "kontext"
local names = require "kontext.cli.names"
local page = require "kontext.cli.gallery_page"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"

local gallery = {}

---@class kontext.GalleryRow
---@field name string what the edit is called
---@field prompt string?
---@field before table? {path=} or {bytes=}
---@field after table? the same; nil: the edit has made nothing
---@field parent integer? the row whose result this one edits
---@field region table? {x=, y=, width=, height=} of the upright picture
---@field model string?
---@field seed integer|string?
---@field cost number? credits
---@field seconds number?
---@field note string? a remark
---@field error table? {kind, message, charged}

local Gallery = {}
Gallery.__index = Gallery

-- The longer side of the copies in pixels: for few pictures, for more, for many.
local sides = { { 12, 1568 }, { 60, 1200 }, { math.huge, 800 } }
local strip_height = 144 -- pixels
local most_raw = 8 * 1024 * 1024 -- bytes of a picture that we cannot decode and the browser can
local around = 0.35 -- of a region's size, that is shown around it

--- Returns why a page cannot have this name, or nil.
---@param path string
---@return table? err
function gallery.mistake(path)
  local extension = (path:match "%.(%w+)$" or ""):lower()
  if extension ~= "html" and extension ~= "htm" then
    return { kind = "invalid", charged = false, message = ("--gallery writes a web page: %s must "
      .. "end in .html"):format(path) }
  end
  local good, err = names.check(path)
  return not good and err or nil
end

--- Returns the region that an edit's parameters name, in pixels, or nil.
---@param wanted table input_image; region or mask
---@return table?
function gallery.region(wanted)
  local source = wanted.input_image
  if not (wanted.region or wanted.mask) or not source or not source.path then return nil end
  local asked, plan = pcall(kontext.region, source,
    wanted.mask and { mask = wanted.mask.path } or wanted.region)
  return asked and plan and plan.region or nil
end

--- Returns a row for an edit.
---@param wanted table its parameters
---@param image kontext.Image? what it has made
---@param job kontext.Job?
---@param err table? what it has ended with
---@return kontext.GalleryRow
function gallery.row(wanted, image, job, err)
  image = image or {}
  local before = wanted.input_image
  local after = image.path and { path = image.path } or image.bytes and { bytes = image.bytes }
  if before and before.path and after and after.path
    and names.same_file(after.path, { before.path }) then before = nil end -- it was replaced
  return { name = before and (before.path or before.url) or "standard input",
    prompt = wanted.prompt, before = before, after = after or nil, region = gallery.region(wanted),
    model = wanted.model, seed = image.seed, cost = image.cost or job and job.cost,
    seconds = image.duration, error = err }
end

--- Makes a gallery.
---@param path string
---@return table
function gallery.new(path)
  return setmetatable({ path = path, rows = {}, began = os.time() }, Gallery)
end

--- Adds an edit.
---@param row kontext.GalleryRow
function Gallery:add(row)
  self.rows[#self.rows + 1] = row
end

local entities = { ["&"] = "&amp;", ["<"] = "&lt;", [">"] = "&gt;", ['"'] = "&quot;",
  ["'"] = "&#39;" }

--- Escapes a text for HTML. The text may be a stranger's: no part of it acts as markup, or reorders
--- the text around it.
---@param text any
---@return string
function gallery.escape(text)
  return (screen.escape((tostring(text):gsub("%s+", " "))):gsub("[&<>\"']", entities))
end

local escape = gallery.escape

-- Returns the last part of a path: a page that is passed on does not show the folders.
local function base(path)
  return path:match "([^/]+)/*$" or path
end

-- Returns the sides of the picture, scaled so that the longer one has at most `most` pixels.
local function fitting(width, height, most)
  local scale = math.min(1, most / math.max(width, height))
  return math.max(1, math.floor(width * scale + 0.5)), math.max(1, math.floor(height * scale + 0.5))
end

local function data_url(bytes, format)
  return ("data:image/%s;base64,%s"):format(format, core.base64(bytes))
end

-- Returns the bytes of a source.
local function bytes_of(source)
  if source.bytes then return source.bytes end
  return (core.read(source.path))
end

-- Returns what the picture's header says, or nil.
local function look(source)
  return source and (source.path or source.bytes) and (check.source(source, true)) or nil
end

-- Returns { url, width, height } of a picture for the page, or nil. `part` is a rectangle in the
-- upright picture.
local function picture(source, most, part)
  local info = look(source)
  if not info then return nil end
  local whole_width, whole_height = check.upright(info)
  local width, height = fitting(part and part.width or whole_width,
    part and part.height or whole_height, most)
  local small = core.thumbnail(source, math.min(width, 4096), math.min(height, 4096), "jpeg", part)
  if small then
    return { url = data_url(small, "jpeg"), width = width, height = height, of = { whole_width,
      whole_height } }
  end
  if part or info.format ~= "webp" or info.bytes > most_raw then return nil end
  local raw = bytes_of(source) -- there is no decoder for it here, but the browser has one
  return raw and { url = data_url(raw, "webp"), width = width, height = height,
    of = { whole_width, whole_height } }
end

-- Returns a region with some of its surroundings, inside the picture.
local function widened(region, width, height)
  local part = {}
  for _, side in ipairs { { "x", "width", width }, { "y", "height", height } } do
    local at, long, whole = side[1], side[2], side[3]
    local more = region[long] * around
    local from = math.max(0, math.floor(region[at] - more))
    part[at] = from
    part[long] = math.max(1, math.min(whole, math.ceil(region[at] + region[long] + more)) - from)
  end
  return part
end

local function image(of, class, alt)
  return ('<img class="%s" alt="%s" width="%d" height="%d" src="%s">'):format(class, escape(alt),
    of.width, of.height, of.url)
end

-- Returns whether the shapes of two pictures differ so much that neither must be stretched.
local function are_apart(one, other)
  local ratio = one.width / one.height * other.height / other.width
  return ratio > 1.06 or ratio < 1 / 1.06
end

-- Writes one slider.
local function write_view(out, before, after, more)
  out('<div class="view"', more.hidden and " hidden" or "", ">")
  out(image(after, "after", "after"))
  out(image(before, are_apart(before, after) and "before apart" or "before", "before"))
  if more.rect then
    local rect = more.rect
    out(('<svg viewBox="0 0 %d %d" preserveAspectRatio="none" aria-hidden="true"><rect x="%d" '
      .. 'y="%d" width="%d" height="%d"/></svg>'):format(more.of[1], more.of[2], rect.x, rect.y,
        rect.width, rect.height))
  end
  out('<span class="name left">before</span><span class="name right">after</span>',
    '<span class="bar"></span><input type="range" min="0" max="100" step="1" value="50" ',
    'aria-label="Where before ends and after begins, in per cent">', "</div>\n")
end

-- Writes the sliders of a row, or the pictures that there are.
local function write_pictures(out, row, most)
  local before, after = picture(row.before, most), picture(row.after, most)
  if not (before and after) then
    local one = after or before
    if one then out(image(one, "alone", after and "after" or "before"), "\n") end
    return
  end
  local near = {}
  if row.region and before.of[1] == after.of[1] and before.of[2] == after.of[2] then
    local part = widened(row.region, before.of[1], before.of[2])
    near = { before = picture(row.before, most, part), after = picture(row.after, most, part) }
  end
  local has_both = near.before and near.after
  if has_both then write_view(out, near.before, near.after, {}) end
  write_view(out, before, after, { hidden = has_both, rect = row.region, of = after.of })
  if has_both then
    out('<button type="button" class="zoom">Show the whole picture</button>\n')
  end
end

-- Returns the facts of a row, each a label and a text.
local function facts(row)
  local list = {}
  local function add(label, text)
    if text then list[#list + 1] = { label, text } end
  end
  add("file", row.after and row.after.path and base(row.after.path))
  local info = look(row.after)
  add("size", info and ("%d × %d"):format(check.upright(info)))
  add("seed", row.seed)
  add("model", row.model)
  if row.region then
    add("region", ("%d × %d at %d, %d"):format(row.region.width, row.region.height, row.region.x,
      row.region.y))
  end
  add("cost", row.cost and ("%.14g credits (%.2f USD)"):format(row.cost, row.cost / 100))
  add("time", row.seconds and ("%.1f s"):format(row.seconds))
  add("note", row.note)
  return list
end

local charged = { [true] = "charged", [false] = "not charged" }

-- Writes a row: its pictures and its facts.
local function write_row(out, row, most)
  out(row.error and '<figure class="failed">\n' or "<figure>\n")
  write_pictures(out, row, most)
  out("<figcaption>\n")
  if row.prompt then out('<p class="prompt">', escape(row.prompt), "</p>\n") end
  if row.error then
    out('<p class="error"><strong>', escape(row.error.kind), "</strong>: ",
      escape(report.in_options({}, row.error.message)), row.error.message:find "charged" and ""
        or " (" .. (charged[row.error.charged] or "it may have been charged") .. ")", "</p>\n")
  end
  out('<dl><div><dt>of</dt><dd>', escape(base(row.name)), "</dd></div>")
  for _, fact in ipairs(facts(row)) do
    out("<div><dt>", escape(fact[1]), "</dt><dd>", escape(fact[2]), "</dd></div>")
  end
  out("</dl>\n</figcaption>\n</figure>\n")
end

-- Returns the rows in groups: a chain or a tree is one group.
local function groups_of(rows)
  local groups, of = {}, {}
  local function root(n)
    local seen = {}
    while rows[n].parent and rows[rows[n].parent] and not seen[n] do
      seen[n] = true
      n = rows[n].parent
    end
    return n
  end
  for n in ipairs(rows) do
    local first = root(n)
    if not of[first] then
      of[first] = {}
      groups[#groups + 1] = of[first]
    end
    table.insert(of[first], rows[n])
  end
  return groups
end

-- Writes the strip of a chain: small pictures to choose from.
local function write_strip(out, group)
  out('<div class="strip" role="group" aria-label="Steps" hidden>\n')
  local start = picture(group[1].before, strip_height * 2)
  if start then out('<span class="start">', image(start, "small", "before"), "before</span>\n") end
  for n, row in ipairs(group) do
    local info = look(row.after)
    local width, height
    if info then width, height = check.upright(info) end
    local small = info and picture(row.after, math.ceil(math.max(1, width / height)
      * strip_height))
    out(('<button type="button" aria-pressed="false" title="%s">'):format(escape(row.prompt or "")),
      small and image(small, "small", "step " .. n) or '<span class="none">×</span>', tostring(n),
      "</button>\n")
  end
  out("</div>\n")
end

-- Returns the page's headline: how many edits there are and what they cost.
local function summary(rows)
  local made, failed, cost = 0, 0, 0
  for _, row in ipairs(rows) do
    if row.error then failed = failed + 1 else made = made + 1 end
    cost = cost + (row.cost or 0)
  end
  local parts = { ("%d made"):format(made) }
  if failed > 0 then parts[#parts + 1] = ("%d failed"):format(failed) end
  if cost > 0 then parts[#parts + 1] = ("%.14g credits (%.2f USD)"):format(cost, cost / 100) end
  return table.concat(parts, ", ")
end

local function digest(text)
  return "'sha256-" .. core.base64(core.sha256(text)) .. "'"
end

local function write_head(out, self)
  out([[
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src ]],
    digest(page.style), "; script-src ", digest(page.script), "; base-uri 'none'; form-action ",
    [['none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="kontext">
<title>]], escape(base(self.path)), ": before and after</title>\n<style>", page.style,
    "</style>\n</head>\n<body>\n<header>\n<h1>Before and after</h1>\n<p>",
    escape(summary(self.rows)), '</p>\n<p class="soft">', os.date("%Y-%m-%d %H:%M", self.began),
    ". Drag the line, or use the arrow keys; a shows all of after, b all of before.</p>\n",
    "</header>\n<main>\n")
end

-- Writes the page through `out`; calls `heed` between two edits.
local function write_page(self, out, heed)
  local most
  for _, row in ipairs(sides) do
    if #self.rows <= row[1] then
      most = row[2]
      break
    end
  end
  write_head(out, self)
  local done = 0
  for _, group in ipairs(groups_of(self.rows)) do
    out "<article>\n"
    if #group > 1 then write_strip(out, group) end
    for _, row in ipairs(group) do
      heed(done, #self.rows)
      write_row(out, row, most)
      done = done + 1
    end
    out "</article>\n"
  end
  out("</main>\n<script>", page.script, "</script>\n</body>\n</html>\n")
end

-- Makes a new file beside the page; returns it and its name.
local function open_beside(path)
  for n = 1, 100 do
    local name = ("%s.%d-%d.part"):format(path, core.process(), n)
    local mine, message = core.reserve(name)
    if mine then return io.open(name, "wb"), name end
    if message then return nil, message end
  end
  return nil, "no free name beside it"
end

--- Writes the page: afterwards either the old file is there or the whole new one. A failure is
--- reported and does not touch the edits.
---@param options table
---@return integer code
function Gallery:write(options)
  local file, name = open_beside(self.path)
  local done, message = file ~= nil, name
  if file then
    done, message = pcall(write_page, self, function(...)
      local written, why = file:write(...)
      if not written then error(why, 0) end
    end, function(n, total)
      if options.progress and total > 3 then
        screen.draw(("writing %s: %d of %d"):format(self.path, n, total))
      end
    end)
    screen.wipe()
    local closed, why = file:close()
    if done and not closed then done, message = false, why end
    if done then done, message = os.rename(name, self.path) end
    if not done then os.remove(name) end
  end
  if done then
    report.note(options, "the gallery is " .. self.path)
    return 0
  end
  return report.fail(options, { kind = "file",
    message = ("the gallery cannot be written: %s"):format(type(message) == "table"
      and message.message or tostring(message)) })
end

return gallery
