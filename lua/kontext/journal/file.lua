--- The journal in a file: one line per fact about an edit, so that a crash at any moment neither
--- loses a paid picture nor repeats an edit that may have been paid for.
---
--- A line is a checksum, the fact, the edit's number in this journal, and what is known of it:
---   INTENT     about to be sent; synced before anything connects
---   SENDING    the first byte of the body is about to go out; synced before it does
---   ACCEPTED   the task's id and URL; synced before anybody sees them
---   SAVED      the path, size and digest of the picture; after the file and its folder are synced
---   FAILED     the service said that there is no picture, or it was never sent
---   AMBIGUOUS  it was sent whole, and what came of it is not known
---   LOST       it was accepted, and the service no longer has it
---
--- Of an edit that is saved and over, only the place of its line is in memory: the shelf. A journal
--- that was made shorter has the lines of those first, after a line that tells where they end:
---   FINISHED   the last number, where the part ends, and how many lines it has
--- Whoever opens it reads what comes after that part; the part itself is read when a key is asked
--- for.
local core = require "kontext.core"
local encoding = require "kontext.encoding"
local system = require "kontext.system"
local token = require "kontext.token"
local wording = require "kontext.wording"

local file = {}

---@class kontext.JournalEntry
---@field number integer
---@field state "unsent"|"ambiguous"|"accepted"|"saved"|"failed"|"lost"
---@field line string the last fact's
---@field key string?
---@field identity string?
---@field id string? the task's
---@field path string? of the saved picture

---@class kontext.Journal
---@field path string
local Journal = {}
Journal.__index = Journal

local piece = 65536 -- bytes that are read at once
local longest = 4 * 1024 * 1024 -- bytes of a line: what is longer is damage
local digits = 15 -- of an edit's number at the most: a double holds them all
local far = 1e14 -- a number from here on is damage: counting on behind it would leave the digits
-- More than this many outlived lines, and half of all: the journal is made shorter.
local spare_lines = { opened = 64, running = 4096 }

local few = 1000 -- finished edits: with up to so many it is read as a whole

-- The state of an edit after a restart, by its last fact.
local states = {
  INTENT = "unsent", SENDING = "ambiguous", ACCEPTED = "accepted", SAVED = "saved",
  FAILED = "failed", AMBIGUOUS = "ambiguous", LOST = "lost",
}

-- Facts whose loss would cost money or a picture: these are synced.
local synced = { INTENT = true, ACCEPTED = true, SAVED = true, AMBIGUOUS = true, LOST = true }

-- Which of several edits of one key matters most to a second run.
local rank = { accepted = 4, ambiguous = 3, lost = 3, saved = 2, failed = 1, unsent = 0 }

-- Returns a line for the facts of an edit.
local function line(fact, number, told)
  local text = ("%s %.0f %s"):format(fact, number, told)
  return token.sum(text) .. " " .. text .. "\n"
end

-- Reading ----------------------------------------------------------------------------------------

local Reader = {}
Reader.__index = Reader

-- Makes what reads the lines from one place to another, or to the end of the file.
local function reader(log, from, to)
  return setmetatable({ log = log, at = from, to = to or math.huge, rest = "" }, Reader)
end

