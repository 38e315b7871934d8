--- JSON without loss: answers are read under a cap, and integers and strings are written here. No
--- number depends on the process's locale, which a host may change at any time.
local api = require "kontext.api"
local encoding = require "kontext.encoding"

local json = {}

local max_depth = 64 -- of nested arrays and objects
local most_parts = 20000 -- strings and values of an answer: reading them takes some 20 ms
local most_walked = 5000 -- the same, of an answer that is walked over
local host = rawget(_G, "vim")

-- Returns a pure Lua module that is installed for Lua 5.1 alone, or nil. Debian's testing has no
-- modules for Lua 5.2, which its mpv loads; dkjson's file serves every Lua.
local function of_lua_5_1(name)
  local path = package.path:gsub("/lua/5%.%d/", "/lua/5.1/")
  local search = package.searchpath -- luacheck: ignore 143 (Lua 5.1 has none)
  local file = search and search(name, path)
  local found, module = pcall(dofile, file or "")
  return found and module or nil
end

-- The libraries that read JSON, best first: each opens one and returns its name, its decoder and
-- its null, or nil.
local libraries = {
  -- A private instance, because settings are shared otherwise.
  function()
    -- It ends the process when the locale's decimal point is longer than one byte.
    if #("%.1f"):format(0.5) ~= 3 then return nil end
    local found, cjson = pcall(require, "cjson.safe")
    if not found then return nil end
    local codec = cjson.new()
    codec.decode_max_depth(max_depth)
    return "lua-cjson " .. tostring(codec._VERSION), codec.decode, cjson.null
  end,
  function()
    local vim_json = type(host) == "table" and host.json
    return vim_json and "vim.json", vim_json and vim_json.decode, vim_json and host.NIL
  end,
  function()
    local found, dkjson = pcall(require, "dkjson")
    if not found then dkjson = of_lua_5_1 "dkjson" end
    if not dkjson then return nil end
    return "dkjson " .. dkjson.version:match "[%d.]+$", function(text)
      -- It accepts half of a surrogate pair, and makes invalid UTF-8 of it.
      local halves = text:gsub("\\\\", "  ")
        :gsub("\\u[dD][89abAB]%x%x\\u[dD][c-fC-F]%x%x", " ")
      if halves:find "\\u[dD][89a-fA-F]" then return nil, "half of a character" end
      local value, after, message = dkjson.decode(text, 1, dkjson.null, nil, nil)
      if message then return nil, message end
      if text:find("%S", after) then return nil, "there is more after the value" end
      return value
    end, dkjson.null
  end,
}

local library, decode, null
for _, open in ipairs(libraries) do
  library, decode, null = open()
  if library then break end
end
if not library then
  error("kontext needs lua-cjson, or dkjson (pure Lua): install one of them", 0)
end

--- The library that reads JSON here.
json.name = library

local exact = 2 ^ 53 -- a double holds each integer up to it
local tointeger = math.tointeger or function(n) return n end -- luacheck: ignore 143

--- Reads a decimal number independently of the process's locale.
---@param text string such as "4.5" or "-1e3"
---@return number?
function json.to_number(text)
  local short = #text <= 200 and text:find "^%-?%d+%.?%d*[eE]?[+-]?%d*$"
  if not short then return nil end
  -- Before Lua 5.3 tonumber takes only the locale's own decimal point.
  return tonumber(text) or tonumber((text:gsub("%.", ("%.1f"):format(0.5):match "^0(.+)5$")))
end

--- Writes a number so that it reads back as the same, with a point in every locale.
---@param value number
---@return string? digits nil when it is not finite
function json.number(value)
  if value ~= value or value == math.huge or value == -math.huge then return nil end
  local whole = math.abs(value) < exact and json.integer(value)
  if whole then return whole end
  for digits = 14, 17 do
    local text = ("%." .. digits .. "g"):format(value):gsub("[^%d+e-]+", ".")
    if digits == 17 or json.to_number(text) == value then return text end
  end
end

-- Returns the position of the closing quote of the JSON string that begins at `from`, or nil.
local function string_end(text, from)
  local at = from + 1
  while true do
    at = text:find('["\\]', at)
    if not at or text:byte(at) == 34 then return at end
    at = at + 2
  end
end

-- Words that some services write for numbers that are not finite; not every library reads them.
local endless = { nan = true, inf = true, infinity = true }

local function without_words(word)
  return endless[word:lower():match "%a+"] and "null" or nil
end

