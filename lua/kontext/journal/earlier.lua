--- Finds what an earlier run left of an edit, by its key in the journal, so that a second run
--- continues it and pays for nothing twice.
local identity = require "kontext.journal.identity"
local resume = require "kontext.journal.resume"

local earlier = {}

--- Returns whether the file of an earlier run is still there unchanged, and whether any file is.
---@param system kontext.System
---@param entry kontext.JournalEntry
---@return boolean there
---@return boolean occupied
function earlier.is_saved(system, entry)
  local info = entry.path and system.file_info(entry.path)
  if not info then return false, false end
  if entry.size and ("%.0f"):format(info.bytes) ~= entry.size then return false, true end
  if entry.md5 and system.md5_file(entry.path) ~= entry.md5 then return false, true end
  return true, true
end

--- What is said of an edit's key, wherever that is found out.
earlier.said = {
  ambiguous = 'edit "%s" was sent by an earlier run, but no answer to it was noted: it may have '
    .. "been paid for",
  lost = 'edit "%s" was accepted in an earlier run, and the service no longer has it: it may have '
    .. "been paid for",
  other = 'edit "%s" stands in the journal with other parameters: give this one another key',
  elsewhere = 'edit "%s" is under way in another process: wait for its end',
}

local advice = ", so it is not sent again; look at your account, then give it another key"

--- Returns the fields of the error of an edit of which a journal cannot say what an earlier run has
--- left.
---@param key string
---@param message string
---@param code string?
---@return table
function earlier.unknown(key, message, code)
  return { kind = "file", code = code, stage = "check", charged = false, retryable = true,
    message = ('nothing was sent of edit "%s", because the journal does not say what became of it '
      .. "before: %s"):format(key, message) }
end

--- Returns the job that continues an earlier run's edit of that key, or that is refused because
--- that edit asked for something else; nil if there is no such edit.
---@param client kontext.Client
---@param checked table
---@return kontext.Job?
function earlier.job(client, checked)
  local journal = client:journal()
  local entry, message, code
  if journal then entry, message, code = journal:find(checked.key, true) end
  if message then return client:refuse(checked, earlier.unknown(checked.key, message, code)) end
  if entry and entry.elsewhere then
    return client:refuse(checked, { kind = "invalid", stage = "check", charged = false,
      retryable = true, message = earlier.said.elsewhere:format(checked.key) })
  end
  if not entry or entry.state == "failed" or entry.state == "unsent" or journal:is_open(entry) then
    return nil
  elseif entry.identity and entry.identity ~= identity.of(checked) then
    return client:refuse(checked, { kind = "invalid", stage = "check", charged = false,
      message = earlier.said.other:format(checked.key) })
  elseif entry.state == "saved" then
    local there, occupied = earlier.is_saved(client.system, entry)
    if there then return client:begin_saved(checked, entry) end
    return resume.entry(client, entry, { save_as = checked.save_as or entry.path,
      no_replace = occupied or checked.no_replace, on_progress = checked.on_progress })
  elseif resume.can_be_asked(entry) then
    return resume.entry(client, entry, checked)
  end
  return client:refuse(checked, { kind = entry.state, stage = "submit",
    message = earlier.said[entry.state]:format(checked.key) .. advice })
end

return earlier
