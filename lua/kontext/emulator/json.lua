-- JSON as the service writes it: keys in an order of one's choosing, no escaped slashes, numbers
-- digit for digit. Reading is lua-cjson's.

local need = require "kontext.emulator.need"
local cjson = need "cjson.safe".new()

local json = { null = cjson.null, decode = cjson.decode }
cjson.decode_invalid_numbers(false)

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
  return (cjson.encode(value):gsub("\\/", "/"))
end

json.encode = encode

return json