-- Reads one piece, and calls `fn` with each whole line and its place. Returns true; false at the
-- end, where a last line without its own end is one too; or nil, message and code.
function Reader:step(fn)
  local next_at = self.at + #self.rest
  local size = math.max(0, math.min(piece, self.to - next_at))
  local bytes, message, code = self.log:read(size, next_at)
  if not bytes then return nil, message, code end
  local text, first = self.rest .. bytes, 1
  local stop = text:find("\n", #self.rest + 1, true)
  while stop do
    if stop > first and not self.too_long then
      fn(text:sub(first, stop - 1), self.at + first - 1)
    end
    self.too_long, first = nil, stop + 1
    stop = text:find("\n", first, true)
  end
  self.at, self.rest = self.at + first - 1, text:sub(first)
  local ends = size < piece or #bytes < size
  if ends and self.rest ~= "" and not self.too_long then fn(self.rest, self.at) end
  if ends or #self.rest > longest then
    self.at, self.too_long = self.at + #self.rest, #self.rest > longest or nil
    self.rest = ""
  end
  return not ends
end

-- Calls `fn` with each line. Returns true; or nil, message and code.
local function each_line(log, from, to, fn)
  local lines = reader(log, from, to)
  local more, message, code
  repeat more, message, code = lines:step(fn) until not more
  if more == nil then return nil, message, code end
  return true
end

-- Takes a line apart. Returns its fact, number and the rest; or nil where it is not whole.
local function parts_of(text)
  local sum, rest = text:match "^(%x%x%x%x%x%x%x%x) (.*)$"
  local fact, number, told = (rest or ""):match "^(%u+) (%d+) (.*)$"
  if not states[fact] or #number > digits or token.sum(rest) ~= sum then return nil end
  return fact, tonumber(number), told
end

-- Adds what a line says to an entry.
local function learn(entry, text, fact, told)
  local had_key = entry.key
  entry.state, entry.line = states[fact], text
  for name, value in pairs(token.values(told:match "^kontext1:(.*):%x+$" or told)) do
    entry[name] = value
  end
  entry.key = had_key or entry.key -- an edit keeps its key: find() knows it by this one
end

-- The shelf --------------------------------------------------------------------------------------

-- Returns a number for a key, which few others have.
local function hash(key)
  local a, b, c, d, e, f = core.sha256(key):byte(1, 6)
  return ((((a * 256 + b) * 256 + c) * 256 + d) * 256 + e) * 256 + f
end

-- Notes that an edit of that number has the key.
local function note_key(self, key, number)
  local at = hash(key)
  local others = self._numbers[at]
  if not others then
    self._numbers[at] = number
  elseif type(others) == "number" then
    if others ~= number then self._numbers[at] = { others, number } end
  else
    for _, other in ipairs(others) do if other == number then return end end
    others[#others + 1] = number
  end
end

local take

-- Reads the finished part, of which only the size was known.
local function read_shelf(self)
  local part = self._unread
  if not part then return end
  self._unread = nil
  each_line(self._log, part.from, part.to, function(text, offset)
    local fact, number = parts_of(text)
    if not fact or self._entries[number] then return end
    if fact ~= "SAVED" then return take(self, text, offset) end -- it is not ours
    self._shelf[number] = offset
    local key = text:match ".*[ ,:]key=([^,:]*)"
    if key then note_key(self, token.unescape(key), number) end
  end)
end

-- Returns the entry of an edit on the shelf, or nil.
local function shelved(self, number)
  local offset = self._shelf[number]
  if not offset then return nil end
  local text = self._log:read(4096, offset)
  if text and not text:find("\n", 1, true) then text = self._log:read(longest, offset) end
  text = text and text:match "^[^\n]+"
  local fact, same, told = nil, nil, nil
  if text then fact, same, told = parts_of((text:gsub("\r$", ""))) end
  if same ~= number then return nil end
  local entry = { number = number }
  learn(entry, text, fact, told)
  return entry
end

local function add_by_key(self, entry)
  local same = self._by_key[entry.key]
  if same then same[#same + 1] = entry else self._by_key[entry.key] = { entry } end
end

-- Takes an entry out of memory.
local function drop(self, entry)
  self._entries[entry.number], self._live = nil, self._live - 1
  local same = entry.key and self._by_key[entry.key] or {}
  for i = #same, 1, -1 do
    if same[i] == entry then table.remove(same, i) end
  end
  if entry.key and #same == 0 then self._by_key[entry.key] = nil end
end

-- Returns whether nothing was paid for an edit: it is nothing to remember.
local function is_unpaid(entry)
  return entry.state == "failed" or entry.state == "unsent"
end

-- Lets an entry go that nobody is at work on: of a saved one the place is kept.
local function let_go(self, entry)
  if not entry or self._open[entry.number] then return end
  if is_unpaid(entry) then
    drop(self, entry)
  elseif entry.state == "saved" and entry.at then
    drop(self, entry)
    self._shelf[entry.number], self._shelved = entry.at, self._shelved + 1
    if entry.key then note_key(self, entry.key, entry.number) end
  end
end

-- Takes over one line, which begins there; returns whether it is whole.
function take(self, text, offset)
  local fact, number, told = parts_of(text)
  if not fact then return false end
  local entry = self._entries[number]
  if not entry then
    if number <= self._finished then read_shelf(self) end
    entry = shelved(self, number)
    if entry then self._shelf[number], self._shelved = nil, self._shelved - 1 end
    entry = entry or { number = number }
    self._entries[number], self._live = entry, self._live + 1
    if entry.key then add_by_key(self, entry) end
  end
  if number < far then self._last = math.max(self._last, number) end
  local had_key = entry.key
  learn(entry, text, fact, told)
  entry.at, self._taken = offset, entry
  if entry.key and not had_key then add_by_key(self, entry) end
  return true
end

-- Returns entries in the order in which they were begun.
local function ordered(entries)
  local list = {}
  for _, entry in pairs(entries) do list[#list + 1] = entry end
  table.sort(list, function(a, b) return a.number < b.number end)
  return list
end

-- Making it shorter ------------------------------------------------------------------------------

-- Returns the line before the finished part; all of them have one length.
local function finished_line(last, to, lines)
  local text = ("FINISHED %015.0f to=%015.0f,lines=%015.0f"):format(last, to, lines)
  return token.sum(text) .. " " .. text .. "\n"
end

local head_size = #finished_line(0, 0, 0)

-- Returns whether it is worth it; `unpaid` entries would not be kept.
local function is_worn(self, spare, unpaid)
  local kept = self._live + self._shelved - (unpaid or 0)
  return self._lines - kept > spare and self._lines >= 2 * kept
end

-- Adds a finished line to the draft.
local function keep_finished(draft, number, text)
  draft.shelf[number] = draft.size
  draft.size, draft.lines = draft.size + #text + 1, draft.lines + 1
  draft.bytes[#draft.bytes + 1] = text
end

-- Goes on by a piece. Returns whether there is more to read; or nil when the draft is lost.
local function draft_more(self)
  local draft = self._draft
  local more = draft.lines_of:step(function(text, offset)
    local number = tonumber(text:match "^%x+ %u+ (%d+) " or "")
    if not number then return end
    if self._shelf[number] == offset then
      keep_finished(draft, number, text)
    elseif self._entries[number] then
      draft.aside[#draft.aside + 1] = { text = text, number = number, offset = offset }
    end
  end)
  if more ~= nil and #draft.bytes > 0 then
    draft.bytes[#draft.bytes + 1] = ""
    if not self._log:draft(table.concat(draft.bytes, "\n")) then more = nil end
    draft.bytes = {}
  end
  return more
end

-- Puts the draft in the journal's place. Returns whether it is there.
local function commit(self)
  local draft, live = self._draft, {}
  for _, line_ in ipairs(draft.aside) do
    if self._shelf[line_.number] == line_.offset then
      keep_finished(draft, line_.number, line_.text) -- it is over since it was read
    elseif self._entries[line_.number] then
      live[#live + 1] = line_
    end
  end
  local head = finished_line(self._last, draft.size, draft.lines)
  local size, moved = draft.size, {}
  for _, line_ in ipairs(live) do
    local entry = self._entries[line_.number]
    if entry.at == line_.offset then moved[entry] = size end
    size = size + #line_.text + 1
    draft.bytes[#draft.bytes + 1] = line_.text
  end
  draft.bytes[#draft.bytes + 1] = ""
  local done = self._log:replace(table.concat(draft.bytes, "\n"), head)
  if not done and self._log:read(#head) ~= head then return false end
  self._shelf, self._lines = draft.shelf, draft.lines + #live
  for entry, offset in pairs(moved) do entry.at = offset end
  return true
end

-- Makes the journal shorter by one piece of the work. Its last step waits until no upload is about
-- to begin: the engine writes SENDING into the file that it was given.
local function shorten(self)
  local draft = self._draft
  if draft.at_end and next(self._marked) then return end
  local more = draft_more(self)
  if more == false then
    draft.at_end = true
    if next(self._marked) then return end
    if commit(self) then
      self._draft = nil
      return
    end
    more = nil
  end
  if more == nil then -- where it cannot be, the longer one serves as well
    self._log:draft()
    self._draft, self._patience = nil, 2 * self._lines
  end
end

-- Begins to make it shorter where most of its lines are outlived: afterwards one line an edit is
-- there, none for what failed.
local function begin_to_shorten(self, spare)
  if self._draft or self._lines < self._patience or not is_worn(self, spare) then return end
  read_shelf(self)
  self._draft = { lines_of = reader(self._log, 0), shelf = {}, aside = {}, size = head_size,
    lines = 0, bytes = {} }
  local room = (" "):rep(head_size - 1) .. "\n"
  if not self._log:draft(room) then self._draft, self._patience = nil, 2 * self._lines end
end

-- Makes a small journal shorter at once, in the order of the edits.
local function rewrite(self)
  if not is_worn(self, spare_lines.opened) then return end
  read_shelf(self)
  local entries, texts, size = {}, {}, 0
  for number, entry in pairs(self._entries) do entries[number] = entry end
  for number in pairs(self._shelf) do entries[number] = shelved(self, number) end
  entries = ordered(entries)
  for i, entry in ipairs(entries) do
    texts[i], entry.place, size = entry.line, size, size + #entry.line + 1
  end
  texts[#texts + 1] = ""
  local text = table.concat(texts, "\n")
  if not self._log:replace(text) and self._log:read(#text + 1) ~= text then return end
  self._lines, self._finished = #entries, 0
  for _, entry in ipairs(entries) do
    local on_shelf = self._shelf[entry.number]
    if on_shelf then self._shelf[entry.number] = entry.place end
    entry.at, entry.place = entry.place, nil
  end
end

-- Opening ----------------------------------------------------------------------------------------

-- Returns whether a file without a whole line may be a journal whose first line was torn: a part of
-- a line's sum. One of bytes that were never written is one too.
local function may_be_torn(text)
  return text:find "^%x%x%x%x%x%x%x%x " ~= nil or text:find "^%x?%x?%x?%x?%x?%x?%x?%x?$" ~= nil
end

-- Returns where the finished part ends, its last number and its lines; or nil where there is none.
local function finished_part(log)
  local text = log:read(head_size, 0) or ""
  local last, to, lines = text:match "^%x+ FINISHED (%d+) to=(%d+),lines=(%d+)\n$"
  last, to, lines = tonumber(last), tonumber(to), tonumber(lines)
  if not last or finished_line(last, to, lines) ~= text or to < head_size
    or log:read(1, to - 1) ~= "\n" then return nil end
  return to, last, lines
end

-- Reads the journal. Returns whether it has anything; or nil, message and code.
local function read_all(self)
  local log, lines, strange, from = self._log, 0, false, 0
  local to, last, count = finished_part(log)
  if to then
    self._unread, from = { from = head_size, to = to }, to
    self._last, self._finished, self._shelved, lines = last, last, count, count
  end
  local done, message, code = each_line(log, from, nil, function(text, offset)
    text = text:gsub("\r$", "") -- the last too when only its line's end is torn off
    if take(self, text, offset) then lines = lines + 1 end
    strange = strange or text:find "[^%z]" ~= nil
    local entry = self._taken
    if entry and entry.state == "saved" then let_go(self, entry) end
    self._taken = nil
  end)
  if not done then return nil, "cannot read the journal: " .. message, code end
  self._lines = lines
  if lines == 0 and not to and strange and not may_be_torn(log:read(piece) or "") then
    return nil, wording.cut(self.path, 300) .. " is no journal: choose a name that no file has",
      "EEXIST"
  end
  return lines > 0 or strange or to ~= nil
end

-- Lets go what was not paid for where the journal is made shorter, and has it no more then.
local function forget_unpaid(self)
  local unpaid = {}
  for _, entry in pairs(self._entries) do
    if is_unpaid(entry) then unpaid[#unpaid + 1] = entry end
  end
  if not is_worn(self, spare_lines.opened, #unpaid) then return end
  for _, entry in ipairs(unpaid) do let_go(self, entry) end
end

--- Opens and locks a journal. Rejects a file that is not a journal.
---@param path string
---@param on? kontext.System default: the machine
---@param create? boolean make it where there is none; default true
---@return kontext.Journal? journal
---@return string? message
---@return string? code
function file.open(path, on, create)
  if path:find "%z" then return nil, "the journal's path contains a NUL byte: choose another" end
  local log, message, code = (on or system).log(path, { create = create ~= false })
  if not log then
    if code == "EAGAIN" then
      message = path .. " is held by another process that runs edits"
    elseif code == "ENOENT" and create == false then
      return nil, ("there is no journal %s: check its name"):format(path), code
    end
    return nil, "cannot open the journal: " .. wording.file_advice(message, code), code
  end
  local self = setmetatable({ _log = log, _entries = {}, _by_key = {}, _open = {}, _marked = {},
    _shelf = {}, _numbers = {}, _shelved = 0, _live = 0, _lines = 0, _patience = 0, _finished = 0,
    _last = 0, path = path }, Journal)
  local known, problem, why = read_all(self)
  if known == nil then
    log:close()
    return nil, problem, why
  end
  -- A killed process may have left lines that a power failure would still take back; from here on
  -- they are acted upon. Where they cannot be synced, the first INTENT cannot either.
  if known then log:append("", true) end
  forget_unpaid(self)
  if self._shelved <= few then
    rewrite(self)
  else
    begin_to_shorten(self, spare_lines.opened)
    while self._draft do shorten(self) end
  end
  return self
end

-- Returns the line of a fact about a job.
local function written(known, fact, details)
  if details then
    for name, value in pairs(details) do known[name] = value end
  end
  return line(fact, known.entry, token.text(known))
end

--- Writes a fact about a job. Once the file was moved or deleted it begins no edit: a later run
--- would not find what was paid for.
---@param job kontext.Job
---@param fact string
---@param details? table<string, string> beside what the job knows of itself
---@return true? done
---@return string? message
---@return string? code
function Journal:record(job, fact, details)
  if fact == "UNSENT" then fact = "INTENT" end -- a line says again that nothing is in doubt
  local known = job:known()
  if not known.entry then
    repeat self._last = self._last + 1 until not self._entries[self._last]
    known.entry = self._last
    job:set_entry(known.entry)
  end
  if not job:ended() then self._open[known.entry] = true end
  local entry = self._entries[known.entry]
  if fact == "INTENT" then
    if not self._log:in_place() then
      return nil, self.path .. " was moved or deleted while it was in use: begin again with a new "
        .. "client", "ENOENT"
    elseif entry and entry.state == "unsent" then
      return true
    end
  end
  local text = written(known, fact, details)
  local stop, message, code = self._log:append(text, synced[fact] or false)
  if not stop then
    -- The file keeps its earlier fact; this process knows that nothing was paid for.
    if entry and fact == "FAILED" then entry.state = states.FAILED end
    return nil, message, code
  end
  take(self, text:sub(1, -2), stop - #text)
  self._lines, self._marked[known.entry] = self._lines + 1, nil
  let_go(self, self._entries[known.entry])
  begin_to_shorten(self, spare_lines.running)
  if self._draft then shorten(self) end
  return true
end

--- Returns the line that the engine writes before an upload's first byte, and the file for it.
---@param job kontext.Job
---@return table mark
function Journal:mark(job)
  local known = job:known()
  self._entries[known.entry].state = states.SENDING
  self._lines, self._marked[known.entry] = self._lines + 1, true
  return { log = self._log, line = written(known, "SENDING") }
end

--- Returns whether a picture may be saved: always, because the lock keeps other processes out.
---@return true
function Journal:may_save() -- luacheck: no self
  return true
end

--- Takes over what an earlier process began.
---@return true
function Journal:adopt() -- luacheck: no self
  return true
end

--- Returns whether this is the journal of that path.
---@param path string
---@return boolean
function Journal:is_at(path)
  return path == self.path
end

--- Notes that a job has ended in this process, so that an open edit can be resumed.
---@param job kontext.Job
function Journal:forget(job)
  local number = job:known().entry
  if number then self._open[number] = nil end
  if number then
    self._marked[number] = nil
    let_go(self, self._entries[number])
  end
end

--- Returns what is known of all edits, in the order in which they were begun: reads the whole file.
---@return kontext.JournalEntry[] entries
function Journal:entries()
  local entries = {}
  each_line(self._log, 0, nil, function(text)
    text = text:gsub("\r$", "")
    local fact, number, told = parts_of(text)
    if not fact then return end
    entries[number] = entries[number] or { number = number }
    learn(entries[number], text, fact, told)
  end)
  return ordered(entries)
end

--- Returns the edits that are not over, in the order in which they were begun.
---@return kontext.JournalEntry[] entries
function Journal:unfinished()
  return ordered(self._entries)
end

-- Returns whether an edit matters more to a second run than an earlier one of its key. What was in
-- doubt or lost, and was sent again as the user wished, has its picture: it is in doubt no more.
local function matters_more(entry, than)
  return rank[entry.state] >= rank[than.state]
    or entry.state == "saved" and than.state ~= "accepted"
end

--- Returns, of the edits with that key, the one that matters most: accepted before ambiguous and
--- lost, then saved, then failed; of equal ones the last. One that was saved later ends a doubt.
---@param key string
---@param ended? boolean leave out those that a job of this process is at work on
---@return kontext.JournalEntry?
function Journal:find(key, ended)
  local best
  for _, entry in ipairs(self._by_key[key] or {}) do
    local counts = not (ended and self:is_open(entry))
    if counts and (not best or matters_more(entry, best)) then best = entry end
  end
  read_shelf(self)
  local numbers = self._numbers[hash(key)]
  for _, number in ipairs(type(numbers) == "table" and numbers or { numbers }) do
    local entry = shelved(self, number)
    if entry and entry.key == key and (not best or rank.saved > rank[best.state]
      or number > best.number and matters_more(entry, best)) then best = entry end
  end
  return best
end

--- Returns the edit of that task, or nil.
---@param id string
---@return kontext.JournalEntry?
function Journal:find_task(id)
  for _, entry in pairs(self._entries) do
    if entry.id == id then return entry end
  end
  if self._shelved == 0 then return nil end
  read_shelf(self)
  local found
  each_line(self._log, 0, nil, function(text, offset)
    local number = not found and text:find(encoding.percent(id), 1, true)
      and tonumber(text:match "^%x+ SAVED (%d+) " or "")
    if number and self._shelf[number] == offset then
      local entry = shelved(self, number)
      if entry and entry.id == id then found = entry end
    end
  end)
  return found
end

--- Returns whether a job of this process is at work on the edit.
---@param entry kontext.JournalEntry
---@return boolean
function Journal:is_open(entry)
  return self._open[entry.number] == true
end

--- Unlocks and closes the journal.
function Journal:close()
  self._log:close()
end

return file
