--- The terminal: escaping of text, and the live line on standard error.
local core = require "kontext.core"
local json = require "kontext.json"

local screen = {}

local interval = 0.1 -- seconds between two drawings of the live line
local least_columns = 20

local function hexadecimal(bytes)
  return (bytes:gsub(".", function(byte) return ("\\x%02X"):format(byte:byte()) end))
end

-- Valid UTF-8 that controls a terminal or reorders its text: C0 and DEL, C1, the line and paragraph
-- separators, and the marks that change the direction of writing.
local controls = { "[%z\1-\31\127]", "\194[\128-\159]", "\226\128[\142\143\168-\174]",
  "\226\129[\166-\169]" }

--- Escapes a text for a terminal: control characters (C0, DEL, C1), marks that change the direction
--- of writing and bytes that are not UTF-8 become \xNN.
---@param text string
---@return string
function screen.escape(text)
  local parts, at = {}, json.invalid_utf8(text)
  while at do
    parts[#parts + 1] = text:sub(1, at - 1)
    parts[#parts + 1] = hexadecimal(text:sub(at, at))
    text = text:sub(at + 1)
    at = json.invalid_utf8(text)
  end
  text = table.concat(parts) .. text
  for _, pattern in ipairs(controls) do text = text:gsub(pattern, hexadecimal) end
  return text
end

local shown -- the live line that stands on the terminal now
local drawn_at = -math.huge

--- Returns whether a live line makes sense: standard error is a terminal that can rewrite a line.
---@return boolean
function screen.is_live()
  return core.terminal(2) ~= nil and os.getenv "TERM" ~= "dumb"
end

--- Cuts a text to `columns` characters, without cutting one of them in two.
---@param text string
---@param columns integer
---@return string
function screen.cut(text, columns)
  local count, at = 0, 1
  for start in text:gmatch "()[^\128-\191]" do
    count = count + 1
    if count > columns then return text:sub(1, start - 1) end
    at = start
  end
  return at and text or ""
end

--- Returns how many characters a text has.
---@param text string
---@return integer
function screen.columns(text)
  return select(2, text:gsub("[^\128-\191]", ""))
end

--- Draws the live line over the previous one.
---@param text string
function screen.draw(text)
  local columns = math.max(core.terminal(2) or 80, least_columns)
  text = screen.cut(screen.escape(text), columns - 1)
  if text == shown then return end
  io.stderr:write("\r", text, "\27[K")
  io.stderr:flush()
  shown = text
end

--- Calls `compose` for the live line, at most every tenth of a second, and draws what it returns.
---@param compose fun(): string
function screen.refresh(compose)
  local now = core.now()
  if now - drawn_at < interval then return end
  drawn_at = now
  screen.draw(compose())
end

--- Removes the live line, so that another line can be written there.
function screen.wipe()
  if not shown then return end
  io.stderr:write "\r\27[K"
  io.stderr:flush()
  shown, drawn_at = nil, -math.huge
end

--- Returns a number of seconds for people: "8 s", "3:05 min", "2 h 10 min".
---@param seconds number
---@return string
function screen.time(seconds)
  seconds = math.floor(seconds + 0.5)
  if seconds < 60 then return ("%d s"):format(seconds) end
  if seconds < 3600 then return ("%d:%02d min"):format(math.floor(seconds / 60), seconds % 60) end
  return ("%d h %d min"):format(math.floor(seconds / 3600), math.floor(seconds / 60) % 60)
end

--- Returns a bar of `width` characters; `done` (0 … 1) says how much of it is full.
---@param done number
---@param width integer
---@return string
function screen.bar(done, width)
  local full = math.floor(math.max(0, math.min(1, done)) * width + 0.5)
  return "[" .. ("#"):rep(full) .. ("."):rep(width - full) .. "]"
end

return screen