-- Returns the text with each number as a string that begins with the returned mark, because a
-- library may read numbers by the locale, and take "7," for one. Takes linear time.
local function without_numbers(text)
  local mark
  for byte = 1, 31 do -- no string of the text has this character
    mark = ("\\u%04x"):format(byte)
    if not text:find(mark, 1, true) then break end
  end
  local parts, at = {}, 1
  repeat
    local quote = text:find('"', at, true)
    local between = text:sub(at, quote and quote - 1)
    if between:find "[NnIi]" then between = between:gsub("%-?%a+", without_words) end
    parts[#parts + 1] = between:gsub("([%d.eE+-]+)(%s*:?)", function(number, after)
      if after:sub(-1) == ":" then return nil end -- a number is no member's name
      return json.to_number(number) and '"' .. mark .. number .. '"' .. after
    end)
    if not quote then break end
    at = (string_end(text, quote) or #text) + 1
    parts[#parts + 1] = text:sub(quote, at - 1)
  until at > #text
  return table.concat(parts), string.char(tonumber(mark:sub(3), 16))
end

-- Returns `value` without null and without numbers that are not finite: a paid task's other fields
-- must not be lost for them. In a list they become false, so that it keeps its length. A whole
-- number becomes an integer if this Lua has integers.
local function tidy(value, mark)
  if value == null then return nil end
  if type(value) == "string" then
    if not mark or value:sub(1, 1) ~= mark then return value end
    value = json.to_number(value:sub(2)) or value
  end
  if type(value) == "number" then
    if value ~= value or value == math.huge or value == -math.huge then return nil end
    return value % 1 == 0 and math.abs(value) < exact and tointeger(value) or value
  end
  if type(value) == "table" then
    for key, item in pairs(value) do
      if mark or type(item) ~= "string" then
        item = tidy(item, mark)
        if item == nil and type(key) == "number" then item = false end
        value[key] = item
      end
    end
  end
  return value
end

-- Returns whether arrays and objects are nested too deep: not every library has a limit.
local function too_deep(text)
  local depth, at = 0, 0
  while true do
    at = text:find('["%[{%]}]', at + 1)
    local byte = at and text:byte(at)
    if not byte then return false end
    if byte == 34 then
      at = string_end(text, at)
      if not at then return false end
    else
      depth = depth + ((byte == 91 or byte == 123) and 1 or -1)
      if depth > max_depth then return true end
    end
  end
end

local has_depth_limit = library:find "^lua%-cjson" ~= nil

--- Reads a JSON text, and never raises. A field that is null or not a finite number is absent; in
--- a list it is false.
---@param text string
---@return any value or nil
---@return string? message
function json.decode(text)
  if #text > api.limits.answer then
    return nil, ("%d bytes of JSON are more than the %d that are read"):format(
      #text, api.limits.answer)
  end
  if #text > most_parts and select(2, text:gsub('[%[{,"]', "")) > most_parts then
    return nil, ("it has more than %d values"):format(most_parts)
  elseif not has_depth_limit and too_deep(text) then
    return nil, ("it is nested deeper than %d levels"):format(max_depth)
  elseif text:find("\0", 1, true) then
    return nil, "it has a NUL byte" -- lua-cjson takes it for the end, other libraries do not
  end
  local readable, mark = without_numbers(text)
  local done, value, message = pcall(decode, readable)
  if not done then value, message = nil, value end
  value = tidy(value, mark)
  if value == nil then return nil, tostring(message or "the text is null") end
  return value
end

local byte_order_mark = "\239\187\191"

-- Returns where the first value begins, after white space and marks.
local function opening(text)
  local at = text:sub(1, 3) == byte_order_mark and 4 or 1
  return text:find("[{%[]", at)
end

-- Walks over a JSON text that may be cut or followed by something. Calls `found(depth, name, kind,
-- value)` for each whole string, number and opening bracket ("{" or "[") of a member; `name` is
-- nil in a list. Returns the end of the first whole value; or nil, the end of the last whole part,
-- and the brackets that would close the text there. Takes linear time.
local function walk(text, from, found)
  local closers, at, whole_to = {}, from, from - 1
  local name -- of the member whose value comes next
  for _ = 1, most_walked do
    if #closers > max_depth then break end
    at = text:find('["{}%[%],:%w.+-]', at)
    local byte = at and text:sub(at, at)
    if not byte then break end
    local last = at
    if byte == '"' then
      last = string_end(text, at)
      if not last then break end
      local colon = closers[#closers] == "}" and not name
        and select(2, text:find("^%s*:", last + 1))
      if colon then
        name, last = text:sub(at + 1, last - 1), colon
      else
        found(#closers, name, "string", text:sub(at + 1, last - 1))
        name, whole_to = nil, last
      end
    elseif byte == "{" or byte == "[" then
      found(#closers, name, byte)
      closers[#closers + 1] = byte == "{" and "}" or "]"
      name, whole_to = nil, at
    elseif byte == "}" or byte == "]" then
      if closers[#closers] ~= byte then break end -- the rest is not JSON
      closers[#closers] = nil
      name, whole_to = nil, at
      if #closers == 0 then return at end
    elseif byte ~= "," and byte ~= ":" then
      last = select(2, text:find("^[%w.+-]+", at))
      if last == #text then break end -- more of it may have been cut off
      found(#closers, name, "other", text:sub(at, last))
      name, whole_to = nil, last
    end
    at = last + 1
  end
  return nil, whole_to, table.concat(closers):reverse()
end

local function ignore() end

--- Reads an answer to a paid request more liberally than `decode`: a byte order mark may precede
--- the value, anything may follow it, and its end may be missing.
---@param text string
---@return any value or nil
---@return string? message
function json.decode_liberal(text)
  text = text:sub(1, api.limits.answer)
  local value, message = json.decode(text)
  local from = value == nil and opening(text)
  if not from then return value, message end
  local whole, last, closers = walk(text, from, ignore)
  if whole then return json.decode(text:sub(from, whole)) end
  return json.decode(text:sub(from, last) .. closers)
end

local simple = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

-- Returns the value of a JSON string that is given without its quotes.
local function unescape(raw)
  if not raw:find("\\", 1, true) then return raw end
  raw = raw:gsub("\\(u?)(.)(%x?%x?%x?)", function(u, first, rest)
    if u == "" then return (simple[first] or first) .. rest end
    local code = #rest == 3 and tonumber(first .. rest, 16)
    return code and encoding.utf8(code) or "?"
  end)
  -- Surrogate pairs: the halves of a character beyond 16 bits.
  raw = raw:gsub("\237([\160-\175])([\128-\191])\237([\176-\191])([\128-\191])",
    function(a, b, c, d)
      local high = (a:byte() - 160) * 64 + b:byte() - 128
      return encoding.utf8(0x10000 + high * 0x400 + (c:byte() - 176) * 64 + d:byte() - 128)
    end)
  return raw
end

local longest_field = 4096 -- bytes of an id or an address

-- Members whose objects have an id that is not the task's.
local foreign = { error = true, errors = true, detail = true, details = true }

-- Returns a member's value as text: a string, or an integer's digits; nil for anything else.
local function text_of(kind, value)
  if #value == 0 or #value > longest_field then return nil end
  if kind == "string" then return unescape(value) end
  return kind == "other" and value:match "^%d+$" or nil
end

-- Takes a member of the answer's own object into `kept`.
local function keep(kept, name, kind, value)
  if kept[name] ~= nil then return end
  if name == "id" or name == "task_id" then
    kept[name] = text_of(kind, value)
  elseif (name == "polling_url" or name == "sample") and kind == "string" then
    kept[name] = text_of(kind, value)
  elseif name == "status" and kind == "string" then
    kept[name] = text_of(kind, value)
  elseif name == "cost" and kind == "other" and #value <= 32 then
    kept[name] = json.to_number(value)
  end
end

-- Returns the id that a polling URL asks for.
local function id_in(url)
  local id = url and url:match "[?&]id=([^&#]+)"
  return id and id:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
end

--- Reads the task from an answer that accepts an edit, even if the answer is cut, or something
--- precedes or follows it. A value that is cut does not count, so an id is always whole: the member
--- "id" of the outer object, else its "task_id", else the id in its polling URL, else the id of an
--- inner object (then `nested` is true). Never raises.
---@param text string? the body
---@return { id: string?, polling_url: string?, cost: number?, status: string?, sample: string?,
---   nested: true? }?
--- told nil where there is neither an id nor a polling URL
function json.salvage(text)
  if type(text) ~= "string" then return nil end
  text = text:sub(1, api.limits.answer)
  local from = opening(text)
  if not from then return nil end
  local own, inner, skipped = {}, {}, nil
  local top = text:sub(from, from) == "[" and 2 or 1 -- an answer in a list is the answer
  walk(text, from, function(depth, name, kind, value)
    if skipped and depth <= skipped then skipped = nil end
    if kind == "{" or kind == "[" then
      if not skipped and name and foreign[name] then skipped = depth end
    elseif name and depth == top then
      keep(own, name, kind, value)
    elseif name and not skipped then
      keep(inner, name, kind, value)
    end
  end)
  local told = { id = own.id or own.task_id or id_in(own.polling_url), status = own.status,
    sample = inner.sample,
    polling_url = own.polling_url, cost = own.cost }
  if not told.id and not told.polling_url then
    told.id, told.polling_url = inner.id or inner.task_id, inner.polling_url
    told.cost, told.nested = told.cost or inner.cost, true
  end
  if told.id or told.polling_url then return told end
  return nil
end

-- By number, because in some locales %c matches bytes of UTF-8.
local unsafe = '[%z\1-\31\127"\\]'
local short = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(char)
  return short[char] or ("\\u%04x"):format(char:byte())
end

--- Writes a string. It escapes all that a terminal would act on: control characters, C1 included,
--- and those that change the direction of writing.
---@param text string valid UTF-8
---@return string json with its quotes
function json.string(text)
  return '"' .. encoding.escape_acting(text:gsub(unsafe, escape), "\\u%04x") .. '"'
end

--- Writes an integer digit for digit: an integer, a whole float, a 64-bit integer of LuaJIT or a
--- string of decimal digits of any length.
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

--- Reads an integer field from an answer's text, because a double would lose its last digits.
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
---@param from? integer where to begin
---@return integer? position of the first byte of the first bad sequence; nil when all is valid
function json.invalid_utf8(text, from)
  local at = text:find("[\128-\255]", from)
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
