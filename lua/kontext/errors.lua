--- Error objects: what went wrong, where, and whether the edit may be sent again.
local hiding = require "kontext.hiding"
local wording = require "kontext.wording"

local errors = {}

---@class kontext.Error
---@field kind string one of the closed list in docs/reference.md
---@field message string a sentence to act on
---@field stage string? "check", "submit", "poll", "download", "save" or "wait"
---@field status integer? the server's HTTP status
---@field code string? libcurl's name ("CURLE_…"), or the system's for a file ("ENOSPC")
---@field retryable boolean the same edit may be sent again with no risk of a second charge
---@field charged boolean? true: paid for; false: not charged; nil: not known
---@field job_id string? the task's id, once the service gave one
---@field polling_url string? where the task is polled
---@field reasons string[]? why it was moderated
---@field body string? the beginning of the server's answer
local Error = { __name = "kontext.error" }
Error.__index = Error

function Error:__tostring()
  return self.message
end

local read = 4096 -- bytes of a text that are looked at
local body_shown = 2048 -- bytes of an answer
local reasons_shown = 16

-- Returns a text cut, without secrets and without terminal controls.
local function clean(text, secrets, multiline)
  local cut = #text > read
  text = wording.beginning(text, read)
  text = hiding.signatures(hiding.secrets(text, secrets, cut))
  return wording.beginning(wording.safe(text, multiline), read)
end

-- Returns the reasons of a moderation as short texts; it drops what is neither text nor number.
local function clean_reasons(reasons, secrets)
  local list = {}
  for i = 1, math.min(#reasons, reasons_shown) do
    local reason = wording.brief(reasons[i])
    list[#list + 1] = reason and clean(reason, secrets)
  end
  return list
end

--- Makes an error. All text of the service and of libcurl goes through here, which removes keys,
--- secrets, signatures and terminal controls. It first cuts each text to 4 KB.
---@param fields table the fields of kontext.Error
---@param secrets? string[] what must not be shown
---@return kontext.Error
function errors.new(fields, secrets)
  secrets = secrets or {}
  fields.message = clean(fields.message, secrets)
  if fields.body then
    fields.body = wording.beginning(clean(fields.body, secrets, true), body_shown)
  end
  if fields.reasons then fields.reasons = clean_reasons(fields.reasons, secrets) end
  if fields.job_id then fields.job_id = wording.brief(fields.job_id) end
  if fields.code then fields.code = wording.brief(fields.code) end
  if fields.polling_url then -- its query is needed
    local url = wording.beginning(fields.polling_url, read)
    fields.polling_url = wording.safe(hiding.secrets(url, secrets, false))
  end
  fields.retryable = fields.retryable or false
  return setmetatable(fields, Error)
end

--- Makes an error from our own text without checking it, for when memory has run out.
---@param fields table
---@return kontext.Error
function errors.plain(fields)
  return setmetatable(fields, Error)
end

--- Returns the fields of an error, so that another job can end with the same error.
---@param err kontext.Error
---@return table fields
function errors.copy(err)
  local fields = {}
  for name, value in pairs(err) do fields[name] = value end
  return fields
end

--- Returns whether a value is an error object of ours.
---@param value any
---@return boolean
function errors.is(value)
  return getmetatable(value) == Error
end

--- Returns nil, the error's message and the error: what every function returns on failure.
---@param err kontext.Error
---@return nil, string, kontext.Error
function errors.result(err)
  return nil, err.message, err
end

return errors
