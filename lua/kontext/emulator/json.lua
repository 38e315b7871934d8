-- JSON as the service writes it: keys in an order of one's choosing, no escaped slashes, numbers
-- digit for digit. Reading is lua-cjson's, or dkjson's where there is no lua-cjson.

local need = require "kontext.emulator.need"

local json = {}
local quote

local found, cjson = pcall(require, "cjson.safe")
if found then
  cjson = cjson.new()
  cjson.decode_invalid_numbers(false)
  json.null, json.decode = cjson.null, cjson.decode
  function quote(text) return (cjson.encode(text):gsub("\\/", "/")) end
else
  local dkjson = need "dkjson"
  json.null, quote = dkjson.null, dkjson.quotestring

  --- As lua-cjson's: the message of a text that is no JSON ends in the mistake's place.
  function json.decode(text)
    -- dkjson takes comments for white space.
    local bare = text:gsub("\\.", ""):gsub('"[^"]*"', "")
    local comment = bare:find "/[/*]" and text:find "/[/*]"
    if comment then return nil, "a comment at character " .. comment end
    local value, after, message = dkjson.decode(text, 1, dkjson.null, nil, nil)
    if message then return nil, ("%s at character %d"):format(message, after) end
    local more = text:find("%S", after)
    if more then return nil, "more after the value at character " .. more end
    return value
  end
end

local object, array, raw = {}, {}, {} -- metatables that say how a table is written

--- An object written in the order given.
---@param members { [1]: string, [2]: any }[]
function json.object(members) return setmetatable(members, object) end

--- An object whose order chance makes. A member that is nil becomes null, or now and then is
--- missing, as the service's optional ones are.
---@param random fun(n: integer): integer
---@param members { [1]: string, [2]: any }[]
function json.shuffled(random, members)
  local list = {}
  for _, pair in ipairs(members) do
    if pair[2] ~= nil or random(4) > 1 then
      table.insert(list, random(#list + 1), { pair[1], pair[2] })
    end
  end
  return json.object(list)
end

--- An array, also where it is empty.
---@param list any[]
function json.array(list) return setmetatable(list, array) end

--- Text that is JSON already: integers of any length, floats with their noise.
---@param text string
function json.raw(text) return setmetatable({ text }, raw) end

local function number(value)
  if value % 1 == 0 and math.abs(value) < 2 ^ 53 then return ("%.0f"):format(value) end
  for digits = 15, 17 do
    local text = ("%." .. digits .. "g"):format(value)
    if tonumber(text) == value or digits == 17 then return text end
  end
end

local function keys_of(map)
  local keys = {}
  for key in pairs(map) do keys[#keys + 1] = key end
  table.sort(keys)
  return keys
end

local encode

local function member(name, value) return encode(name) .. ":" .. encode(value) end

local function encode_table(value)
  local kind, parts = getmetatable(value), {}
  if kind == raw then return value[1] end
  if kind == object then
    for i, pair in ipairs(value) do parts[i] = member(pair[1], pair[2]) end
  elseif kind == array or #value > 0 then
    for i, item in ipairs(value) do parts[i] = encode(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  else
    for i, key in ipairs(keys_of(value)) do parts[i] = member(key, value[key]) end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- The JSON of a value: plain tables as objects with sorted keys, or as arrays.
---@param value any
---@return string
function encode(value)
  local kind = type(value)
  if value == nil or value == json.null then return "null" end
  if kind == "table" then return encode_table(value) end
  if kind == "number" then return number(value) end
  if kind == "boolean" then return tostring(value) end
  return quote(value)
end

json.encode = encode

return json
