--- The identity of an edit: a hash of all that is sent, the model and `fit`, and the images'
--- content or names.
local core = require "kontext.core"
local encoding = require "kontext.encoding"
local params = require "kontext.job.params"

local identity = {}

-- Parameters that are not sent and count all the same.
local ours = { model = true, fit = true, region = true, mask = true, keep_metadata = true,
  strip = true }

-- Returns the text that represents an image in the identity.
local function image(value, digests)
  local key = params.result_key(value)
  if key then return "result " .. key end -- the same before and after that item has ended
  local source = value
  if type(value) ~= "table" or not (value.path or value.bytes or value.url) or value.format then
    source = params.image(value) or {}
  end
  if source.url then return source.url end
  if source.bytes then return encoding.hex(core.sha256(source.bytes)) end
  if source.path then
    local digest = digests and digests[source.path]
    return digest and encoding.hex(digest) or source.path
  end
  return tostring(value)
end

--- Returns eight bytes in hexadecimal, equal for two edits only if they ask for the same.
---@param given table parameters of an edit, checked or not
---@param digests? table<string, string> SHA-256 of files, by path
---@param default_model? string the model of an edit that names none
---@return string
function identity.of(given, digests, default_model)
  local parts = {}
  given = params.flatten(given, default_model)
  for _, field in ipairs(params.fields_of(given, default_model)) do
    local value = given[field.name]
    if value ~= nil and (field.api or ours[field.name]) then
      local text = field.api == "image" and image(value, digests) or tostring(value)
      parts[#parts + 1] = ("%s %d %s"):format(field.name, #text, text)
    end
  end
  return encoding.hex(core.sha256(table.concat(parts, "\n")):sub(1, 8))
end

return identity
