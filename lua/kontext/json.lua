--- JSON with nothing lost: answers are read under a cap, integers and strings are written by us.
local api = require "kontext.api"

-- A private instance: its settings are nobody else's. Neovim brings lua-cjson as vim.json.
local host = rawget(_G, "vim")
local found, cjson = pcall(require, "cjson.safe")
local codec, null
if found then
  codec, null = cjson.new(), cjson.null
  codec.decode_max_depth(64)
else
  codec = type(host) == "table" and host.json or error("kontext needs lua-cjson: " .. cjson, 0)
  null = host.NIL
end

local json = {}

--- The library that reads JSON here.
json.name = found and ("lua-cjson " .. tostring(codec._VERSION)) or "vim.json"

local exact = 2 ^ 53 -- a double holds each integer up to it
local tointeger = math.tointeger or function(n) return n end -- luacheck: ignore 143

-- Returns `value` as answers are handed on: no field is null or an endless number, for which a paid
-- task's other fields must not be lost (in a list they become false, so that it keeps its length),
-- and a whole number is an integer where Lua has them.
local function tidy(value)
  if value == null then return nil end
  if type(value) == "number" then
    if value ~= value or value == math.huge or value == -math.huge then return nil end
    return value % 1 == 0 and math.abs(value) < exact and tointeger(value) or value
  end
  if type(value) == "table" then
    for key, item in pairs(value) do
      if type(item) ~= "string" then
        item = tidy(item)
        if item == nil and type(key) == "number" then item = false end
        value[key] = item
      end
    end
  end
  return value
end

--- Reads a JSON text, and never raises. A field that is null or no finite number is absent; in a
--- list it is false.
---@param text string
---@return any value or nil
---@return string? message
function json.decode(text)
  if #text > api.limits.answer then
    return nil, ("%d bytes of JSON are more than the %d that are read"):format(
      #text, api.limits.answer)
  end
  local done, value, message = pcall(codec.decode, text)
  if not done then value, message = nil, value end
  value = tidy(value)
  if value == nil then return nil, tostring(message or "the text is null") end
  return value
end

-- By number, not %c: in some locales that has bytes of UTF-8 too.
local unsafe = '[%z\1-\31\127"\\]'
local short = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(char)
  return short[char] or ("\\u%04x"):format(char:byte())
end

--- Writes a string.
---@param text string valid UTF-8
---@return string json with its quotes
function json.string(text)
  return '"' .. text:gsub(unsafe, escape) .. '"'
end

--- Writes an integer digit for digit, be it an integer, a whole float, a 64-bit integer of LuaJIT
--- or a string of decimal digits of any length.
---@param value any
---@return string? digits or nil when it is no integer
function json.integer(value)
  local digits
  if type(value) == "number" then
    if value % 1 ~= 0 then return nil end -- NaN too: inf % 1 and nan % 1 are NaN
    digits = ("%.0f"):format(value)
    if math.type and math.type(value) == "integer" then -- luacheck: ignore 143
      digits = ("%d"):format(value)
    end
  elseif type(value) == "cdata" then
    digits = tostring(value):match("^(%-?%d+)U?LL$")
  elseif type(value) == "string" then
    digits = value:match("^%-?%d+$")
  end
  if not digits then return nil end
  local sign, rest = digits:match("^(%-?)0*(%d+)$")
  return rest == "0" and "0" or sign .. rest
end

--- Reads an integer's digits.
---@param digits string
---@return number|string value a number where one holds it exactly, else the digits
function json.integer_number(digits)
  local number = tonumber(digits)
  return json.integer(number) == json.integer(digits) and number or digits
end

--- Reads an integer field from an answer's own text, for where a double loses its last digits.
---@param text string the JSON text, whole and valid
---@param name string the field's name, letters and "_" alone
---@return number|string? value a number where one holds it exactly, else its digits; nil: no such
function json.integer_field(text, name)
  -- Inside a string the quotes would be escaped, so what matches is a key.
  local digits = text:match('[^\\]"' .. name .. '"%s*:%s*(%-?%d+)%s*[,}]')
  return digits and json.integer_number(digits)
end

-- The first byte of a sequence → how many follow, and the range of the second (RFC 3629).
local function follow(lead)
  if lead < 0xC2 or lead > 0xF4 then return nil end
  if lead < 0xE0 then return 1, 0x80, 0xBF end
  if lead < 0xF0 then return 2, lead == 0xE0 and 0xA0 or 0x80, lead == 0xED and 0x9F or 0xBF end
  return 3, lead == 0xF0 and 0x90 or 0x80, lead == 0xF4 and 0x8F or 0xBF
end

--- Finds where a text stops being UTF-8.
---@param text string
---@return integer? position of the first byte of the first bad sequence; nil when all is valid
function json.invalid_utf8(text)
  local at = text:find("[\128-\255]")
  while at do
    local more, low, high = follow(text:byte(at))
    if not more then return at end
    for offset = 1, more do
      local byte = text:byte(at + offset)
      if not byte or byte < low or byte > high then return at end
      low, high = 0x80, 0xBF
    end
    at = text:find("[\128-\255]", at + more + 1)
  end
  return nil
end

return json
