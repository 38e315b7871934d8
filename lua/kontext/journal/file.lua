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
local digits = 15 -- at most in an edit's number: a double holds them exactly
local far = 1e14 -- a larger number is damage: counting on from it would exceed the digits
local spare_lines = 64 -- it is compacted once more lines than this, and half of all, are outdated

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

-- Reads one line; returns whether it is whole.
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

-- Replaces the file when most lines are outdated: one line per edit, none for failed ones.
local function compact(self, lines)
  local kept = {}
  for _, entry in ipairs(ordered(self)) do
    if entry.state ~= "failed" and entry.state ~= "unsent" then kept[#kept + 1] = entry.line end
  end
  if lines - #kept <= spare_lines or lines < 2 * #kept then return true end
  kept[#kept + 1] = ""
  return self._log:replace(table.concat(kept, "\n"))
end

-- Returns whether a file without a whole line may be a journal with a torn first line: a part of a
-- checksum, or bytes that were never written.
local function may_be_torn(text)
  return text:find "^%x%x%x%x%x%x%x%x " ~= nil or text:find "^%x?%x?%x?%x?%x?%x?%x?%x?$" ~= nil
    or not text:find "[^%z]"
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
  -- A power failure could still lose lines of a killed process, on which this process will act: sync
  -- them. If that fails, the first INTENT fails too.
  if text ~= "" then log:append("", true) end
  compact(self, lines) -- if that fails, the longer file serves as well
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
  local done, message, code = self._log:append(text, synced[fact] or false)
  if not done then return nil, message, code end
  take(self, text:sub(1, -2))
  return true
end

--- Returns the line that the engine writes before an upload's first byte, and the file for it.
---@param job kontext.Job
---@return table mark
function Journal:mark(job)
  local known = job:known()
  self._entries[known.entry].state = states.SENDING
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
end

--- Returns what is known of the edits, in the order in which they were begun.
---@return kontext.JournalEntry[] entries
function Journal:entries()
  return ordered(self)
end

--- Returns the edit of that key that matters most: accepted before ambiguous and lost, then saved,
--- then failed; among equal ones the last.
---@param key string
---@param ended? boolean leave out those that a job of this process is at work on
---@return kontext.JournalEntry?
function Journal:find(key, ended)
  local best
  for _, entry in ipairs(self._by_key[key] or {}) do
    local counts = not (ended and self:is_open(entry))
    if counts and (not best or rank[entry.state] >= rank[best.state]) then best = entry end
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
