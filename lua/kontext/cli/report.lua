--- Reports: results on standard output, errors on standard error, an exit code.
local core = require "kontext.core"
local given = require "kontext.cli.given"
local json = require "kontext.json"
local kinds = require "kontext.kinds"
local screen = require "kontext.cli.screen"

local report = {}

--- The exit codes: { code, kind of the error, what it means }. Those that are no kind of the
--- library are the command's own.
report.codes = {
  { 0, "", "done" },
  { 2, "", "the command line was not understood" },
  { 23, "output", "standard output is full or closed" },
  { 130, "interrupted", "by a signal: 128 + its number, 130 for Ctrl-C" },
}
for _, kind in ipairs(kinds.rows) do
  report.codes[#report.codes + 1] = { kind.code, kind.name, kind.what }
end
table.sort(report.codes, function(a, b) return a[1] < b[1] end)

local code_of = {}
for _, row in ipairs(report.codes) do code_of[row[2]] = row[1] end

--- The exit code of a command line that was not understood.
report.usage = 2

local sigpipe = 13
local epipe = 32 -- Linux, macOS and the BSDs agree on this number

--- Returns whether the service itself has said that there is no picture.
---@param kind string
---@return boolean
function report.is_final(kind)
  return kinds[kind] ~= nil and kinds[kind].fact == "FAILED"
end

-- Returns whether an accepted edit that ended with this kind can be resumed.
local function is_resumable(kind)
  return not kinds[kind] or kinds[kind].fact == nil
end

-- The fields of a rectangle or a shift in JSON, in this order.
local parts_of_place = { "x", "y", "width", "height" }

-- Returns the JSON of a value, a list of values, or a place in a picture.
local function literal(value)
  if type(value) == "table" and value.x then
    local parts = {}
    for _, name in ipairs(parts_of_place) do
      if value[name] then parts[#parts + 1] = ('"%s":%s'):format(name, literal(value[name])) end
    end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "table" and value[1] == nil and next(value) ~= nil then
    local keys, parts = {}, {}
    for key in pairs(value) do keys[#keys + 1] = key end
    table.sort(keys)
    for i, key in ipairs(keys) do parts[i] = json.string(key) .. ":" .. literal(value[key]) end
    return "{" .. table.concat(parts, ",") .. "}"
  elseif type(value) == "table" then
    local parts = {}
    for i, item in ipairs(value) do parts[i] = literal(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  elseif type(value) == "string" then
    if json.invalid_utf8(value) then value = screen.escape(value) end
    return json.string(value)
  elseif type(value) == "number" then
    if value ~= value or value == math.huge or value == -math.huge then return "null" end
    return json.integer(value) or (("%.14g"):format(value):gsub(",", "."))
  end
  return value == nil and "null" or tostring(value)
end

--- Writes bytes to standard output; raises an error of kind "output" when they cannot be written.
---@param ... string
function report.write(...)
  screen.wipe()
  local done, message, number = io.stdout:write(...)
  if done then done, message, number = io.stdout:flush() end
  if done then return end
  error({ kind = "output", broken_pipe = number == epipe,
    message = "cannot write to standard output: " .. tostring(message) }, 0)
end

--- Writes a line to standard output.
---@param text string|number
function report.say(text)
  report.write(text, "\n")
end

--- Writes the path of a result: byte for byte for a program, so that it finds the file; escaped for
--- a terminal.
---@param path string
function report.say_path(path)
  report.say(core.terminal(1) and screen.escape(path) or path)
end

--- Returns the JSON fields of an edit of a region, each after a space; "" for any other edit.
---@param from table an image or a result
---@return string
function report.place_fields(from)
  return from.region and " region window match shift" or ""
end

--- Returns a JSON object of the named fields of `from`, in this order. JSON holds only UTF-8: each
--- invalid byte of a string, such as a file's name in Latin-1, is written as \xNN, and the field
--- NAME_base64 has the string's own bytes.
---@param from table
---@param names string separated by spaces
---@param all? boolean also those that are nil, as null
---@return string
function report.object(from, names, all)
  local parts = {}
  for name in names:gmatch "%S+" do
    local value = from[name]
    if value ~= nil or all then parts[#parts + 1] = json.string(name) .. ":" .. literal(value) end
    if type(value) == "string" and json.invalid_utf8(value) then
      parts[#parts + 1] = json.string(name .. "_base64") .. ":" .. json.string(core.base64(value))
    end
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

--- Writes a line of JSON, as `report.object` makes it, with null for what is not known.
---@param from table
---@param names string separated by spaces
function report.say_json(from, names)
  report.say(report.object(from, names, true))
end

-- Writes a line to standard error. Nothing can be done if that fails.
local function complain(text)
  screen.wipe()
  io.stderr:write(text, "\n")
  io.stderr:flush()
end

--- Writes a sentence on standard error.
---@param text string
function report.warn(text)
  complain("kontext: " .. screen.escape(text))
end

--- Writes a sentence on standard error, unless --quiet was given.
---@param options table
---@param text string
function report.note(options, text)
  if not options.quiet then report.warn(text) end
end

local no_key = "there is no API key: make one in your account at the service, then export "
  .. "BFL_API_KEY=…, or pass --key-file FILE, or let BFL_API_KEY_CMD name a command that writes "
  .. "it; to try without one: kontext emulator"

-- The library's advice, and the same in the words of the command.
local advice = {
  { "there is no API key: set BFL_API_KEY, or pass api_key to kontext%.new", no_key },
  { "set BFL_API_KEY or api_key to a valid", "set BFL_API_KEY, or --key-file, to a valid" },
  { "it is no token of job:token%(%)", "it is no token: copy all of what the edit printed" },
  { "; until the picture is saved, keep job:token%(%)", "; do not end this command before" },
  { "download it and give its bytes", "download it, and edit the file" },
  { ": resume it with kontext%.resume%(job:token%(%)%)", "" },
  { "resume it with kontext%.resume%(job:token%(%)%)", "resume it" },
  { "pass retry_ambiguous = true", "pass --retry-ambiguous" },
  { "pass fit = true", "pass --fit" },
  { "fit = true", "--fit" },
  { "; it is in job%.image", "" },
}

--- Returns a message of the library with options instead of Lua's names.
---@param options table
---@param message string
---@return string
function report.in_options(options, message)
  for _, pair in ipairs(advice) do message = message:gsub(pair[1], pair[2]) end
  if options.command == "batch" then return message end
  return (message:gsub("^([%l%d_]+) ", function(name)
    return given.option(name) and given.option(name) .. " "
  end))
end

-- Returns advice about a failure, or "".
local function remedy(options, err)
  local base = options.base_url or not options.region and os.getenv "BFL_BASE_URL" or ""
  if err.kind == "tls" and base:find "^https://127%." then
    return "; the emulator speaks https only when it is started with --tls"
  elseif err.kind == "tls" then
    return "; behind a company's proxy, name its certificates with --ca-file FILE or "
      .. "CURL_CA_BUNDLE"
  end
  if err.kind == "network" and base:find "^https?://127%." and options.command ~= "emulator" then
    return "; is kontext emulator running there?"
  elseif err.code == "EISDIR" and err.stage == "check" and options.command == "batch" then
    return "; to edit the pictures in a folder, name them: "
      .. "kontext batch --prompt '…' folder/*.jpg"
  elseif err.code == "ENOENT" and err.stage == "check" and err.message:find "[*?]" then
    return "; no file's name matches that pattern"
  end
  return ""
end

--- Returns the sentence about an error, in the words of the command, with advice.
---@param options table
---@param err table
---@return string
function report.sentence(options, err)
  return report.in_options(options, err.message) .. remedy(options, err)
end

-- Returns the subject in front of a sentence, or "" if the sentence names it.
local function prefix(subject, message)
  if not subject or (" " .. message):find(" " .. subject, 1, true) then return "" end
  return subject .. ": "
end

--- Returns the exit code of an error.
---@param err table
---@return integer
function report.code(err)
  if err.signal then return 128 + err.signal end
  if err.broken_pipe then return 128 + sigpipe end
  return code_of[err.kind] or 1
end

--- Reports an error, and how to resume the task if that is possible.
---@param options table
---@param err table
---@param job kontext.Job? that it ended
---@param subject string? what it is about, where that may be one of many
---@param silent boolean? the sentence was told before: only machines are told again
---@return integer code
function report.fail(options, err, job, subject, silent)
  local token = err.token
  if not token and job and job.id and is_resumable(err.kind) then token = job:token() end
  local message = report.sentence(options, err)
  if not silent then report.warn(prefix(subject, message) .. message) end
  if token then complain("To go on with it: kontext resume '" .. token .. "'") end
  if options.json and err.kind ~= "output" then
    report.say_json(setmetatable({ error = err.kind, message = message, token = token,
      of = subject }, { __index = err }),
      "error message of stage status code retryable charged job_id reasons token")
  end
  return report.code(err)
end

--- Returns the error object for a value that was raised.
---@param what any
---@return table err
function report.raised(what)
  if type(what) == "table" then return what end
  if tostring(what):find "interrupted!" then -- how the interpreter makes an error of Ctrl-C
    return { kind = "interrupted", signal = 2, message = "interrupted" }
  end
  return { kind = "internal", message = "a fault in kontext: " .. tostring(what) }
end

return report
