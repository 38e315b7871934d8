--- The parameters of an edit: what they are called, what they may be, and the JSON made of them.
local api = require "kontext.api"
local core = require "kontext.core"
local json = require "kontext.json"

local params = {}

-- Returns a value as a sentence may show it.
local function shown(value)
  value = tostring(value)
  if #value > 60 then value = value:sub(1, 57) .. "..." end
  return '"' .. value:gsub("[%z\1-\31\127]", "?") .. '"'
end

-- The checks. Each gets a value of the right Lua type and all that was given, and returns the value
-- as it is kept, or nil and what is wrong with it, to stand after the parameter's name.

local function text(value)
  local at = json.invalid_utf8(value)
  if at then
    return nil, ("is not valid UTF-8 (byte %d, 0x%02X): convert it"):format(at, value:byte(at))
  end
  return value
end

local function prompt(value)
  if not value:find("%S") then return nil, "is empty: say what is to be changed" end
  if #value > api.limits.prompt_bytes then
    return nil, ("has %d bytes, and the service reads at most %d tokens: shorten it"):format(
      #value, api.limits.prompt_tokens)
  end
  return text(value)
end

local function image(value)
  return params.image(value)
end

local function ratio(value)
  if api.parse_ratio(value) then return value end
  return nil, ('is %s: write it as "W:H", such as "16:9", from 3:7 to 7:3'):format(shown(value))
end

local function seed(value)
  local digits = json.integer(value)
  if digits then return digits end
  return nil, ("is %s: it must be a whole number"):format(shown(value))
end

local function as_it_is(value)
  return value
end

local function safety(value, given)
  local limit = api.limits.safety_tolerance
  local max = given.input_image ~= nil and limit.with_image or limit.without
  if value % 1 == 0 and value >= 0 and value <= max then return value end
  return nil, ("is %s: it must be a whole number from 0 (strict) to %d%s"):format(
    tostring(value), max, max == limit.with_image and " with an input image" or "")
end

local function output_format(value)
  if not api.output_formats[value] then
    return nil, ('is %s: it must be "jpeg" or "png"'):format(shown(value))
  end
  return value
end

local function webhook_url(value)
  if #value > api.limits.webhook_url then
    return nil, ("has %d characters: at most %d are taken"):format(#value, api.limits.webhook_url)
  end
  -- Not shown: a URL may hold a password or a signature.
  if not value:lower():find("^https?://[\33-\126]+$") then
    return nil, "must be an http:// or https:// URL, in ASCII and without spaces"
  end
  return value
end

-- The value is a secret: no message shows it.
local function webhook_secret(value)
  if value == "" then return nil, "is empty: an empty secret proves nothing" end
  if value:find("[%z\1-\31\127]") then
    return nil, "has control characters: it could not come back in a header"
  end
  return text(value)
end

local function model(value)
  if api.endpoints[value] then return value end
  return nil, ('is %s: it must be "flux-kontext-pro" or "flux-kontext-max"'):format(shown(value))
end

local function seconds(value)
  if value > 0 and value < math.huge then return value end
  return nil, ("is %s: it must be a number of seconds above 0"):format(tostring(value))
end

local function save_as(value)
  if value == "" or value:find("%z") then return nil, "is not the name of a file" end
  local extension = value:match("%.(%w+)$")
  if extension and api.extensions[extension:lower()] == false then
    return nil, ("is %s, and the service makes JPEG or PNG: end the name in .jpg or .png")
      :format(shown(value))
  end
  return value
end

local function name(value)
  if value == "" then return nil, "is empty" end
  return text(value)
end

local picture_types = { string = true, table = true }
local integer_types = { number = true, string = true, cdata = true }

-- In the order of the request's JSON; what has no `api` is ours and is not sent.
local fields = {
  { name = "prompt", types = { string = true }, check = prompt, api = json.string },
  { name = "input_image", types = picture_types, check = image, api = "image" },
  { name = "input_image_2", types = picture_types, check = image, api = "image" },
  { name = "input_image_3", types = picture_types, check = image, api = "image" },
  { name = "input_image_4", types = picture_types, check = image, api = "image" },
  { name = "aspect_ratio", types = { string = true }, check = ratio, api = json.string },
  { name = "seed", types = integer_types, check = seed, api = json.integer },
  { name = "prompt_upsampling", types = { boolean = true }, check = as_it_is, api = tostring },
  { name = "safety_tolerance", types = { number = true }, check = safety, api = json.integer },
  { name = "output_format", types = { string = true }, check = output_format, api = json.string },
  { name = "webhook_url", types = { string = true }, check = webhook_url, api = json.string },
  { name = "webhook_secret", types = { string = true }, check = webhook_secret, api = json.string },
  { name = "model", types = { string = true }, check = model },
  { name = "timeout", types = { number = true }, check = seconds },
  { name = "save_as", types = { string = true }, check = save_as },
  { name = "fit", types = { boolean = true }, check = as_it_is },
  { name = "no_replace", types = { boolean = true }, check = as_it_is },
  { name = "on_progress", types = { ["function"] = true }, check = as_it_is },
  { name = "key", types = { string = true }, check = name },
}

--- The parameters' descriptions in the order of the request, each also under its name.
params.fields = fields
for _, field in ipairs(fields) do fields[field.name] = field end

-- Returns how many edits (insert, drop, change a letter) lie between two words.
local function distance(a, b)
  local row = {}
  for j = 0, #b do row[j] = j end
  for i = 1, #a do
    local corner = row[0]
    row[0] = i
    for j = 1, #b do
      local change = corner + (a:byte(i) == b:byte(j) and 0 or 1)
      corner = row[j]
      row[j] = math.min(change, row[j] + 1, row[j - 1] + 1)
    end
  end
  return row[#b]
end

--- Names the known key that an unknown one was probably meant to be.
---@param key any
---@param known table<string, any> its string keys are the known ones
---@return string message such as 'unknown key "promt" (did you mean "prompt"?)'
function params.unknown(key, known)
  local message = ("unknown key %s"):format(type(key) == "string" and shown(key) or tostring(key))
  if type(key) ~= "string" or #key > 40 then return message end
  local best, least = nil, 3
  for candidate in pairs(known) do
    if type(candidate) == "string" then
      local far = distance(key:lower(), candidate)
      -- "image" and "format" are the ends of what was meant.
      if far > 2 and #key > 3 and candidate:find(key:lower(), 1, true) then far = 2.5 end
      if far < least or far == least and best and candidate < best then
        best, least = candidate, far
      end
    end
  end
  return best and ('%s (did you mean "%s"?)'):format(message, best) or message
end

-- Returns what is misused in `given`, or nil.
local function misuse(given)
  if type(given) ~= "table" then
    return "the parameters must be a table, not " .. type(given)
  end
  for key, value in pairs(given) do
    local field = fields[key]
    if type(key) ~= "string" or not field then return params.unknown(key, fields) end
    if not field.types[type(value)] then
      local types = {}
      for t in pairs(field.types) do types[#types + 1] = t end
      table.sort(types)
      return ("%s must be a %s, not %s"):format(key, table.concat(types, " or "), type(value))
    end
  end
  if given.prompt == nil then return "prompt is missing: a string that says what to change" end
  return nil
end

--- Raises what is misused in an edit's parameters: an unknown key, a wrong Lua type, no prompt.
---@param given table
---@param level? integer as for `error`: 1 (default) blames the caller
function params.refuse_misuse(given, level)
  local wrong = misuse(given)
  if wrong then error(wrong, (level or 1) + 1) end
end

--- Checks what was given for an edit. Misuse (an unknown key, a wrong Lua type, no prompt) raises;
--- what a user or the environment may have spoiled is returned.
---@param given table
---@param level? integer as for `error`: 1 (default) blames the caller
---@return table? checked a new table: images as sources, the seed as digits, output_format filled
---@return string? message a sentence
function params.check(given, level)
  local wrong = misuse(given)
  if wrong then error(wrong, (level or 1) + 1) end
  local checked = {}
  for _, field in ipairs(fields) do
    local value = given[field.name]
    if value ~= nil then
      local kept, message = field.check(value, given)
      if kept == nil then return nil, field.name .. " " .. message end
      checked[field.name] = kept
    end
  end
  if not checked.output_format then
    local extension = checked.save_as and checked.save_as:match("%.(%w+)$")
    checked.output_format = extension and api.extensions[extension:lower()]
      or api.default_output_format
  end
  return checked
end

--- Forgets the images, whose bytes are of no more use.
---@param checked table from `params.check`
function params.drop_images(checked)
  for _, field in ipairs(fields) do
    if field.api == "image" then checked[field.name] = nil end
  end
end

-- Returns the source of a URL, or nil and what is wrong with it (not showing it: it may be signed).
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

local sources = {
  path = function(value) return { path = value } end,
  bytes = function(value) return { bytes = value } end,
  url = url_source,
}

--- Tells where an input image comes from.
---@param value string|table a path, an image's bytes, an https:// URL; an image of an earlier edit;
--- or exactly one of {path=}, {bytes=}, {url=}, for text that comes from strangers
---@return table? source {path=}, {bytes=} or {url=}
---@return string? message what is wrong with it, to stand after the parameter's name
function params.image(value)
  if type(value) == "string" then return string_source(value) end
  if type(value.format) == "string" then -- an image; one that was saved is read where it lies
    local bytes = rawget(value, "bytes")
    if type(bytes) == "string" then return { bytes = bytes } end
    if type(value.path) == "string" then return { path = value.path } end
  end
  local key, content = next(value)
  if sources[key] and next(value, key) == nil and type(content) == "string" then
    return sources[key](content)
  end
  return nil, "is a table, but neither an image nor exactly one of {path=}, {bytes=}, {url=}"
end

--- Makes the JSON of a submit. Strings alternate with the images' sources, which the engine reads
--- and writes as base64 while it sends: a picture is never in memory as JSON.
---@param checked table from `params.check`
---@return (string|table)[] pieces
function params.body(checked)
  local pieces, written, before = {}, "", '{"'
  for _, field in ipairs(fields) do
    local value = checked[field.name]
    if value ~= nil and field.api then
      written = written .. before .. field.name .. '":'
      before = ',"'
      if field.api ~= "image" then
        written = written .. field.api(value)
      elseif value.url then
        written = written .. json.string(value.url)
      else
        pieces[#pieces + 1] = written .. '"'
        pieces[#pieces + 1] = value
        written = '"'
      end
    end
  end
  pieces[#pieces + 1] = written .. "}"
  return pieces
end

return params
