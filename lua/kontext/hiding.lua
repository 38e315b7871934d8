--- Hides secrets in texts that are shown: the API key, a webhook's secret, a URL's signature. A
--- server may repeat a secret in another form: escaped as in JSON, a URL or HTML, as hexadecimal
--- digits or as base64. Each text is read a fixed number of times, so the time is proportional to
--- its length; callers cut it first.
local encoding = require "kontext.encoding"

local hiding = {}

local mark = "[hidden]"
local short = 6 -- characters: a shorter secret is hidden only as a whole word
local longest = 1024 -- bytes of a secret that are looked for
local layers = 2 -- escapes inside of escapes

-- Escapes -----------------------------------------------------------------------------------------

local json_escapes = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }
local entities = { amp = "&", lt = "<", gt = ">", quot = '"', apos = "'" }

local function of_digits(digits, base)
  local code = tonumber(digits, base)
  return code <= 0x10FFFF and encoding.utf8(code) or "?" -- which is no character
end

-- Readers of escapes by first character; each returns the decoded bytes and the last position.
local readers = {
  ["\\"] = function(text, at)
    local digits = text:match("^u(%x%x%x%x)", at + 1)
    if digits then return of_digits(digits, 16), at + 5 end
    local char = text:sub(at + 1, at + 1)
    return char ~= "" and (json_escapes[char] or char) or nil, at + 1
  end,
  ["%"] = function(text, at)
    local digits = text:match("^%x%x", at + 1)
    return digits and string.char(tonumber(digits, 16)), at + 2
  end,
  ["&"] = function(text, at)
    local name = text:match("^(#?%w%w?%w?%w?%w?%w?);", at + 1)
    if not name then return nil end
    local hex, decimal = name:match "^#[xX](%x+)$", name:match "^#(%d+)$"
    local char = hex and of_digits(hex, 16) or decimal and of_digits(decimal, 10) or entities[name]
    return char, at + 1 + #name
  end,
}

-- Returns a view of a text: { text =, first =, last = }, in which byte i was decoded from the bytes
-- first[i] … last[i] of the shown text. For the shown text itself both are nil.
local function unescaped(view)
  local text, parts, first, last = view.text, {}, {}, {}
  local count, from = 0, 1
  local function add(piece, begins, ends)
    parts[#parts + 1] = piece
    for i = 1, #piece do
      local a, b = begins or from + i - 1, ends or from + i - 1
      count = count + 1
      first[count] = view.first and view.first[a] or a
      last[count] = view.last and view.last[b] or b
    end
  end
  local at = text:find("[\\%%&]")
  if not at then return nil end
  while at do
    local char, ends = readers[text:sub(at, at)](text, at)
    if char then
      add(text:sub(from, at - 1))
      add(char, at, ends)
      from = ends + 1
    end
    at = text:find("[\\%%&]", math.max(from, at + 1))
  end
  add(text:sub(from))
  return { text = table.concat(parts), first = first, last = last }
end

-- Needles -----------------------------------------------------------------------------------------

local digits64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

-- Returns the base64 digits that depend on the secret alone when `before` bytes (0, 1 or 2) precede
-- it.
local function base64(secret, before)
  local text, digits = ("\0"):rep(before) .. secret, {}
  for at = 1, #text - 2, 3 do
    local a, b, c = text:byte(at, at + 2)
    local bits = (a * 256 + b) * 256 + c
    for power = 18, 0, -6 do
      local index = math.floor(bits / 2 ^ power) % 64 + 1
      digits[#digits + 1] = digits64:sub(index, index)
    end
  end
  -- The secret's first bits share a digit with the byte before it.
  return table.concat(digits):sub(before == 0 and 1 or before + 2)
end

-- The spellings of a secret: the text to find, and the form of the shown text to search.
local function needles_of(secret)
  if #secret < short then return { { text = secret, form = "same", word = true } } end
  local needles = {
    { text = secret:lower(), form = "lower" },
    { text = encoding.hex(secret), form = "lower" },
  }
  for before = 0, 2 do
    needles[#needles + 1] = { text = base64(secret, before), form = "base64" }
  end
  return needles
end

local forms = {
  same = function(text) return text end,
  lower = string.lower,
  base64 = function(text) return (text:gsub("-", "+"):gsub("_", "/")) end,
}

-- Spans -------------------------------------------------------------------------------------------

local function is_word(text, at)
  return text:find("^[%w_]", at) ~= nil
end

-- Returns whether the match is a whole word.
local function stands_alone(text, first, last)
  local left = is_word(text, first) and first > 1 and is_word(text, first - 1)
  local right = is_word(text, last) and is_word(text, last + 1)
  return not left and not right
end

-- Adds the bytes first … last of a view to the spans of the shown text.
local function add(spans, view, first, last)
  if view.first then first, last = view.first[first], view.last[last] end
  spans[#spans + 1] = { first, last }
end

local ellipsis = "…"
local least = 4 -- characters of a secret's beginning that are hidden where a text was cut

-- Adds the longest beginning of the needle that ends at `last`.
local function add_beginning(spans, view, text, needle, last)
  for length = math.min(#needle - 1, last), least, -1 do
    if text:sub(last - length + 1, last) == needle:sub(1, length) then
      return add(spans, view, last - length + 1, last)
    end
  end
end

-- Adds where the needle stands in a view, whole or cut.
local function search(spans, view, text, needle, cut)
  local first, last = text:find(needle.text, 1, true)
  while first do
    if not needle.word or stands_alone(text, first, last) then add(spans, view, first, last) end
    first, last = text:find(needle.text, last + 1, true)
  end
  if needle.word then return end
  if cut then add_beginning(spans, view, text, needle.text, #text) end
  local at = text:find(ellipsis, 1, true)
  for _ = 1, 16 do
    if not at then break end
    add_beginning(spans, view, text, needle.text, at - 1)
    at = text:find(ellipsis, at + 1, true)
  end
end

-- Returns the text with a mark in the place of each span.
local function without(text, spans)
  table.sort(spans, function(a, b) return a[1] < b[1] end)
  local parts, from = {}, 1
  for _, span in ipairs(spans) do
    if span[1] >= from then
      parts[#parts + 1] = text:sub(from, span[1] - 1)
      parts[#parts + 1] = mark
    end
    from = math.max(from, span[2] + 1)
  end
  parts[#parts + 1] = text:sub(from)
  return table.concat(parts)
end

--- Returns a text without the secrets, in any of their spellings.
---@param text string
---@param secrets string[]
---@param cut boolean its end was cut off: the beginning of a secret there is hidden, too
---@return string
function hiding.secrets(text, secrets, cut)
  if #secrets == 0 or text == "" then return text end
  local views, spans = { { text = text } }, {}
  for layer = 1, layers do views[layer + 1] = views[layer] and unescaped(views[layer]) end
  for _, secret in ipairs(secrets) do
    local needles = needles_of(secret:sub(1, longest))
    for _, view in ipairs(views) do
      for _, needle in ipairs(needles) do
        search(spans, view, forms[needle.form](view.text), needle, cut)
      end
    end
  end
  return #spans > 0 and without(text, spans) or text
end

--- Returns a text without the queries of its URLs: they may hold signatures.
---@param text string
---@return string
function hiding.signatures(text)
  if not text:find("?", 1, true) then return text end
  return (text:gsub("[^%s\"'<>]+", function(word)
    local scheme = select(2, word:find "[Hh][Tt][Tt][Pp][Ss]?:[\\/]")
    local query = scheme and word:find("?", scheme + 1, true)
    return query and query < #word and word:sub(1, query) .. mark or nil
  end))
end

return hiding
