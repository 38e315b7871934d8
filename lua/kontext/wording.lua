--- Makes strangers' texts (of the service, libcurl, file names) safe for a sentence and a terminal.
--- Each text is cut before it is searched, because a server decides how long it is.
local encoding = require "kontext.encoding"
local json = require "kontext.json"

local wording = {}

local shown = 300 -- characters of a text that is shown
local read = 4096 -- bytes of a body that are looked at
local most_parts = 32 -- complaints of a list, or members of an object

local function escape_byte(char)
  return ("\\x%02x"):format(char:byte())
end

-- Returns the text with every byte escaped that is not part of valid UTF-8.
local function valid(text)
  local bad = json.invalid_utf8(text)
  if not bad then return text end
  local parts, from = {}, 1
  while bad do
    parts[#parts + 1] = text:sub(from, bad - 1)
    parts[#parts + 1] = escape_byte(text:sub(bad, bad))
    from = bad + 1
    bad = json.invalid_utf8(text, from)
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

--- Returns a text that a terminal shows and does not act on: it escapes control characters (C0,
--- DEL, C1 as bytes and as UTF-8), changes of the direction of writing, and invalid UTF-8.
---@param text string
---@param multiline? boolean keep line feeds as they are; a carriage return before one is dropped
---@return string
function wording.safe(text, multiline)
  if not text:find "[%z\1-\31\127-\255]" then return text end
  if multiline then text = text:gsub("\r\n", "\n") end
  text = text:gsub(multiline and "[%z\1-\9\11-\31\127]" or "[%z\1-\31\127]", escape_byte)
  if not text:find "[\128-\255]" then return text end
  return encoding.escape_acting(valid(text), "\\u{%x}")
end

local ellipsis = "…" -- as long as three characters of one byte

--- Cuts a text, at the boundary of a character; "…" stands in the place of what was cut off.
---@param text string
---@param characters integer how many are left at most
---@return string
function wording.cut(text, characters)
  if #text <= characters then return text end
  local last = 0 -- the last byte that is kept if the text is cut
  local at = 1
  for count = 1, characters do
    if count == characters + 1 - #ellipsis then last = at - 1 end
    at = text:find("[^\128-\191]", at + 1)
    if not at then return text end
  end
  return text:sub(1, last) .. ellipsis
end

-- Returns at most `bytes` of a text, at the boundary of a character.
local function beginning(text, bytes)
  if #text <= bytes then return text end
  return (text:sub(1, bytes):gsub("[\192-\255][\128-\191]*$", ""))
end
wording.beginning = beginning

--- Returns a value from an answer as a short, safe text: at most 300 characters of a string, or a
--- number; nil for anything else.
---@param value any
---@return string?
function wording.brief(value)
  if type(value) == "number" then return json.number(value) end
  if type(value) ~= "string" then return nil end
  return wording.cut(wording.safe(beginning(value, 4 * shown)), shown)
end

-- Returns a text with a blank in place of white space and control characters. By number, because in
-- some locales %c and %s match bytes of UTF-8.
local function one_line(text)
  return (text:gsub("[%z\1-\32\127]+", " "))
end

-- Returns a string or number as a text of one line, nil for anything else.
local function plain(value)
  if type(value) == "string" then return one_line(beginning(value, read)) end
  return type(value) == "number" and json.number(value) or nil
end

-- Returns FastAPI's list of complaints, or any list, as one text.
local function listed(list)
  local parts = {}
  for i = 1, math.min(#list, most_parts) do
    local item = list[i]
    if type(item) == "table" then
      local where = type(item.loc) == "table" and plain(item.loc[#item.loc])
      item = (where and where .. ": " or "") .. (plain(item.msg or item.message) or "?")
    end
    parts[#parts + 1] = plain(item) or tostring(item)
  end
  return table.concat(parts, "; ")
end

-- Returns the members of an object as one text.
local function members(object, depth)
  local parts = {}
  for name, value in pairs(object) do
    if #parts >= most_parts then break end
    if type(value) == "table" then
      value = #value > 0 and listed(value) or depth < 3 and members(value, depth + 1) or ""
    end
    if value ~= "" then
      parts[#parts + 1] = ("%s: %s"):format(plain(name) or "?", plain(value) or tostring(value))
    end
  end
  table.sort(parts)
  return table.concat(parts, "; ")
end

-- Returns the text of the members that hold an error, or nil.
local function told(answer)
  local text = answer.detail or answer.message or answer.error or answer.errors or answer.details
  if type(text) == "table" then
    local sentence = text.message or text.msg or text.error
    text = #text > 0 and listed(text) or type(sentence) == "string" and sentence
      or members(text, 1)
  end
  return type(text) == "string" and beginning(text, read) or nil
end

--- Returns ": " and what an answer says about an error, or "" if it says nothing.
---@param answer any the decoded body, if it is JSON
---@param body? string the body, shown if `answer` says nothing
---@return string
function wording.server_detail(answer, body)
  local text = type(answer) == "table" and told(answer)
  if not text or not text:find "%S" then
    text = beginning(body or "", read):gsub("<[^<>]*>", " ")
  end
  text = one_line(text):gsub("^ ", ""):gsub(" $", "")
  return #text > 0 and ": " .. wording.brief(text) or ""
end

--- Returns why a transfer failed: libcurl's message, or the HTTP status and the answer's text.
---@param event table of the engine
---@return string
function wording.transfer_reason(event)
  return event.detail and wording.brief(event.detail)
    or ("HTTP %d%s"):format(event.status, wording.server_detail(nil, event.body))
end

-- How to fix a file that cannot be written, by the name of the errno.
local advice = {
  EACCES = "choose a folder that you may write to",
  EDQUOT = "make room, or choose another disk",
  EFBIG = "raise the limit on a file's size (ulimit -f)",
  EISDIR = "give the name of a file in it",
  ELOOP = "give the path that the link leads to",
  EMFILE = "close files, or raise the limit on open ones (ulimit -n)",
  ENAMETOOLONG = "choose a shorter name",
  ENOENT = "make its folder first",
  ENOSPC = "make room, or choose another disk",
  ENOTDIR = "choose another path",
  ENOTSUP = "choose a free name, or a file's",
  EPERM = "choose a folder that you may write to",
  EROFS = "choose a folder that you may write to",
}

--- Returns the system's message about a file that cannot be written, and how to fix it.
---@param message string
---@param code string? the name of the errno
---@return string
function wording.file_advice(message, code)
  return advice[code] and message .. ": " .. advice[code] or message
end

return wording
