--- The journal: one line per fact about an edit, so that a crash at any moment loses nothing that
--- was paid for and repeats nothing that may have been.
---
--- A line is a checksum, the fact, the edit's number in this journal, and what the fact tells:
---   INTENT     about to be sent; synced before anything connects
---   SENDING    the first byte of the body is about to go out; synced before it does
---   ACCEPTED   the token to resume it with; synced before anybody is told
---   SAVED      the path and digest of the picture; after the file and its directory are synced
---   FAILED     it ended without a picture, or was never sent
---   AMBIGUOUS  it was sent whole, and what came of it is not known
local core = require "kontext.core"
local token = require "kontext.token"
local wording = require "kontext.wording"

local journal = {}

local Journal = {}
Journal.__index = Journal

local cap = 256 * 1024 * 1024 -- bytes of a journal that is read: a million edits
local digits = 15 -- of an edit's number at the most: a double holds them all
local far = 1e14 -- a number from here on is damage: counting on behind it would leave the digits
local spare_lines = 64 -- more than this many outlived lines, and half of all: it is compacted

-- What a restart makes of an edit's last fact.
local states = {
  INTENT = "unsent", SENDING = "ambiguous", ACCEPTED = "accepted", SAVED = "saved",
  FAILED = "failed", AMBIGUOUS = "ambiguous",
}

-- Facts whose loss would be the loss of money or of a picture.
local synced = { INTENT = true, ACCEPTED = true, SAVED = true, AMBIGUOUS = true }

-- Returns a line for the facts of an edit.
local function line(fact, number, told)
  local text = ("%s %d %s"):format(fact, number, told)
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
  entry.state, entry.line = states[fact], text
  if fact == "ACCEPTED" then entry.token = told end
  for name, value in pairs(token.values(told:match "^kontext1:(.*):%x+$" or told)) do
    entry[name] = value
  end
  if entry.key then self._by_key[entry.key] = entry end
  return true
end

-- Returns the entries in the order in which they were begun, of each key the last.
local function ordered(self)
  local list = {}
  for _, entry in pairs(self._entries) do
    if not entry.key or self._by_key[entry.key] == entry then list[#list + 1] = entry end
  end
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

--- Opens a journal, making it where there is none. It is held against other processes.
---@param path string
---@return table? journal
---@return string? message
---@return string? code
function journal.open(path)
  if path:find "%z" then return nil, "the journal's path contains a NUL byte: choose another" end
  local log, message, code = core.log(path)
  if not log then
    if code == "EAGAIN" then message = path .. " is held by another process that runs edits" end
    return nil, "cannot open the journal: " .. wording.unwritten(message, code), code
  end
  local text
  text, message, code = log:read(cap)
  if not text then return nil, "cannot read the journal: " .. message, code end
  local self = setmetatable({ _log = log, _entries = {}, _by_key = {}, _open = {},
    _last = 0, path = path }, Journal)
  local lines = 0
  for whole in text:gmatch "[^\n]+" do -- the last too when only its line's end is torn off
    if take(self, whole) then lines = lines + 1 end
  end
  compact(self, lines) -- where it cannot be, the longer one serves as well
  return self
end

-- What each fact tells.
local tells = {}

function tells.INTENT(job)
  return { key = job._params.key, save_as = job._params.save_as }
end

tells.SENDING = tells.INTENT
tells.AMBIGUOUS = tells.INTENT

function tells.SAVED(job, path, digest)
  return { key = job._params.key, path = path, md5 = digest }
end

function tells.FAILED(job)
  return { key = job._params.key, kind = job.error and job.error.kind }
end

-- Returns the line of a fact about a job.
local function written(job, fact, ...)
  local told = fact == "ACCEPTED" and token.write(job) or token.text(tells[fact](job, ...))
  return line(fact, job._entry, told)
end

--- Writes a fact about a job.
---@param job kontext.Job
---@param fact string
---@param ... string? of SAVED the path and the digest
---@return true? done
---@return string? message
---@return string? code
function Journal:record(job, fact, ...)
  if not job._entry then
    repeat self._last = self._last + 1 until not self._entries[self._last]
    job._entry = self._last
  end
  self._open[job._entry] = true
  local entry = self._entries[job._entry]
  if fact == "INTENT" and entry and entry.state == "unsent" then return true end
  local text = written(job, fact, ...)
  local done, message, code = self._log:append(text, synced[fact] or false)
  if not done then return nil, message, code end
  take(self, text:sub(1, -2))
  return true
end

--- Returns the line that says that a job's body begins to go out, for the engine to write when it
--- does, and where to write it.
---@param job kontext.Job
---@return table mark
function Journal:mark(job)
  self._entries[job._entry].state = states.SENDING
  return { log = self._log, line = written(job, "SENDING") }
end

--- Returns what is known of the edits: number, state ("unsent", "accepted", "saved", "failed",
--- "ambiguous"), key, token, path.
---@return table[] entries in the order in which they were begun
function Journal:entries()
  return ordered(self)
end

--- Returns the last edit of that key.
---@param key string
---@return table? entry as of `entries`
function Journal:find(key)
  return self._by_key[key]
end

--- Tells whether a job of this process has written of the edit.
---@param entry table
---@return boolean
function Journal:is_open(entry)
  return self._open[entry.number] == true
end

--- Unlocks and closes the journal.
function Journal:close()
  self._log:close()
end

return journal
