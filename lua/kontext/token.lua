--- Tokens: all that another process needs to continue a task, in one word and without the API key.
--- A token may come from a stranger, so it names no file.
local core = require "kontext.core"
local encoding = require "kontext.encoding"

local token = {}

local version = "kontext1"

-- The fields of a journal's line, in this order; and those that a token has too.
local names = { "id", "polling_url", "model", "at", "key", "save_as", "no_replace", "output_format",
  "identity", "path", "md5", "size", "kind", "region", "window", "source", "stamp", "mask",
  "metadata", "own_url" }
local in_token = { id = true, polling_url = true, own_url = true, model = true, at = true,
  key = true, output_format = true, region = true } -- so that no window takes a photograph's place
local known = {}
for _, name in ipairs(names) do known[name] = true end

local longest = 64 * 1024 -- bytes of a token

--- Reads what encoding.percent has written.
---@param text string
---@return string
function token.unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- Returns a checksum of eight digits.
---@param text string
---@return string
function token.sum(text)
  return encoding.hex(core.sha256(text):sub(1, 4))
end

--- Writes values as name=value, separated by commas, without characters that a shell interprets.
---@param values table<string, string>
---@param only? table<string, boolean> the names that are written; default: all
---@return string
function token.text(values, only)
  local parts = {}
  for _, name in ipairs(names) do
    if values[name] and (not only or only[name]) then
      parts[#parts + 1] = name .. "=" .. encoding.percent(values[name])
    end
  end
  return table.concat(parts, ",")
end

--- Reads what token.text wrote, and ignores unknown names.
---@param text string
---@return table<string, string>
function token.values(text)
  local values = {}
  for name, value in text:gmatch("([%w_]+)=([^,]*)") do
    if known[name] then values[name] = token.unescape(value) end
  end
  return values
end

--- Writes the token of a task.
---@param task table<string, string> of job:known()
---@return string
function token.write(task)
  local text = version .. ":" .. token.text(task, in_token)
  return text .. ":" .. token.sum(text)
end

--- Reads a token.
---@param text string
---@return table<string, string>? values
---@return string? message
function token.read(text)
  if #text > longest then return nil, "it is longer than any token" end
  local body, digits = text:match("^%s*(" .. version .. ":[^:%s]*):(%x+)%s*$")
  if not body then return nil, "it is no token of job:token()" end
  if token.sum(body) ~= digits then return nil, "it is not whole: copy all of it" end
  local values = {}
  for name, value in pairs(token.values(body:sub(#version + 2))) do
    if in_token[name] then values[name] = value end
  end
  if not values.id then return nil, "it has no id" end
  return values
end

return token
