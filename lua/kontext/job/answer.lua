--- Reads the service's answers: strictly while nothing is paid, liberally once an edit may be paid
--- for. A byte order mark, an unrequested gzip body or trailing bytes do not hide a paid task.
local api = require "kontext.api"
local core = require "kontext.core"
local json = require "kontext.json"

local answer = {}

-- Returns a UTF-16 text, recognized by its mark or by the NUL beside its brace, as ASCII, which is
-- enough for JSON's syntax, ids and links. Any other character becomes a question mark.
local function without_utf16(body)
  local mark = body:sub(1, 2)
  local low_first = mark == "\255\254" or body:find "^{%z"
  if not low_first and mark ~= "\254\255" and not body:find "^%z{" then return body end
  return (body:gsub("^[\254\255][\254\255]", ""):gsub("(.)(.?)", function(first, second)
    if low_first then first, second = second, first end
    return (first == "\0" or first == "") and second or "?"
  end))
end

-- Returns the text of a body, inflated if a middlebox has compressed it.
local function packed_text_of(event)
  local body = event.body
  if not body or body == "" then return nil end
  local encoding = event.headers and event.headers["content-encoding"]
  if body:find "^%s*{" or body:find "^\239\187\191%s*{" then
    return body -- not compressed, although a header may say so
  elseif body:sub(1, 2) == "\31\139" or encoding == "gzip" or encoding == "deflate" then
    return core.inflate(body, api.limits.answer) or body
  end
  return body
end

local function text_of(event)
  local text = packed_text_of(event)
  return text and without_utf16(text)
end

--- Returns a whole answer's JSON object, and keeps the inflated text as the event's body.
---@param event table of the engine
---@return table? object
function answer.read(event)
  local text = text_of(event)
  if not text then return nil end
  event.body = text
  local value = json.decode((text:gsub("^\239\187\191", "")))
  return type(value) == "table" and value or nil
end

--- Returns the object of a poll's answer. The task is paid for: if trailing bytes or an unneeded
--- field make the answer invalid JSON, the fields that can be read count.
---@param event table of the engine
---@return table? object
function answer.read_poll(event)
  local object = answer.read(event)
  if object or not event.body or event.kind then return object end
  local value = json.decode_liberal(event.body)
  if type(value) == "table" then return value end
  local found = json.salvage(event.body)
  return found and not found.nested and { id = found.id, status = found.status, cost = found.cost,
    result = found.sample and { sample = found.sample } or nil } or nil
end

-- Returns an id as text: a task's id may be a number.
local function id_of(value)
  if type(value) == "number" then return json.integer(value) end
  return type(value) == "string" and value ~= "" and #value <= api.limits.id and value or nil
end

--- Returns an answer's id as text, or nil.
---@param object table? of answer.read
---@return string?
function answer.id(object)
  return object and id_of(object.id)
end

--- Returns the task of a submit's answer, even if the answer is cut or broken.
---@param event table of the engine
---@param object table? of answer.read
---@return table? task {id=, polling_url=, cost=, nested=, is_shown=}; nested: the id is that of an
--- inner object, which may be something else than the task; is_shown: whatever the HTTP status, it
--- can be nothing else than a task
function answer.task(event, object)
  local id = answer.id(object)
  if id then
    return { id = id, polling_url = object.polling_url, cost = object.cost,
      is_shown = type(object.polling_url) == "string" or api.statuses[object.status] ~= nil }
  end
  local found = event.body and json.salvage(event.body)
  id = found and id_of(found.id)
  return id and { id = id, polling_url = found.polling_url, cost = found.cost,
    nested = found.nested, is_shown = found.polling_url ~= nil } or nil
end

--- Returns whether an answer is an error in the service's own format, {"detail": …}.
---@param object table? of answer.read
---@return boolean
function answer.is_own(object)
  return object ~= nil and object.detail ~= nil
end

return answer
