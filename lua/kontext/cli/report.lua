--- What the command says: results on standard output, errors on standard error, an exit code.
local json = require "kontext.json"

local report = {}

--- The exit codes: { code, kind of the error, what it means }.
report.codes = {
  { 0, "", "done" },
  { 1, "internal", "a fault in kontext itself" },
  { 2, "", "the command line was not understood" },
  { 3, "invalid", "a parameter is wrong" },
  { 4, "image", "the picture cannot be sent as it is" },
  { 5, "file", "a file cannot be read or written" },
  { 6, "auth", "the API key is missing or wrong" },
  { 7, "credits", "no credits left" },
  { 8, "rate_limited", "too many active tasks" },
  { 9, "moderated", "moderated by the service; not charged" },
  { 10, "failed", "the service could not make the picture" },
  { 11, "not_found", "no such task or endpoint" },
  { 12, "expired", "the picture is no longer there" },
  { 13, "network", "no connection, or it broke" },
  { 14, "tls", "the server did not prove who it is" },
  { 15, "timeout", "not ended in time: `resume` goes on with it" },
  { 16, "http", "an HTTP answer of no use" },
  { 17, "protocol", "an answer that cannot be understood" },
  { 18, "ambiguous", "sent, and the answer was lost: it may have been paid for" },
  { 19, "cancelled", "cancelled" },
  { 20, "closed", "the client was closed" },
  { 21, "fork", "used in a forked process" },
  { 130, "interrupted", "by Ctrl-C: `resume` goes on with what was accepted" },
}

local code_of = {}
for _, row in ipairs(report.codes) do code_of[row[2]] = row[1] end

--- The exit code of a command line that was not understood.
report.usage = 2

-- After these there is nothing to go on with.
local final = { moderated = true, failed = true, not_found = true, expired = true }

-- Returns the JSON of a value or a list of values; a file's name need not be UTF-8.
local function literal(value)
  if type(value) == "table" then
    local parts = {}
    for i, item in ipairs(value) do parts[i] = literal(item) end
    return "[" .. table.concat(parts, ",") .. "]"
  elseif type(value) == "string" then
    if json.invalid_utf8(value) then value = value:gsub("[\128-\255]", "?") end
    return json.string(value)
  elseif type(value) == "number" then
    return json.integer(value) or (("%.14g"):format(value):gsub(",", "."))
  end
  return value == nil and "null" or tostring(value)
end

--- Writes a line of what was asked for.
---@param text string|number
function report.say(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

--- Writes a line of JSON: an object of the named fields of `from`, in this order.
---@param from table
---@param names string separated by spaces
function report.say_json(from, names)
  local parts = {}
  for name in names:gmatch "%S+" do
    parts[#parts + 1] = json.string(name) .. ":" .. literal(from[name])
  end
  report.say("{" .. table.concat(parts, ",") .. "}")
end

--- Writes a sentence on standard error.
---@param text string
function report.warn(text)
  io.stderr:write("kontext: ", text, "\n")
end

--- Tells an error, and how to go on with a task that lives.
---@param options table
---@param err table
---@param job kontext.Job? that it ended
---@param subject string? what it is about, where that may be one of many
---@return integer code
function report.fail(options, err, job, subject)
  local token = job and job.id and not final[err.kind] and job:token() or nil
  report.warn((subject and subject .. ": " or "") .. err.message)
  if token then io.stderr:write("To go on with it: kontext resume '", token, "'\n") end
  if options.json then
    report.say_json(setmetatable({ error = err.kind, token = token, of = subject },
      { __index = err }),
      "error message of stage status code retryable charged job_id reasons token")
  end
  return code_of[err.kind] or 1
end

--- Tells of an image that lies at `path`; "-" sends it to standard output.
---@param options table
---@param image kontext.Image
---@param path string
---@return integer code
function report.tell(options, image, path)
  if path == "-" then
    io.stdout:write(image.bytes)
  elseif options.json then
    report.say_json(setmetatable({ path = path, bytes = #image.bytes }, { __index = image }),
      "path format width height bytes seed id cost duration prompt")
  else
    report.say(path)
  end
  return 0
end

--- Tells whether somebody watches standard error.
---@return boolean
function report.watched()
  local done = os.execute "test -t 2"
  return done == true or done == 0
end

--- Draws a line over the one that was drew before; none wipes it.
---@param text string?
function report.draw(text)
  io.stderr:write("\r", text or "", "\27[K")
end

--- Draws how far a job is.
---@param job kontext.Job
function report.progress(job)
  local text, part = job.status, job.progress
  if job.status == "uploading" or job.status == "downloading" then
    part = job.total and job.total > 0
      and (job.status == "uploading" and job.sent or job.received) / job.total or nil
  end
  if part then
    local full = math.floor(part * 20 + 0.5)
    text = ("%-11s [%s%s] %3.0f %%"):format(text, ("#"):rep(full), ("."):rep(20 - full), part * 100)
  end
  report.draw(text)
end

--- Returns the error object of what was raised. The interpreter makes an error of Ctrl-C.
---@param what any
---@return table err
function report.raised(what)
  if type(what) == "table" then return what end
  if tostring(what):find "interrupted!" then
    return { kind = "interrupted", message = "interrupted" }
  end
  return { kind = "internal", message = "a fault in kontext: " .. tostring(what) }
end

return report
