--- kontext edit: one picture; with several prompts step by step, with --count in several versions.
--- kontext erase and kontext outpaint are edits by models that do just that.
local core = require "kontext.core"
local gallery = require "kontext.cli.gallery"
local given = require "kontext.cli.given"
local models = require "kontext.models"
local names = require "kontext.cli.names"
local price = require "kontext.cli.price"
local progress = require "kontext.cli.progress"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"
local service = require "kontext.cli.service"
local state = require "kontext.cli.state"
local steps = require "kontext.cli.steps"
local tools = require "kontext.tools"

local edit = {}

-- Returns the path of the journal that the options ask for, nil for none, or raises. Steps have one
-- that the same command finds again.
local function journal_of(options, run)
  if options.journal or options.no_journal then return options.journal end
  local path, message = nil, nil
  if run.keys then path, message = state.for_steps(#run.keys, run.keys[#run.keys]) end
  if not path or state.is_held(path) then path, message = state.for_edit() end
  if not path then error({ kind = "file", message = message, charged = false }, 0) end
  return path
end

-- Refuses a destination that cannot be written, or that is a picture the edit reads.
local function check_destination(options, path, wanted)
  local mismatch = names.mismatch(path, options.format)
  if mismatch then error({ kind = "invalid", message = mismatch, charged = false }, 0) end
  local same = not options.force and names.same_file(path, given.sources(wanted))
  if same then
    local plain = same == path or same == names.absolute(path)
    error(given.refusal(("%s is the picture that is edited%s: choose another name, or pass --force "
      .. "to replace it"):format(path, plain and "" or ", by another name (" .. same .. ")")), 0)
  end
  local good, err = names.check(path)
  if not good then error(err, 0) end
end

-- Finds where each of `count` results goes: `run.paths`, of which those in `run.taken` were chosen
-- here.
local function destinations(options, count, run)
  local paths, taken, wanted = run.paths, run.taken, run.wanted[1]
  local format = given.format(run.sources.input_image, wanted)
  for n = 1, count do
    local path = options.output
    if path and path ~= "-" and count > 1 then path = names.numbered(path, n) end
    if path and path ~= "-" then
      check_destination(options, path, wanted)
    elseif not path and #options.prompt > 1 then
      -- The steps of one picture: cat-edit-1.jpg, cat-edit-2.jpg.
      local first, message, code = names.beside(options.image, format, nil, function(name)
        return names.reserve(names.numbered(name, n))
      end)
      if not first then error(names.unusable(message, code), 0) end
      path = names.numbered(first, n)
      taken[path] = true
    elseif not path then
      local message, code
      path, message, code = names.beside(options.image, format, nil, function(name)
        if taken[name] then return false end
        return names.reserve(name)
      end)
      if not path then error(names.unusable(message, code), 0) end
      taken[path] = true
    end
    paths[n] = path
  end
end

-- Puts a picture aside that standard output did not take; returns its name.
local function put_aside(image)
  local path = names.of_task(image.id, image.format, names.reserve)
  return path and image:save(path) and path
end

--- Reports an image whose place is `path`; "-" sends it to standard output. Returns the exit code
--- and whether the picture is in somebody's hands.
---@param options table
---@param image kontext.Image
---@param path string
---@param job kontext.Job
---@return integer code
---@return boolean delivered
function edit.tell(options, image, path, job)
  local shown = image.path and names.shown(image.path) or path
  for _, warning in ipairs(job.warnings or {}) do report.note(options, warning) end
  local done, err
  if path == "-" then
    done, err = pcall(report.write, image.bytes)
  elseif options.json then
    done, err = pcall(report.say_json, setmetatable({ path = shown, bytes = #image.bytes },
      { __index = image }), "path format width height bytes seed id cost duration prompt"
        .. report.place_fields(image))
  else
    done, err = pcall(report.say_path, shown)
  end
  if done then return 0, true end
  err = report.raised(err)
  if path ~= "-" then
    err.message = err.message .. "; the picture is saved as " .. shown
    return report.fail(options, err), true
  end
  local aside = put_aside(image)
  if aside then err.message = err.message .. "; the picture is put aside as " .. aside end
  return report.fail(options, err, job), false
end

-- Opens a picture in the desktop's viewer, which is not waited for.
local function open(path)
  local command = package.config:sub(1, 1) == "/" and "xdg-open" or "open"
  local word = "'" .. names.absolute(path):gsub("'", "'\\''") .. "'"
  os.execute(("{ command -v open >/dev/null && [ \"$(uname)\" = Darwin ] && open %s || %s %s; } "
    .. ">/dev/null 2>&1 &"):format(word, command, word))
end

-- Returns the parameters of the edit number `n`, or raises.
local function parameters(options, run, n)
  local wanted = given.parameters(options)
  for name, value in pairs(run.sources) do wanted[name] = value end
  given.place(wanted)
  wanted.prompt = run.prompts[n] or run.prompts[1]
  if options.count > 1 and options.seed and tonumber(options.seed) then
    wanted.seed = ("%.0f"):format(tonumber(options.seed) + n - 1)
  end
  local wrong
  local tool = tools[options.command]
  if tool then -- what it raises is what somebody typed
    local done, made = pcall(tool, wanted, -1)
    wrong = not done and tostring(made)
    wanted = done and made or wanted
  end
  wrong = wrong or given.misuse(wanted)
  if wrong and options.command == "outpaint" and wrong:find "^width is missing" then
    wrong = "say how much is to be added: --left, --right, --top or --bottom, in pixels"
  end
  if wrong then error(given.refusal(wrong), 0) end
  return wanted
end

-- Adds a place to an edit's parameters.
local function place(wanted, path, taken)
  if path == "-" then return end
  wanted.save_as = names.absolute(path)
  if taken[path] then wanted.no_replace, wanted.reserved = true, true end
end

-- Notes an edit for the gallery, with what came of it.
local function note(run, n, image, err)
  if not run.gallery then return end
  local row = gallery.row(run.wanted[n], image, run.jobs[n], err)
  if run.keys and n > 1 then
    row.parent, row.before = n - 1, (run.rows[n - 1] or {}).after
    row.name = row.before and row.before.path or row.name
  end
  run.rows[n] = row
end

-- Writes the gallery of what was made and what was not; returns the exit code.
local function write_gallery(options, run)
  if not run.gallery or not run.wanted[1] then return 0 end
  for n = 1, #run.wanted do
    local job = run.jobs[n]
    if not run.rows[n] then
      note(run, n, nil, job and job.error or { kind = "interrupted", message = "interrupted",
        charged = not (job and job.id) and false or nil })
    end
    run.gallery:add(run.rows[n])
  end
  return run.gallery:write(options)
end

-- Waits for the job number `n` and tells what came of it; returns the exit code and the image.
local function finish(options, run, n, path, subject)
  local began, job = core.now(), run.jobs[n]
  local image, err = service.wait(job)
  if not image and err.signal then error(err, 0) end
  note(run, n, image, err)
  if not image then return report.fail(options, err, job, subject) end
  local code, delivered = edit.tell(options, image, path, job)
  run.delivered[image.id or ""] = delivered
  if code == 0 and path ~= "-" then
    if options.progress then report.note(options, progress.summary(image, core.now() - began)) end
    if options.open then open(image.path or path) end
  end
  return code, image
end

-- Begins all versions at once and waits for them.
local function versions(options, run)
  local code = 0
  for n, path in ipairs(run.paths) do
    local wanted = run.wanted[n]
    place(wanted, path, run.taken)
    run.wanted[n] = wanted
    run.jobs[n] = run.client:edit(wanted)
  end
  for n in ipairs(run.jobs) do
    local each = finish(options, run, n, run.paths[n], #run.paths > 1 and run.paths[n] or nil)
    code = code == 0 and each or code
  end
  return code
end

-- Tells what came of a step; returns the exit code.
local function finish_step(options, run, result, began)
  local n, err = result.index, result.error
  local job, path = run.jobs[n], run.paths[n]
  local image = not err and (job and job.image or result.image or steps.saved(result.saved)) or nil
  note(run, n, image, err)
  if err then
    return report.fail(options, job and err or steps.refusal(n, err, run.journal), job)
  end
  local code, delivered = 0, true
  if path ~= "-" or n == #run.paths then -- of the others only the last picture is wanted
    code, delivered = edit.tell(options, image, path, job or {})
  end
  run.delivered[image.id or ""] = delivered
  if code ~= 0 or path == "-" then return code end
  if result.skipped then
    report.note(options, ("step %d was made by an earlier run"):format(n))
  elseif options.progress then
    report.note(options, progress.summary(image, core.now() - began))
  end
  if options.open then open(image.path or path) end
  return 0
end

-- Makes one edit after the other, each of the result before it.
local function chain(options, run)
  run.wanted = steps.items(run.wanted, run.keys)
  for n, item in ipairs(run.wanted) do
    place(item, run.paths[n], run.taken)
    item.on_progress = function(job) run.jobs[n] = job end
  end
  local began = core.now()
  for result in run.client:batch(run.wanted):results() do
    screen.wipe()
    local code = finish_step(options, run, result, began)
    if code ~= 0 then
      report.note(options, ("step %d of %d was the last one"):format(result.index, #run.paths))
      return code
    end
    began = core.now()
  end
  return 0
end

-- Returns the prompts, of which one may stand on standard input.
local function read_prompts(options)
  local prompts = {}
  for i, prompt in ipairs(options.prompt) do
    prompts[i] = prompt == "-" and (io.stdin:read "*a" or "") or prompt
  end
  return prompts
end

-- Gives the names back that no picture has got, and that none will get by `resume`.
local function release(run)
  local kept = {}
  for n, path in ipairs(run.paths or {}) do
    local job = run.jobs[n]
    local err = job and job.error
    local alive = job and (not job:ended() or job.image or err and job.id
      and not report.is_final(err.kind))
    if run.taken[path] and not alive then
      names.release(path)
    elseif run.taken[path] and not job.image then
      kept[#kept + 1] = names.absolute(path)
    end
  end
  if run.notes then state.note_names(run.notes, kept) end
end

-- Reports why an edit was given up, and what goes on with it; returns the exit code.
local function give_up(options, run, err)
  if not run.client or not err.signal then
    local last
    for n = 1, #(run.paths or {}) do last = run.jobs[n] or last end
    return report.fail(options, err, last)
  end
  service.abandon(options, run.client, run.jobs)
  return service.tell_interrupted(options, err, run.jobs, #run.paths > 1 and run.paths or nil)
end

-- Makes the edits; returns the exit code.
local function begin(options, run, count)
  run.wanted = {}
  for n = 1, count do run.wanted[n] = parameters(options, run, n) end
  run.keys = #run.prompts > 1 and steps.keys(run.wanted) or nil
  if options.dry_run then
    return price.tell(options, run.keys and steps.items(run.wanted, run.keys) or run.wanted)
  end
  run.journal = journal_of(options, run)
  -- Where this run notes the names that it keeps. A journal that another process holds has its own.
  run.notes = run.keys and run.journal and not state.is_held(run.journal) and run.journal or nil
  if run.notes then state.sweep_names(run.notes) end
  run.paths, run.taken = {}, {}
  destinations(options, count, run)
  local taken = {}
  for path in pairs(run.taken) do taken[#taken + 1] = names.absolute(path) end
  if run.notes then state.note_names(run.notes, taken) end
  local wrong = options.gallery and gallery.mistake(options.gallery)
  if wrong then error(wrong, 0) end
  run.gallery = options.gallery and gallery.new(options.gallery) or nil
  run.client = service.client(options, { journal = run.journal,
    live = progress.of_edit(names.stem(options.image), function()
      for n = 1, count do
        local job = run.jobs[n]
        if job and not job:ended() then return job end
      end
    end) })
  return (run.keys and chain or versions)(options, run)
end

-- Returns what is wrong with the prompts for the model, or nil.
local function wrong_prompts(options)
  if #options.prompt == 0 then
    return given.needs_prompt(options.model) and "missing argument 'prompt'" or nil
  end
  local row = models.find(options.model or models.default)
  if not row or row.by_name.prompt then return nil end
  return ("%s takes no prompt: leave %s out"):format(row.name, given.word(options.prompt[1]))
end

--- kontext edit IMAGE PROMPT…, kontext erase IMAGE MASK and kontext outpaint IMAGE
---@param options table
---@return integer code
function edit.run(options)
  options.model = tools.models[options.command] or options.model
  options.prompt, options.reference = options.prompt or {}, options.reference or {}
  options.count = options.count or 1
  local mistake = given.mistake(options.image, options.prompt) or wrong_prompts(options)
  if not mistake and options.count > 1 and #options.prompt > 1 then
    mistake = "--count makes versions of one edit: give one prompt"
  end
  if not mistake and options.count > 1 and options.output == "-" then
    mistake = "--count makes several pictures, and standard output holds one: give a name with -o"
  end
  if not mistake and options.command == "outpaint" and #options.prompt > 1 then
    mistake = "outpaint paints around a picture once: give one prompt"
  end
  if mistake then
    report.warn(mistake)
    return report.usage
  end
  local run = { prompts = read_prompts(options), jobs = {}, wanted = {}, rows = {}, delivered = {},
    sources = { input_image = given.picture(options.image) } }
  for i, name in ipairs(options.reference) do
    run.sources["input_image_" .. i + 1] = given.picture(name)
  end
  local count = math.max(options.count, #run.prompts)
  core.watch_signals()
  local done, code = pcall(begin, options, run, count)
  if not done then code = give_up(options, run, report.raised(code)) end
  local written = write_gallery(options, run)
  code = code == 0 and written or code
  release(run)
  if run.client then pcall(run.client.close, run.client) end
  if run.journal and not options.journal then state.sweep(run.journal, run.delivered) end
  return code
end

return edit
