-- From a request's body to its parameters: JSON with pictures of 20 MB in it, read without a
-- second pass over them, and integers kept digit for digit.

local need = require "kontext.emulator.need"
local json = require "kontext.emulator.json"
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

-- Puts a mark in the place of a long string without escapes: the parser then need not copy it.
local function cut_out(text, name, kept)
  local start = value_of(text, name)
  if not start or text:sub(start, start) ~= '"' then return text end
  local stop = text:find('"', start + 1, true)
  local escape = stop and text:find("\\", start + 1, true)
  if not stop or stop - start < LONG or escape and escape < stop then return text end
  local literal = text:sub(start + 1, stop - 1)
  local mark = "\1" .. name -- no JSON text can hold it: control characters must be escaped
  if literal:find("%c") then return text end
  kept[mark] = literal
  return text:sub(1, start) .. "\\u0001" .. name .. text:sub(stop)
end

-- The digits of an integer member, which a Lua number may not hold.
local function digits_of(text, name)
  local start = value_of(text, name)
  return start and text:match("^(-?%d+)%s*[,}]", start)
end

--- Reads a submit's body. Returns the parameters as they were sent and the seed's own digits, or
--- nil and the place of the mistake. One comma too many before the last brace is let pass: the
--- service's own guide sends it.
---@param text string
---@return table? params, string|integer seed_or_position
function body.parse(text)
  local kept = {}
  local short = text
  for _, name in ipairs { "input_image", "input_image_2", "input_image_3", "input_image_4" } do
    short = cut_out(short, name, kept)
  end
  local params, message = json.decode(short)
  if params == nil then
    local mended, n = short:gsub(",%s*}%s*$", "}")
    if n == 1 then params = json.decode(mended) end
  end
  if params == nil then return nil, tonumber(tostring(message):match("(%d+)%s*$")) or 0 end
  if type(params) == "table" then
    for name, value in pairs(params) do params[name] = kept[value] or value end
  end
  return params, digits_of(short, "seed")
end

return body
