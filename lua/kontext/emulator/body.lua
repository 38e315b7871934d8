-- From a request's body to its parameters: JSON with pictures of 20 MB in it, read without a
-- second pass over them, and integers kept digit for digit.

local need = require "kontext.emulator.need"
local json = require "kontext.emulator.json"
local models = require "kontext.models"
local mime = need "mime"

local body = {}

local LONG = 4096 -- a string literal longer than this is cut out before the JSON is read

--- The bytes that a base64 text stands for, or nil when it is none. Line breaks and a missing
--- padding are not counted against it: shells and libraries write both.
---@param text string
---@return string?
function body.unbase64(text)
  -- The decoder passes over what is not base64: the length tells.
  local digits = #text - #text:sub(-2):match "=*$"
  local bytes = mime.unb64(text .. ("="):rep(-#text % 4)) or ""
  if digits % 4 ~= 1 and #bytes == math.floor(digits * 3 / 4) then return bytes end
  local stripped = text:gsub("%s+", "")
  if stripped ~= text then return body.unbase64(stripped) end
end

-- In valid JSON `"name":` is a member's name wherever it stands: inside of a string its quotes
-- would be escaped. So the value after it can be taken from the text itself.
local function value_of(text, name)
  local last = 0
  while true do
    last = select(2, text:find('"' .. name .. '"', last + 1, true))
    if not last then return nil end
    local colon = select(2, text:find("^%s*:%s*", last + 1))
    if colon then return colon + 1 end
  end
end

-- Whether one of some bytes stands between two places: plain finds, which cost next to nothing.
local function has_any(text, bytes, start, stop)
  for _, byte in ipairs(bytes) do
    local at = text:find(byte, start, true)
    if at and at < stop then return true end
  end
end

-- Puts a mark in the place of the long string that begins at `start`, which the parser then need
-- not copy. Not where there are line breaks, or escapes other than of slashes: those need a closer
-- look. Returns the text and where the string ends in it; nil where there is none.
local function cut_string(text, start, mark, kept)
  if not start or text:sub(start, start) ~= '"' then return text end
  local stop = text:find('"', start + 1, true)
  if not stop or stop - start < LONG then return text, stop end
  if has_any(text, { "\n", "\r", "\t" }, start, stop) then return text, stop end
  local literal = text:sub(start + 1, stop - 1)
  if literal:find("\\", 1, true) then
    literal = literal:gsub("\\/", "/")
    if literal:find("\\", 1, true) then return text end
  end
  kept["\1" .. mark] = literal -- a mark that no other string begins with
  return text:sub(1, start) .. "\\u0001" .. mark .. text:sub(stop), start + 7 + #mark
end

-- The same for each string of a list.
local function cut_list(text, start, name, kept)
  local at = text:find("^%[%s*\"", start) and text:find('"', start, true)
  local i = 0
  while at do
    local stop
    i = i + 1
    text, stop = cut_string(text, at, ("%s[%d]"):format(name, i), kept)
    at = stop and select(2, text:find('^%s*,%s*"', stop + 1))
  end
  return text
end

-- The names of the fields in which pictures come.
local function picture_fields()
  local seen, names = {}, {}
  for _, model in ipairs(models.names()) do
    for _, field in ipairs(models.find(model).fields) do
      if (field.type == "image" or field.type == "images") and not seen[field.name] then
        seen[field.name] = true
        names[#names + 1] = field.name
      end
    end
  end
  return names
end

-- The digits of an integer member, which a Lua number may not hold.
local function digits_of(text, name)
  local start = value_of(text, name)
  return start and text:match("^(-?%d+)%s*[,}]", start)
end

local SEQUENCES = { -- of UTF-8, beyond ASCII
  "[\194-\223][\128-\191]", "\224[\160-\191][\128-\191]",
  "[\225-\236\238\239][\128-\191][\128-\191]", "\237[\128-\159][\128-\191]",
  "\240[\144-\191][\128-\191][\128-\191]", "[\241-\243][\128-\191][\128-\191][\128-\191]",
  "\244[\128-\143][\128-\191][\128-\191]",
}

local function is_utf8(text)
  if not text:find "[\128-\255]" then return true end
  for _, sequence in ipairs(SEQUENCES) do text = text:gsub(sequence, " ") end
  return not text:find "[\128-\255]"
end

-- Whether a string has a raw control character, such as the line breaks of a shell's `base64`:
-- lua-cjson lets them pass, the service does not.
local function has_control(text)
  if not text:find "[%z\1-\31]" then return false end
  for literal in text:gsub("\\.", ""):gmatch '"([^"]*)"' do
    if literal:find "[%z\1-\31]" then return true end
  end
end

local function decode(text)
  if has_control(text) then return nil, 0 end
  local value, message = json.decode(text)
  if value == nil then return nil, tonumber(tostring(message):match "(%d+)%s*$") or 0 end
  return value
end

--- Reads a submit's body. Returns the parameters as they were sent and the seed's own digits; or
--- nil, the status of the refusal (400: not UTF-8, 422: not JSON) and the place of the mistake.
--- One comma too many before the last brace is let pass: the service's own guide sends it.
---@param text string
---@return any params, string|integer|nil digits_or_status, integer? position
function body.parse(text)
  local kept = {}
  for _, name in ipairs(picture_fields()) do
    local start = value_of(text, name)
    if start then text = cut_list(cut_string(text, start, name, kept), start, name, kept) end
  end
  if not is_utf8(text) then return nil, 400 end
  local params, position = decode(text)
  if params == nil then
    local mended, n = text:gsub(",%s*}%s*$", "}")
    if n == 1 then params = decode(mended) end
  end
  if params == nil then return nil, 422, position end
  if type(params) == "table" then
    for name, value in pairs(params) do
      if type(value) == "table" then
        for i, item in ipairs(value) do value[i] = kept[item] or item end
      else
        params[name] = kept[value] or value
      end
    end
  end
  return params, digits_of(text, "seed")
end

return body
