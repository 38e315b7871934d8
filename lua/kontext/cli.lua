--- The `kontext` command: the module's public interface for a shell.
local argparse = require "argparse"
local json = require "kontext.json"
local kontext = require "kontext"

local cli = {}

--- The exit codes: { code, kind of the error, what it means }.
cli.codes = {
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
for _, row in ipairs(cli.codes) do code_of[row[2]] = row[1] end
local usage = 2

-- After these there is nothing to go on with.
local final = { moderated = true, failed = true, not_found = true, expired = true }

-- What is said ------------------------------------------------------------------------------------

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

-- Returns a JSON object of the named fields of `from`, in this order.
local function object(from, names)
  local parts = {}
  for name in names:gmatch "[%w_]+" do
    parts[#parts + 1] = json.string(name) .. ":" .. literal(from[name])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local function say(text)
  io.stdout:write(text, "\n")
  io.stdout:flush()
end

local function warn(...)
  io.stderr:write("kontext: ", table.concat { ... }, "\n")
end

-- Tells an error, and how to go on with a task that lives; returns the exit code.
local function fail(options, err, job)
  local token = job and job.id and not final[err.kind] and job:token() or nil
  warn(err.message)
  if token then io.stderr:write("To go on with it: kontext resume '", token, "'\n") end
  if options.json then
    local told = setmetatable({ error = err.kind, token = token }, { __index = err })
    say(object(told, "error message stage status code retryable charged job_id reasons token"))
  end
  return code_of[err.kind] or 1
end

-- Draws how far a job is, over the line that it drew before.
local function draw(job)
  local text, part = job.status, job.progress
  if job.status == "uploading" or job.status == "downloading" then
    part = job.total and job.total > 0
      and (job.status == "uploading" and job.sent or job.received) / job.total or nil
  end
  if part then
    local full = math.floor(part * 20 + 0.5)
    text = ("%-11s [%s%s] %3d %%"):format(text, ("#"):rep(full), ("."):rep(20 - full), part * 100)
  end
  io.stderr:write("\r", text, "\27[K")
end

local function clear() io.stderr:write "\r\27[K" end

-- Tells whether standard error is a terminal.
local function watched()
  local done = os.execute "test -t 2"
  return done == true or done == 0
end

-- The client and its jobs -------------------------------------------------------------------------

local models = { pro = "flux-kontext-pro", max = "flux-kontext-max" }

-- Makes the client. What it raises for is what somebody typed, not a fault of this program.
local function new_client(options)
  local made, client = pcall(kontext.new, {
    base_url = options.base_url, region = options.region, timeout = options.timeout,
    model = options.model and (models[options.model] or options.model),
    ca_file = options.ca_file, journal = options.journal, max_active = options.max_active,
  })
  if made then return client end
  error({ kind = "invalid", message = client:gsub("^[^:]*:%d+: ", "") }, 0)
end

-- Returns the error object of what was raised.
local function raised(what)
  if type(what) == "table" then return what end
  if tostring(what):find "interrupted!" then
    return { kind = "interrupted", message = "interrupted" }
  end
  return { kind = "internal", message = "a fault in kontext: " .. tostring(what) }
end

-- Waits for a job; returns its image, or nil and the error. The interpreter makes of Ctrl-C an
-- error that is raised here: the token of what was accepted is not lost with it.
local function wait(options, job)
  local done, image, _, err = pcall(job.wait, job)
  if options.progress then clear() end
  if not done then return nil, raised(image) end
  return image, err
end

-- Tells of an image that lies at `path`.
local function tell(options, image, path)
  if path == "-" then
    io.stdout:write(image.bytes)
  elseif options.json then
    local told = setmetatable({ path = path, bytes = #image.bytes }, { __index = image })
    say(object(told, "path format width height bytes seed id cost duration prompt"))
  else
    say(path)
  end
  return 0
end

local function exists(path)
  local file = io.open(path, "rb")
  if file then file:close() end
  return file ~= nil
end

-- Returns a name that no file has yet: car.jpg → car-edit.jpg, car-edit-2.jpg …
local function free_name(path, extension)
  local stem = path:gsub("[?#].*$", ""):gsub("%.%w+$", "")
  if path:find "^https?://" or path == "-" then stem = stem:match "([^/:]+)$" or "image" end
  if stem == "-" then stem = "image" end
  local name, n = stem .. "-edit." .. extension, 1
  while exists(name) do
    n = n + 1
    name = ("%s-edit-%d.%s"):format(stem, n, extension)
  end
  return name
end

-- A picture named on a command line: "-" is standard input, and nothing but https:// is no path.
local function picture(name)
  if name == "-" then return { bytes = io.stdin:read "*a" } end
  if name:lower():find "^https://" then return { url = name } end
  return { path = name }
end

-- Returns the parameters that the options of `edit` and `batch` give.
local function params_of(options)
  return {
    aspect_ratio = options.aspect, seed = options.seed, output_format = options.format,
    safety_tolerance = options.safety, prompt_upsampling = options.upsample, fit = options.fit,
    on_progress = options.progress and draw or nil,
  }
end

-- Commands: each takes the options and returns the exit code --------------------------------------

local commands = {}

function commands.edit(options)
  local params = params_of(options)
  local extension = options.format == "png" and "png" or "jpg"
  params.prompt = options.prompt == "-" and io.stdin:read "*a" or options.prompt
  params.input_image = picture(options.image)
  for i, name in ipairs(options.reference) do
    params["input_image_" .. i + 1] = picture(name)
  end
  local path = options.output or free_name(options.image, extension)
  if path ~= "-" then params.save_as = path end
  local job = new_client(options):edit(params)
  local image, err = wait(options, job)
  if not image then return fail(options, err, job) end
  return tell(options, image, path)
end

-- Saves what a resumed job has made, unless it did so itself.
local function resumed(options, job)
  local image, err = wait(options, job)
  if not image then return fail(options, err, job) end
  local path = options.output or image.path
    or ("%s.%s"):format(image.id, image.format == "png" and "png" or "jpg")
  if path ~= "-" and path ~= image.path then
    local _, _, save_error = image:save(path)
    if save_error then return fail(options, save_error, job) end
  end
  return tell(options, image, path)
end

function commands.resume(options)
  if (options.token == nil) == (options.journal == nil) then
    warn "resume takes a token or --journal FILE"
    return usage
  end
  local token = options.token == "-" and io.stdin:read "*l" or options.token
  local jobs, _, err = new_client(options):resume(token or { journal = options.journal })
  if not jobs then return fail(options, err) end
  if token then return resumed(options, jobs) end
  local code = 0
  for _, job in ipairs(jobs) do
    local each = resumed(options, job)
    code = code == 0 and each or code
  end
  return code
end

function commands.check(options)
  local code = 0
  for _, name in ipairs(options.files) do
    local info, _, err = kontext.check { path = name }
    if not info then
      local each = fail(options, err)
      code = code == 0 and each or code
    else
      info.path = name
      info.output_width, info.output_height = kontext.output_size(info.width, info.height)
      if options.json then
        say(object(info, "path format width height megapixels bytes orientation"
          .. " output_width output_height"))
      else
        say(("%s: %s, %d x %d (%.1f MP), %.2f MB; an edit will be %d x %d"):format(name,
          info.format, info.width, info.height, info.megapixels, info.bytes / 1e6,
          info.output_width, info.output_height))
      end
    end
  end
  return code
end

function commands.size(options)
  local wide, high = options.of:match "^([1-9]%d*)x([1-9]%d*)$"
  local of = tonumber(wide) or options.of:find "^[%d.]+:[%d.]+$" and options.of
    or { path = options.of }
  local width, height, err = kontext.output_size(of, tonumber(high))
  if not width then return fail(options, err) end
  if options.json then
    say(object({ width = width, height = height }, "width height"))
  else
    say(("%dx%d"):format(width, height))
  end
  return 0
end

function commands.credits(options)
  local job = new_client(options):credits()
  local credits, err = wait(options, job)
  if not credits then return fail(options, err) end
  say(options.json and object({ credits = credits }, "credits") or literal(credits))
  return 0
end

function commands.emulator(options)
  local emulator = require "kontext.emulator"
  emulator.serve {
    port = options.port, host = options.host, tls = options.tls or nil,
    ready_after = options.ready_after, max_active = options.max_active, seed = options.seed,
    link_life = options.link_life,
  }
  return 0
end

-- The command line --------------------------------------------------------------------------------

-- Converts to a number, or says why not.
local function number(text)
  local value = tonumber(text)
  if value then return value end
  return nil, ("'%s' is not a number"):format(text)
end

local function common(command)
  command:flag "--json":description "Tell machines: one JSON object a line."
end

local function service(command)
  common(command)
  command:option "--region":choices { "global", "eu", "us" }
    :description "Where the service is asked."
  command:option "--base-url":argname "URL"
    :description "The service's address ($BFL_BASE_URL, else https://api.bfl.ai)."
  command:option "--ca-file":argname "FILE"
    :description "Certificates to trust in place of the system's."
  command:option "--timeout":argname "S":convert(number):description "Seconds for one edit (300)."
end

local function editing(command)
  service(command)
  command:option "--aspect":argname "W:H":description "Aspect ratio, 3:7 to 7:3 (the picture's)."
  command:option "--seed":argname "N":description "A whole number: the same seed, the same picture."
  command:option "--format":choices { "jpeg", "png" }:description "jpeg or png."
  command:option "--model":choices { "pro", "max", "flux-kontext-pro", "flux-kontext-max" }
    :description "pro or max (pro)."
  command:option "--safety":argname "N":convert(number)
    :description "Moderation from 0, strict, to 2 (2)."
  command:flag "--upsample":description "Let the service write the prompt out."
  command:flag "--fit":description "Scale a large picture before the upload."
  command:option "--journal":argname "FILE"
    :description "Write down what is paid for, so that `resume --journal` finds it after a crash."
end

-- Returns the table of exit codes as text.
local function exit_codes()
  local lines = { "Exit codes:" }
  for _, row in ipairs(cli.codes) do
    lines[#lines + 1] = ("  %3d  %-12s  %s"):format(row[1], row[2], row[3])
  end
  return table.concat(lines, "\n")
end

local function build()
  local parser = argparse "kontext"
    :description "Edits pictures with words (BFL's FLUX.1 Kontext); the key is in $BFL_API_KEY."
    :epilog(exit_codes())
    :command_target "command"
    :require_command(true)
    :help_max_width(80)

  parser:flag "--version":description "Tell the versions of kontext and of what it stands on."
    :action(function()
      local info = kontext.info()
      say(("kontext %s (%s, libcurl %s, %s)"):format(info.module, info.lua, info.libcurl, info.tls))
      os.exit(0)
    end)

  local edit = parser:command "edit"
    :description "Edit a picture, and print the path of the one that is made."
  edit:argument "image":description "A file, an https:// URL, or - for standard input."
  edit:argument "prompt":description "What is to be changed; - for standard input."
  edit:option "-o --output":argname "FILE"
    :description "Where the result goes (IMAGE-edit.jpg); .jpg or .png chooses the format."
  edit:option "--reference":argname "IMAGE":count "0-3":description "A further picture to go by."
  editing(edit)

  local resume = parser:command "resume":description "Go on with an edit that was accepted."
  resume:argument "token":args "?":description "What the edit printed; - for standard input."
  resume:option "--journal":argname "FILE":description "All unfinished edits of this journal."
  resume:option "-o --output":argname "FILE":description "Where the result goes (ID.jpg)."
  service(resume)

  local check = parser:command "check":description "Tell what pictures are; nothing is sent."
  check:argument "files":args "+"
  common(check)

  local size = parser:command "size":description "Tell the size of an edit's result beforehand."
  size:argument "of":description "A ratio such as 16:9, a size such as 2048x1365, or a file."
  common(size)

  service(parser:command "credits":description "Tell how many credits are left.")

  local emulator = parser:command "emulator"
    :description "Serve the API on this machine: no key, no network, no cost. Ends with Ctrl-C."
  emulator:option "--port":argname "N":convert(number):description "0 for any free one (0)."
  emulator:option "--host":argname "NAME":description "The address to listen at (127.0.0.1)."
  emulator:flag "--tls":description "HTTPS, with a certificate of its own."
  emulator:option "--ready-after":argname "S":convert(number):description "Seconds to a picture."
  emulator:option "--max-active":argname "N":convert(number):description "Active tasks (24)."
  emulator:option "--seed":argname "N":convert(number):description "For what is random."
  emulator:option "--link-life":argname "S":convert(number)
    :description "Seconds that a link to a picture lives (600)."
  return parser
end

--- Runs a command line.
---@param arguments string[]
---@return integer code see `cli.codes`
function cli.main(arguments)
  local understood, options = build():pparse(arguments)
  if not understood then
    warn(options:gsub("%s*\n%s*", "; ") .. " (kontext --help tells more)")
    return usage
  end
  options.progress = not options.json and watched()
  local done, code = pcall(commands[options.command], options)
  return done and code or fail(options, raised(code))
end

return cli
