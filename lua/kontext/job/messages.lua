--- The wording of the checks of parameters: errors, and warnings about limits that are in doubt.
local json = require "kontext.json"
local models = require "kontext.models"

local messages = {}

--- Returns a value as text for a message.
---@param value any
---@return string
function messages.shown(value)
  value = tostring(value)
  if #value > 60 then value = value:sub(1, 57) .. "..." end
  return '"' .. value:gsub("[%z\1-\31\127]", "?") .. '"'
end

--- Returns the members as a list for a message: "jpeg", "png" or "webp".
---@param members string[]
---@return string
function messages.any_of(members)
  local quoted = {}
  for i, member in ipairs(members) do quoted[i] = '"' .. member .. '"' end
  local last = table.remove(quoted)
  return #quoted > 0 and table.concat(quoted, ", ") .. " or " .. last or last
end

--- Adds a warning to the context's, unless it is there.
---@param context table { warnings: string[] }
---@param message string
function messages.warn(context, message)
  local warnings = context.warnings
  for _, other in ipairs(warnings) do
    if other == message then return end
  end
  warnings[#warnings + 1] = message
end

--- Returns the value, and adds a warning, where the limit that it breaks is not confirmed; else nil
--- and the message.
---@param value any
---@param message string to stand after the field's name
---@param fact string the limit's name
---@param context table { row: table, warnings: string[] }
---@param field table { name: string, doubts: table?, confirmed: boolean? }
---@return any value
---@return string? message
function messages.unless_doubtful(value, message, fact, context, field)
  local doubtful = field.doubts and field.doubts[fact] or field.confirmed == false
    or context.row.confirmed == false
  if not doubtful then return nil, message end
  messages.warn(context, ("%s %s; this limit is not confirmed, so the edit is sent"):format(
    field.name, message))
  return value
end

--- Returns a number as text for a message, independently of the locale.
---@param value number
---@return string
function messages.digits(value)
  return json.number(value) or tostring(value)
end

-- Returns how many letters must be inserted, dropped or changed to make one word the other.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local corner = row[0]
    row[0] = i
    for j = 1, #b do
      local change = corner + (a:byte(i) == b:byte(j) and 0 or 1)
      corner = row[j]
      row[j] = math.min(change, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

--- Names the known key that an unknown one was probably meant to be.
---@param key any
---@param known table<string, any> its string keys are the known ones
---@return string message such as 'unknown key "promt" (did you mean "prompt"?)'
function messages.unknown(key, known)
  local name = type(key) == "string" and messages.shown(key) or tostring(key)
  local message = "unknown key " .. name
  if type(key) ~= "string" or #key > 40 then return message end
  local best, least = nil, 3
  for candidate in pairs(known) do
    if type(candidate) == "string" then
      local far = distance(key:lower(), candidate)
      -- "image" and "format" are the ends of the names that were meant.
      if far > 2 and #key > 3 and candidate:find(key:lower(), 1, true) then far = 2.5 end
      if far < least or far == least and best and candidate < best then
        best, least = candidate, far
      end
    end
  end
  return best and ('%s (did you mean "%s"?)'):format(message, best) or message
end

--- Says that there is no such model, and which there are.
---@param given any
---@return string message such as 'is "flux-dev": it must be one of …'
function messages.no_such_model(given)
  local names, candidates = models.names(), {}
  for _, known in ipairs(names) do candidates[known] = true end
  for short in pairs(models.aliases) do candidates[short] = true end
  local meant = messages.unknown(given, candidates):match '%(did you mean ".-"%?%)$'
  return ("is %s: it must be one of %s%s"):format(messages.shown(given), table.concat(names, ", "),
    meant and " " .. meant or "")
end

return messages
