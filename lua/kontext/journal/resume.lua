--- Resumes tasks that another process began, from a token or a journal.
local api = require "kontext.api"
local compose = require "kontext.job.compose"
local messages = require "kontext.job.messages"
local token = require "kontext.token"

local resume = {}

--- Returns what is wrong with the arguments of the public `resume`, or nil.
---@param from any
---@param overrides any
---@return string?
function resume.misuse(from, overrides)
  if type(from) == "table" then
    for name in pairs(from) do
      if name ~= "journal" then return messages.unknown(name, { journal = true }) end
    end
    if type(from.journal) ~= "string" then
      return "journal must be a string, not " .. type(from.journal)
    end
  elseif type(from) ~= "string" then
    return "resume takes a token or {journal = path}, not " .. type(from)
  end
  if overrides == nil then return nil end
  if type(overrides) ~= "table" then return "options must be a table, not " .. type(overrides) end
  local types = { save_as = "string", no_replace = "boolean", on_progress = "function" }
  for name, value in pairs(overrides) do
    if not types[name] then return messages.unknown(name, types) end
    if type(value) ~= types[name] then
      return ("%s must be a %s, not %s"):format(name, types[name], type(value))
    end
  end
end

-- Returns the parameters of a resumed job.
local function params_of(client, known, overrides)
  local given = overrides or {}
  return {
    model = api.endpoints[known.model] and known.model or client:default_model(),
    key = known.key, output_format = known.output_format, save_as = given.save_as,
    no_replace = given.no_replace, on_progress = given.on_progress,
    window = compose.restore(known),
  }
end

-- Begins the job of a task.
local function begin(client, known, overrides)
  local transport = client.transport
  local url, own = known.polling_url, nil
  if transport then url, own = transport:polling_url(known.polling_url, known.id) end
  return client:begin_resumed(params_of(client, known, overrides), { id = known.id,
    polling_url = url, own_url = own or known.own_url ~= nil, at = tonumber(known.at),
    entry = known.number, identity = known.identity })
end

-- The fields of an edit of a region that only a journal has.
local window_fields = { "region", "window", "source", "stamp", "mask", "metadata" }

--- Resumes the task of a token.
---@param client kontext.Client
---@param text string
---@param overrides? table save_as, no_replace, on_progress
---@return kontext.Job
function resume.token(client, text, overrides)
  local known, message = token.read(text)
  if not known then
    return client:refuse({}, { kind = "invalid", stage = "check", charged = false,
      message = "cannot resume: " .. message })
  end
  local journal = client:journal()
  local entry = journal and journal:find_task(known.id)
  if entry and not journal:is_open(entry) then -- the same edit
    known.number = entry.number
    for _, name in ipairs(window_fields) do known[name] = entry[name] end
  end
  return begin(client, known, overrides)
end

--- Resumes the task of a journal's entry.
---@param client kontext.Client
---@param entry kontext.JournalEntry
---@param given? table what a batch's edit has: save_as, no_replace, on_progress
---@return kontext.Job
function resume.entry(client, entry, given)
  return begin(client, entry, given
    or { save_as = entry.save_as, no_replace = entry.no_replace ~= nil })
end

local reasons = {
  ambiguous = "edit %s was sent, but no answer to it was noted: it may have been paid for, so it "
    .. "is not sent again; look at your account before you edit again",
  lost = "edit %s was accepted, and the service no longer has it: it may have been paid for, so it "
    .. "is not sent again; look at your account before you edit again",
}

-- Returns a job that has ended with the error of an entry whose picture cannot be fetched.
local function unresolved(client, entry)
  local name = entry.key and ('"%s"'):format(entry.key) or ("number %.0f"):format(entry.number)
  return client:refuse({ key = entry.key, save_as = entry.save_as }, { kind = entry.state,
    stage = "submit", message = reasons[entry.state]:format(name) })
end

--- Returns whether the entry's picture can be asked for, which costs nothing.
---@param entry kontext.JournalEntry
---@return boolean
function resume.can_be_asked(entry)
  return entry.state == "accepted" or entry.state == "ambiguous" and entry.id ~= nil
end

--- Resumes all edits of a journal that were begun and have no picture.
---@param client kontext.Client
---@param path string
---@return kontext.Job[]
function resume.journal(client, path)
  local journal, fields = client:journal_for_resume(path)
  if not journal then return { client:refuse({}, fields) } end
  local resumed = {}
  for _, entry in ipairs(journal:unfinished()) do
    if not journal:is_open(entry) then
      if resume.can_be_asked(entry) then
        resumed[#resumed + 1] = resume.entry(client, entry)
      elseif entry.state == "ambiguous" or entry.state == "lost" then
        resumed[#resumed + 1] = unresolved(client, entry)
      end
    end
  end
  return resumed
end

return resume
