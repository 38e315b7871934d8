-- Any bytes as JSON, as a string to be written, as digits: what is read has no null and no endless
-- number in it, what is written is read again as it was, and UTF-8 is what Lua 5.4 says it is.
local cjson = require "cjson.safe"
local json = require "kontext.json"

local plain = cjson.new()

local function check(value, depth)
  assert(value ~= cjson.null and depth <= 64)
  if type(value) == "number" then assert(value - value == 0, "a number is not finite") end
  if type(value) ~= "table" then return end
  for _, item in pairs(value) do check(item, depth + 1) end
end

local function check_string(text)
  local valid, bad = utf8.len(text)
  assert(json.invalid_utf8(text) == bad)
  if not valid then return end
  local written = json.string(text)
  assert(not written:find "[%z\1-\31\127]")
  assert(plain.decode("[" .. written .. "]")[1] == text, "a string is not read as it was written")
end

local function check_digits(text)
  local digits = json.integer(text)
  if not text:find "^%-?%d+$" then return assert(digits == nil) end
  assert(digits == "0" or digits:find "^%-?[1-9]%d*$")
  assert(text:gsub("^%-?0*", "") == digits:gsub("^[%-0]+", ""), "digits were lost")
  local number = json.integer_number(text)
  assert(type(number) == "string" and number == text or json.integer(number) == digits)
end

local function check_field(text, value)
  local seed = json.integer_field(text, "seed")
  assert(seed == nil or type(seed) == "number" or seed:find "^%-?%d+$")
  local told = type(value) == "table" and math.type(value.seed) == "integer" and value.seed
  local _, times = text:gsub("seed", "")
  if told and times == 1 and text:find('"seed"%s*:%s*%-?%d+%s*[,}]') then assert(seed == told) end
end

return function(text)
  local value, message = json.decode(text)
  if value == nil then
    assert(type(message) == "string")
  else
    check(value, 0)
    assert(plain.decode(text) ~= nil)
    check_field(text, value)
  end
  check_string(text)
  check_digits(text)
end
