--- Bytes as texts of other alphabets, and characters as bytes.
local encoding = {}

--- Returns bytes as hexadecimal digits in lower case.
---@param bytes string
---@return string
function encoding.hex(bytes)
  return (bytes:gsub(".", function(char) return ("%02x"):format(char:byte()) end))
end

--- Returns a text as a part of a URL: all but letters, digits and "-._~" percent-encoded.
---@param text string
---@return string
function encoding.percent(text)
  return (text:gsub("[^%w%-%._~]", function(char) return ("%%%02X"):format(char:byte()) end))
end

--- Returns a code point as UTF-8.
---@param code integer up to 0x1FFFFF
---@return string
function encoding.utf8(code)
  if code < 0x80 then return string.char(code) end
  local tail, lead = "", code < 0x800 and 0xC0 or code < 0x10000 and 0xE0 or 0xF0
  for _ = 1, code < 0x800 and 1 or code < 0x10000 and 2 or 3 do
    tail = string.char(0x80 + code % 0x40) .. tail
    code = math.floor(code / 0x40)
  end
  return string.char(lead + code) .. tail
end

-- Characters that a terminal acts on: C1 controls; separators of lines and U+202A to U+202E, which
-- turn the direction of writing; U+2066 to U+2069, which do so too.
local acting = { "\194[\128-\159]", "\226\128[\168-\174]", "\226\129[\166-\169]" }

--- Replaces the characters beyond ASCII that a terminal acts on by an escape of their code point.
---@param text string valid UTF-8
---@param format string of the escape, such as "\\u%04x"
---@return string
function encoding.escape_acting(text, format)
  if not text:find "[\194\226]" then return text end
  local function escape(char)
    local a, b, c = char:byte(1, 3)
    local code = c and (a % 16 * 64 + b % 64) * 64 + c % 64 or a % 32 * 64 + b % 64
    return format:format(code)
  end
  for _, pattern in ipairs(acting) do text = text:gsub(pattern, escape) end
  return text
end

return encoding
