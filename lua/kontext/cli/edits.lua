--- The commands that edit: one picture, many, or what was begun before.
local core = require "kontext.core"
local json = require "kontext.json"
local kontext = require "kontext"
local params = require "kontext.job.params"
local report = require "kontext.cli.report"

local edits = {}

local models = { pro = "flux-kontext-pro", max = "flux-kontext-max" }

--- Makes the client. What it raises for is what somebody typed, not a fault of this program.
---@param options table
---@return kontext.Client
function edits.client(options)
  local made, client = pcall(kontext.new, {
    base_url = options.base_url, region = options.region, timeout = options.timeout,
    model = options.model and (models[options.model] or options.model),
    ca_file = options.ca_file, journal = options.journal,
  })
  if made then return client end
  error({ kind = "invalid", message = (client:gsub("^[^:]*:%d+: ", "")) }, 0)
end

--- Waits for a job. A Ctrl-C is an error too: the token of what was accepted is not lost with it.
---@param options table
---@param job kontext.Job
---@return any value
---@return table? err
function edits.wait(options, job)
  local done, value, _, err = pcall(job.wait, job)
  if options.progress then report.draw() end
  if not done then return nil, report.raised(value) end
  return value, err
end

-- Returns the source of a picture that a command line names.
local function picture(name)
  if name == "-" then return { bytes = io.stdin:read "*a" } end
  if name:lower():find "^https?://" then return { url = name } end
  return { path = name }
end

-- Returns the parameters that the options give.
local function given(options)
  return {
    aspect_ratio = options.aspect, seed = options.seed, output_format = options.format,
    safety_tolerance = options.safety, prompt_upsampling = options.upsample, fit = options.fit,
  }
end

local others = { ENOTSUP = true, EISDIR = true } -- a FIFO, which nobody is to wait for; a folder

local function exists(path)
  local _, outcome, known = core.check { path = path }
  return outcome ~= "file" or others[known.code] == true
end

