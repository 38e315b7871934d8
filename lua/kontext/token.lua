--- Tokens: all that another process needs to go on with a job, in one word without a key in it.
local core = require "kontext.core"

local token = {}

local version = "kontext1"
local names = { "id", "polling_url", "model", "save_as", "key", "output_format", "path", "md5",
  "kind" }
local known = {}
for _, name in ipairs(names) do known[name] = true end

local function escape(text)
  return (text:gsub("[^%w%-%._~]", function(char) return ("%%%02X"):format(char:byte()) end))
end

local function unescape(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

--- Returns eight digits that tell a text which lost a part on the way.
---@param text string
---@return string
function token.sum(text)
  return (core.sha256(text):sub(1, 4):gsub(".", function(char)
    return ("%02x"):format(char:byte())
  end))
end

--- Writes values as name=value, with commas between and nothing in them that a shell would take.
---@param values table<string, string>
---@return string
function token.text(values)
  local parts = {}
  for _, name in ipairs(names) do
    if values[name] then parts[#parts + 1] = name .. "=" .. escape(values[name]) end
  end
  return table.concat(parts, ",")
end

--- Reads what token.text has written, and nothing that bears another name.
---@param text string
---@return table<string, string>
function token.values(text)
  local values = {}
  for name, value in text:gmatch("([%w_]+)=([^,]*)") do
    if known[name] then values[name] = unescape(value) end
  end
  return values
end

--- Writes the token of a job that has an id.
---@param job kontext.Job
---@return string
function token.write(job)
  local text = version .. ":" .. token.text { id = job.id, polling_url = job.polling_url,
    model = job._params.model, save_as = job._params.save_as, key = job._params.key,
    output_format = job._params.output_format }
  return text .. ":" .. token.sum(text)
end

--- Reads a token.
---@param text string
---@return table<string, string>? values
---@return string? message
function token.read(text)
  local body, digits = text:match("^%s*(" .. version .. ":[^:]*):(%x+)%s*$")
  if not body then return nil, "it is no token of job:token()" end
  if token.sum(body) ~= digits then return nil, "it is not whole: copy all of it" end
  local values = token.values(body:sub(#version + 2))
  if not values.id then return nil, "it has no id" end
  return values
end

return token
