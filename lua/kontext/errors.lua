--- Error objects: what went wrong, where, and whether the edit may be sent again.
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

local body_shown = 2048 -- bytes of an answer

local short = 6 -- characters: a shorter secret is hidden where it is a word, or no word were left

-- Returns the pattern that finds a secret, with the backslashes of an answer's JSON too.
local function pattern_of(secret)
  local pattern = secret:gsub(".", function(char) return "\\?" .. char:gsub("%W", "%%%0") end)
  if #secret >= short then return pattern end
  if secret:find "^[%w_]" then pattern = "%f[%w_]" .. pattern:sub(3) end -- which JSON leaves alone
  return secret:find "[%w_]$" and pattern .. "%f[^%w_]" or pattern
end

-- Returns the text without the secrets and without what signs a URL.
local function scrub(text, secrets)
  for _, secret in ipairs(secrets) do text = text:gsub(pattern_of(secret), "[hidden]") end
  return (text:gsub("([Hh][Tt][Tt][Pp][Ss]?:[\\/]+[^%s\"'<>?]+)%?[^%s\"'<>]+", "%1?[hidden]"))
end

--- Makes an error. Whatever the service or libcurl said goes through here, so no key, no secret and
--- no signature can be printed with it.
---@param fields table the fields of kontext.Error
---@param secrets? string[] what must not be shown
---@return kontext.Error
function errors.new(fields, secrets)
  secrets = secrets or {}
  fields.message = scrub(fields.message, secrets)
  if fields.body then
    fields.body = scrub(fields.body:sub(1, 2 * body_shown), secrets):sub(1, body_shown)
  end
  for i, reason in ipairs(fields.reasons or {}) do fields.reasons[i] = scrub(reason, secrets) end
  fields.retryable = fields.retryable or false
  return setmetatable(fields, Error)
end

--- Returns the fields of an error, for another job to end with the same.
---@param err kontext.Error
---@return table fields
function errors.copy(err)
  local fields = {}
  for name, value in pairs(err) do fields[name] = value end
  return fields
end

--- Tells whether a value is an error object of ours.
---@param value any
---@return boolean
function errors.is(value)
  return getmetatable(value) == Error
end

--- Returns an error the way every function here does: nil, its message, itself.
---@param err kontext.Error
---@return nil, string, kontext.Error
function errors.result(err)
  return nil, err.message, err
end

return errors