-- Returns a name in `directory` (default: the picture's own) that no file has and none will have
-- that is in `taken`: car.jpg → car-edit.jpg, car-edit-2.jpg …
local function free_name(name, format, directory, taken)
  local stem = name == "-" and "image" or name:gsub("[?#].*$", ""):gsub("%.%w+$", "")
  if directory or name:find "^%a+://" then stem = stem:match "([^/]+)$" or "image" end
  if directory and directory ~= "." then stem = directory .. "/" .. stem end
  local extension = format == "png" and "png" or "jpg"
  local path, n = ("%s-edit.%s"):format(stem, extension), 1
  while exists(path) or taken and taken[path] do
    n = n + 1
    path = ("%s-edit-%d.%s"):format(stem, n, extension)
  end
  return path
end

--- kontext edit IMAGE PROMPT
function edits.edit(options)
  local edit = given(options)
  edit.prompt = options.prompt == "-" and io.stdin:read "*a" or options.prompt
  edit.input_image = picture(options.image)
  for i, name in ipairs(options.reference) do edit["input_image_" .. i + 1] = picture(name) end
  local path = options.output or free_name(options.image, options.format)
  if path ~= "-" then edit.save_as = path end
  edit.on_progress = options.progress and report.progress or nil
  local job = edits.client(options):edit(edit)
  local image, err = edits.wait(options, job)
  if not image then return report.fail(options, err, job) end
  return report.tell(options, image, path)
end

-- Saves what a resumed job has made, unless it did so itself.
local function resumed(options, job)
  local image, err = edits.wait(options, job)
  if not image then return report.fail(options, err, job) end
  local path = options.output or image.path
    or ("%s.%s"):format(image.id, image.format == "png" and "png" or "jpg")
  if path ~= "-" and path ~= image.path then
    local _, _, save_error = image:save(path)
    if save_error then return report.fail(options, save_error, job) end
  end
  return report.tell(options, image, path)
end

--- kontext resume TOKEN, or --journal FILE
function edits.resume(options)
  if (options.token == nil) == (options.journal == nil) or options.journal and options.output then
    report.warn "resume takes a token (then --output too), or --journal"
    return report.usage
  end
  local client = edits.client(options)
  if options.token then
    local token = options.token == "-" and io.stdin:read "*l" or options.token
    return resumed(options, client:resume(token or ""))
  end
  local code = 0
  for _, job in ipairs(client:resume { journal = options.journal }) do
    local each = resumed(options, job)
    code = code == 0 and each or code
  end
  return code
end

-- Returns the edit that a line of a list asks for, or nil and what is wrong with it.
local function read_line(line, defaults)
  local edit, message = json.decode(line)
  if type(edit) ~= "table" then return nil, "no JSON object: " .. (message or type(edit)) end
  for name, value in pairs(defaults) do
    if edit[name] == nil then edit[name] = value end
  end
  if type(edit.seed) == "number" then edit.seed = json.integer_field(line, "seed") or edit.seed end
  for name, value in pairs(edit) do
    local field = params.fields[name]
    if field and field.api == "image" and type(value) == "string" then
      edit[name] = picture(value)
    end
  end
  local sound, wrong = pcall(params.refuse_misuse, edit, -1)
  if not sound then return nil, wrong end
  return edit
end

-- Returns the edits of a list and how each is called, or nil and an error.
local function read_list(path, defaults)
  local file, message = io.stdin, nil
  if path ~= "-" then file, message = io.open(path, "rb") end
  if not file then return nil, { kind = "file", message = "cannot read the list " .. message } end
  local list, names, number = {}, {}, 0
  for line in file:lines() do
    number = number + 1
    local name = ("%s:%d"):format(path, number)
    if line:find "%S" then
      local edit, wrong = read_line(line, defaults)
      if not edit then return nil, { kind = "invalid", message = name .. ": " .. wrong } end
      list[#list + 1], names[#names + 1] = edit, name
    end
  end
  file:close()
  return list, names
end

-- Returns the edits of pictures with one prompt, and how each is called.
local function of_pictures(options)
  local list = {}
  for i, name in ipairs(options.input) do
    list[i] = given(options)
    list[i].prompt, list[i].input_image = options.prompt, picture(name)
  end
  return list, options.input
end

-- Gives every edit a place for its result, and remembers its job for what cannot wait.
local function complete(list, options, jobs)
  local taken = {}
  for i, edit in ipairs(list) do
    local source = edit.input_image or {}
    edit.save_as = edit.save_as or free_name(source.path or source.url or "-", edit.output_format,
      options.directory or ".", taken)
    taken[edit.save_as] = true
    edit.on_progress = function(job) jobs[i] = job end
  end
end

-- Tells each result as it comes; returns the exit code.
local function tell_results(options, batch, names, jobs)
  local code = 0
  for result in batch:results() do
    if options.progress then report.draw() end
    if result.error then
      local each = report.fail(options, result.error, jobs[result.index], names[result.index])
      code = code == 0 and each or code
    elseif options.json then
      report.say_json({ path = result.saved, key = result.key, of = names[result.index],
        skipped = result.skipped or false }, "path of key skipped")
    else
      report.say(result.saved)
    end
    jobs[result.index] = nil
    if options.progress then
      report.draw(("%d of %d, %d failed"):format(batch.done, batch.total, batch.failed))
    end
  end
  return code
end

--- kontext batch LIST, or --prompt PROMPT IMAGE…
function edits.batch(options)
  if not options.prompt and #options.input > 1 then
    report.warn "batch takes one list, or --prompt and pictures"
    return report.usage
  end
  local list, names
  if options.prompt then
    list, names = of_pictures(options)
  else
    list, names = read_list(options.input[1], given(options))
  end
  if not list then return report.fail(options, names) end
  local jobs = {}
  complete(list, options, jobs)
  local batch = edits.client(options):batch(list, {
    max_active = options.max_active, stop_on_error = options.stop_on_error,
    retry_ambiguous = options.retry_ambiguous,
  })
  local done, code = pcall(tell_results, options, batch, names, jobs)
  if options.progress then report.draw() end
  if done then return code end
  local err = report.raised(code)
  for index, job in pairs(jobs) do
    if job.id and not job:ended() then report.fail(options, err, job, names[index]) end
  end
  return report.fail(options, err)
end

return edits
