--- The journal in a file: one line per fact about an edit, so that a crash at any moment loses
--- nothing that was paid for and repeats nothing that may have been.
---
--- A line is a checksum, the fact, the edit's number in this journal, and what is known of it:
---   INTENT     about to be sent; synced before anything connects
---   SENDING    the first byte of the body is about to go out; synced before it does
---   ACCEPTED   the task's id and URL; synced before anybody sees them
---   SAVED      the path, size and digest of the picture; after the file and its folder are synced
---   FAILED     the service said that there is no picture, or it was never sent
---   AMBIGUOUS  it was sent whole, and what came of it is not known
---   LOST       it was accepted, and the service no longer has it
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

local cap = 256 * 1024 * 1024 -- bytes of a journal that is read: a million edits
local digits = 15 -- of an edit's number at the most: a double holds them all
local far = 1e14 -- a number from here on is damage: counting on behind it would leave the digits
local spare_lines = 64 -- more than this many outlived lines, and half of all: it is compacted

-- What a restart makes of an edit's last fact.
local states = {
  INTENT = "unsent", SENDING = "ambiguous", ACCEPTED = "accepted", SAVED = "saved",
  FAILED = "failed", AMBIGUOUS = "ambiguous", LOST = "lost",
}

-- Facts whose loss would be the loss of money or of a picture.
local synced = { INTENT = true, ACCEPTED = true, SAVED = true, AMBIGUOUS = true, LOST = true }

-- Of several edits of one key the one that matters most to a second run.
local rank = { accepted = 4, ambiguous = 3, lost = 3, saved = 2, failed = 1, unsent = 0 }

-- Returns a line for the facts of an edit.
local function line(fact, number, told)
  local text = ("%s %.0f %s"):format(fact, number, told)
  return token.sum(text) .. " " .. text .. "\n"
end

-- Takes over one line; returns whether it is whole.
local function take(self, text)
  local sum, rest = text:match "^(%x%x%x%x%x%x%x%x) (.*)$"
  local fact, number, told = (rest or ""):match "^(%u+) (%d+) (.*)$"
  if not states[fact] or #number > digits or token.sum(rest) ~= sum then return false end
  number = tonumber(number)
  local entry = self._entries[number] or { number = number }
  self._entries[number] = entry
  if number < far then self._last = math.max(self._last, number) end
  local had_key = entry.key
  entry.state, entry.line = states[fact], text
  for name, value in pairs(token.values(told:match "^kontext1:(.*):%x+$" or told)) do
    entry[name] = value
  end
  entry.key = had_key or entry.key -- an edit keeps its key: find() knows it by this one
  if entry.key and not had_key then
    local same = self._by_key[entry.key]
    if same then same[#same + 1] = entry else self._by_key[entry.key] = { entry } end
  end
  return true
end

-- Returns the entries in the order in which they were begun.
local function ordered(self)
  local list = {}
  for _, entry in pairs(self._entries) do list[#list + 1] = entry end
  table.sort(list, function(a, b) return a.number < b.number end)
  return list
end

-- Replaces the file when most of its lines are outlived: one line an edit, none for what failed.
local function compact(self, lines)
  local kept = {}
  for _, entry in ipairs(ordered(self)) do
    if entry.state ~= "failed" and entry.state ~= "unsent" then kept[#kept + 1] = entry.line end
  end
  if lines - #kept <= spare_lines or lines < 2 * #kept then return true end
  kept[#kept + 1] = ""
  return self._log:replace(table.concat(kept, "\n"))
end

-- Returns whether a file without a whole line may be a journal whose first line was torn: a part of
-- a line's sum, or bytes that were never written.
local function may_be_torn(text)
  return text:find "^%x%x%x%x%x%x%x%x " ~= nil or text:find "^%x?%x?%x?%x?%x?%x?%x?%x?$" ~= nil
    or not text:find "[^%z]"
end

--- Opens a journal. It is held against other processes. A file that is none is refused.
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
  local text
  text, message, code = log:read(cap)
  if not text then return nil, "cannot read the journal: " .. message, code end
  local self = setmetatable({ _log = log, _entries = {}, _by_key = {}, _open = {},
    _last = 0, path = path }, Journal)
  local lines = 0
  for whole in text:gmatch "[^\n]+" do -- the last too when only its line's end is torn off
    if take(self, (whole:gsub("\r$", ""))) then lines = lines + 1 end
  end
  if lines == 0 and not may_be_torn(text) then
    log:close()
    return nil, wording.cut(path, 300) .. " is no journal: choose a name that no file has", "EEXIST"
  end
  -- A killed process may have left lines that a power failure would still take back; from here on
  -- they are acted upon. Where they cannot be synced, the first INTENT cannot either.
  if text ~= "" then log:append("", true) end
  compact(self, lines) -- where it cannot be, the longer one serves as well
  return self
end

-- Returns the line of a fact about a job.
local function written(known, fact, details)
  if details then
    for name, value in pairs(details) do known[name] = value end
  end
  return line(fact, known.entry, token.text(known))
end

--- Writes a fact about a job. Nothing is begun any more once the file was moved or deleted: nobody
--- would find in it what was paid for.
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
  local done, message, code = self._log:append(text, synced[fact] or false)
  if not done then
    -- The file keeps its earlier fact; this process knows that nothing was paid for.
    if entry and fact == "FAILED" then entry.state = states.FAILED end
    return nil, message, code
  end
  take(self, text:sub(1, -2))
  return true
end

--- Returns the line that says that a job's body begins to go out, for the engine to write when it
--- does, and where to write it.
---@param job kontext.Job
---@return table mark
function Journal:mark(job)
  local known = job:known()
  self._entries[known.entry].state = states.SENDING
  return { log = self._log, line = written(known, "SENDING") }
end

--- Returns whether a picture may be put in its place: nobody else holds this journal.
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

--- Takes note that a job has ended in this process: what it left open can be resumed.
---@param job kontext.Job
function Journal:forget(job)
  local number = job:known().entry
  if number then self._open[number] = nil end
end

--- Returns what is known of the edits, in the order in which they were begun.
---@return kontext.JournalEntry[] entries
function Journal:entries()
  return ordered(self)
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
  return best
end

--- Returns the edit of that task, or nil.
---@param id string
---@return kontext.JournalEntry?
function Journal:find_task(id)
  for _, entry in pairs(self._entries) do
    if entry.id == id then return entry end
  end
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
