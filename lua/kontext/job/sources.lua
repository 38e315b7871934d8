--- Where a picture comes from: a path, bytes, a URL, an earlier result.
local core = require "kontext.core"
local messages = require "kontext.job.messages"

local sources = {}

-- Returns the source of a URL, or nil and what is wrong with it, without showing it: it may be
-- signed.
local function url_source(value)
  if not value:lower():find("^https://") then
    return nil, "is no https:// URL: the service is given no other; download it and give its bytes"
  elseif not value:find("^[\33-\126]+$") then
    return nil, "has characters that no URL has: percent-encode spaces and what is not ASCII"
  end
  return { url = value }
end

-- Returns the source that a plain string names.
local function string_source(value)
  if value == "" then return nil, "is empty: give a path, an image's bytes or an https:// URL" end
  local format = core.sniff(value)
  if format == "base64" or value:sub(1, 5):lower() == "data:" then
    return nil, "is base64 text: decode it and give the image's bytes"
  elseif format then
    return { bytes = value }
  elseif value:find("^%a+://") then
    return url_source(value)
  elseif #value > 4096 then -- longer than any path
    return nil, ("is a string of %d bytes, neither a picture's nor a path"):format(#value)
  end
  return { path = value }
end

local makers = {
  path = function(value) return { path = value } end,
  bytes = function(value) return { bytes = value } end,
  url = url_source,
}

local Result = {} -- the result of another edit of a batch

--- Makes what stands for another item's result: its key, and once that item has ended its
--- picture.
---@param key string
---@param source? table {path=} or {bytes=}
---@return table
function sources.result(key, source)
  return setmetatable({ result = key, path = source and source.path,
    bytes = source and source.bytes }, Result)
end

--- Returns the key of the item whose result a value stands for, or nil.
---@param value any
---@return string?
function sources.result_key(value)
  return getmetatable(value) == Result and value.result or nil
end

--- Returns where an input image comes from.
---@param value string|table a path, an image's bytes, an https:// URL; an image of an earlier edit;
--- or exactly one of {path=}, {bytes=}, {url=}, for text that comes from strangers
---@return table? source {path=}, {bytes=} or {url=}
---@return string? message what is wrong with it, to stand after the parameter's name
function sources.image(value)
  if type(value) == "string" then return string_source(value) end
  if sources.result_key(value) then return value end
  if type(value.format) == "string" then -- an image; one that was saved is read where it lies
    local bytes = rawget(value, "bytes")
    if type(bytes) == "string" then return { bytes = bytes } end
    if type(value.path) == "string" then return { path = value.path } end
  end
  local key, content = next(value)
  if makers[key] and next(value, key) == nil and type(content) == "string" then
    return makers[key](content)
  elseif key == "result" and next(value, key) == nil then
    return nil, ("is the result of %s: only an edit of a batch takes another one's"):format(
      messages.shown(content))
  end
  return nil, "is a table, but neither an image nor exactly one of {path=}, {bytes=}, {url=}"
end

return sources
