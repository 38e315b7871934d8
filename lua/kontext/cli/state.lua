--- Where the command keeps its journals when nobody names one: $XDG_STATE_HOME/kontext. An `edit`
--- has a file of its own as long as something in it is unfinished, one with several prompts as long
--- as a step is missing; a `batch` has one for each working folder. So the same command in the same
--- place goes on.
local core = require "kontext.core"
local journal = require "kontext.journal.journal"
local steps = require "kontext.cli.steps"
local system = require "kontext.system"
local wording = require "kontext.wording"

local state = {}

local suffix = ".journal"
local patience = 30 * 86400 -- seconds that steps wait for the same command again

-- Returns the folder's path, or nil where the environment names none.
local function folder()
  local base = os.getenv "XDG_STATE_HOME"
  if base and base:sub(1, 1) == "/" then return base .. "/kontext" end
  local home = os.getenv "HOME"
  if home and home:sub(1, 1) == "/" then return home .. "/.local/state/kontext" end
end

-- Returns the folder's path once it is there and may be written; else nil and what to do.
local function made()
  local path = folder()
  local done, message = nil, "neither XDG_STATE_HOME nor HOME names a folder"
  if path then done, message = core.make_folder(path) end
  if done then return path end
  return nil, ("nothing was sent: no journal can be kept, so a crash could lose what is paid for "
    .. "(%s): set XDG_STATE_HOME to a folder that you may write to, or pass --journal FILE, or "
    .. "--no-journal to go without"):format(message)
end

-- Returns eight bytes of a digest as digits.
local function digest(text)
  return (core.sha256(text):sub(1, 8):gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

--- Returns the path of a journal for one run of `edit`.
---@return string? path
---@return string? message
function state.for_edit()
  local path, message = made()
  if not path then return nil, message end
  local unique = digest(("%s %.9f"):format(tostring({}), core.now())):sub(1, 4)
  return ("%s/edit-%s-%d-%s%s"):format(path, os.date "!%Y%m%dT%H%M%S", core.process(), unique,
    suffix)
end

--- Returns the path of the journal for the steps of an edit with several prompts: the same command
--- in the same folder finds it again.
---@param count integer of the steps
---@param key string of the last one
---@return string? path
---@return string? message
function state.for_steps(count, key)
  local path, message = made()
  if not path then return nil, message end
  return ("%s/edit-steps-%d-%s%s"):format(path, count,
    digest(key .. "\0" .. (core.working_folder() or ".")), suffix)
end

--- Returns the path of the journal for the batches of the working folder.
---@return string? path
---@return string? message
function state.for_batch()
  local path, message = made()
  if not path then return nil, message end
  return ("%s/batch-%s%s"):format(path, digest(core.working_folder() or "."), suffix)
end

--- Returns the paths of all journals, the oldest first.
---@return string[]
function state.journals()
  local path, list, times = folder(), {}, {}
  for _, name in ipairs(path and core.list(path) or {}) do
    if name:sub(-#suffix) == suffix then
      local file = path .. "/" .. name
      list[#list + 1], times[file] = file, core.modified(file) or 0
    end
  end
  table.sort(list, function(a, b)
    if times[a] ~= times[b] then return times[a] < times[b] end
    return a < b
  end)
  return list
end

--- Raises an error's fields where the folder is there and cannot be read: nobody may say then that
--- nothing is unfinished.
function state.must_be_readable()
  local path = folder()
  if not path then return end
  local list, message, code = core.list(path)
  if not list and code ~= "ENOENT" then
    error({ kind = "file", code = code, message = "cannot look for unfinished edits: "
      .. wording.file_advice(message, code) }, 0)
  end
end

--- Returns whether a journal is of the kind that is removed when nothing in it is unfinished.
---@param path string
---@return boolean
function state.is_passing(path)
  local base = folder()
  return base ~= nil and path:sub(1, #base + 6) == base .. "/edit-"
end

--- Returns whether there is a file of that name.
---@param path string
---@return boolean
function state.is_there(path)
  return journal.is_address(path) or core.modified(path) ~= nil
end

--- Returns whether a living process holds the journal.
---@param path string
---@return boolean
function state.is_held(path)
  if journal.is_address(path) or not state.is_there(path) then return false end
  local log, _, code = core.log(path, { create = false })
  if log then log:close() end
  return code == "EAGAIN"
end

--- Returns what a journal knows of its edits, each with number, state, key, token, save_as, path.
---@param path string
---@return table[]? entries
---@return string? message
---@return string? code "EAGAIN": a living process holds it
function state.entries(path)
  local opened, message, code = journal.open(path, system, false)
  if not opened then return nil, message, code end
  local entries = opened:entries()
  opened:close()
  return entries
end

--- Returns whether an entry is of an edit whose picture is not there yet.
---@param entry table
---@return boolean
function state.is_unfinished(entry)
  return entry.state == "accepted" or entry.state == "ambiguous" or entry.state == "lost"
end

-- The file beside a batch's journal that lists the names which the batch keeps with empty files.
local function notes_of(path) return path .. ".names" end

--- Writes down which names a batch keeps with empty files: after a kill its next run removes those
--- that are still empty.
---@param path string the journal's
---@param kept string[] absolute paths; none removes the note
function state.note_names(path, kept)
  if journal.is_address(path) then return end
  if #kept == 0 then
    os.remove(notes_of(path))
  else
    core.save(notes_of(path), table.concat(kept, "\0") .. "\0")
  end
end

--- Removes the empty files that a killed run of a batch has left.
---@param path string the journal's, which no living process holds
function state.sweep_names(path)
  if journal.is_address(path) then return end
  for name in (core.read(notes_of(path)) or ""):gmatch "([^%z]+)%z" do core.release(name) end
  os.remove(notes_of(path))
end

--- Returns how many steps of an edit with several prompts are made, and of how many, where its
--- journal waits for the same command again; else nil.
---@param path string
---@param entries table[] the journal's
---@return integer? made
---@return integer? count
function state.missing_steps(path, entries)
  local count = tonumber(path:match "/edit%-steps%-(%d+)%-%x+%.journal$")
  local last = 0
  for _, entry in ipairs(entries) do
    local n = steps.number(entry.key) or 0
    if entry.state == "saved" then last = math.max(last, n) end
  end
  local is_old = os.time() - (core.modified(path) or 0) > patience
  if count and last > 0 and last < count and not is_old then return last, count end
end

--- Removes a journal in which nothing is unfinished but what was delivered.
---@param path string
---@param delivered table<string, boolean> ids of tasks whose pictures are where they belong
function state.sweep(path, delivered)
  local opened = state.is_there(path) and journal.open(path, system, false)
  if not opened then return end
  local entries = opened:entries()
  local needed = state.missing_steps(path, entries) ~= nil
  for _, entry in ipairs(entries) do
    if state.is_unfinished(entry) and not (entry.id and delivered[entry.id]) then needed = true end
  end
  if not needed then -- while it is held: nobody else can begin to use it
    os.remove(path)
    os.remove(notes_of(path))
  end
  opened:close()
end

--- Removes the journals of single edits in which nothing but the task `id` is unfinished: its
--- picture is there.
---@param id string
function state.settle(id)
  for _, path in ipairs(state.journals()) do
    if state.is_passing(path) then state.sweep(path, { [id] = true }) end
  end
end

return state
