--- The journal: the facts about edits that may be paid for, so that a crash at any moment neither
--- loses a paid picture nor repeats an edit that may have been paid for. It is an interface with
--- two backends: a file (file.lua), which one process holds, and a database (postgres.lua), which
--- many share. A backend has
---   record(job, fact, details)  writes a fact; nil, message and code if that fails
---   mark(job)         before an upload: what the engine writes at its first byte, or nil; with a
---                     message where nothing may be sent
---   may_save(job)     whether the picture may be put in its place: true, false or nil (not known)
---   adopt(entry)      takes over what another process began
---   forget(job)       the job has ended in this process
---   find(key), find_task(id), is_open(entry)  nil, message and code where it cannot say
---   unfinished(), entries()  the edits that are not over; all that it can list
---   is_at(path), close()
---   slots             of the account that all its processes share, or nil
--- The facts, in the order of a life:
---   INTENT     about to be sent; nothing may be sent without it
---   UNSENT     it was sent in part, or refused before work began: nothing is in doubt
---   ACCEPTED   the task's id and URL, before anybody sees them
---   SAVED      the path, size and digest of the picture, once it is there
---   FAILED     the service said that there is no picture, or it was never sent
---   AMBIGUOUS  it was sent whole, and what came of it is not known
---   LOST       it was accepted, and the service no longer has it
local file = require "kontext.journal.file"

local journal = {}

-- Returns whether a journal's name is the address of a database.
local function is_address(name)
  local scheme = name:sub(1, 16):lower():match "^(%a+)://"
  return scheme == "postgres" or scheme == "postgresql"
end

--- Returns whether a journal's name is the address of a database, not a file's.
---@param name string
---@return boolean
function journal.is_address(name)
  return is_address(name)
end

--- Opens a journal.
---@param name string a file's path, or postgres://…
---@param on? kontext.System default: the machine
---@param create? boolean make a file where there is none; default true
---@param holder? table who writes, for a database: see postgres.open
---@return kontext.Journal? journal
---@return string? message
---@return string? code
function journal.open(name, on, create, holder)
  if not is_address(name) then return file.open(name, on, create, holder) end
  return require "kontext.journal.postgres".open(name, on, create, holder)
end

return journal
