--- kontext resume: goes on with what was accepted: of a token, of one journal, or of all.
local core = require "kontext.core"
local edit = require "kontext.cli.edit"
local names = require "kontext.cli.names"
local progress = require "kontext.cli.progress"
local report = require "kontext.cli.report"
local service = require "kontext.cli.service"
local state = require "kontext.cli.state"
local token = require "kontext.token"

local resume = {}

-- Saves what a resumed job has made, unless it did so itself; returns the exit code, and whether
-- the picture is in somebody's hands.
local function finish(options, job, path, subject)
  local image, err = service.wait(job)
  if not image and err.signal then error(err, 0) end
  if not image then return report.fail(options, err, job, subject), report.is_final(err.kind) end
  if path ~= "-" and not image.path then
    local message, code
    if not path then
      path, message, code = names.of_task(image.id, image.format, names.reserve)
      if not path then return report.fail(options, names.unusable(message, code), job), false end
    end
    local _, _, save_error = image:save(path)
    if save_error then return report.fail(options, save_error, job), false end
  end
  return edit.tell(options, image, path or image.path, job)
end

-- Returns the journal of ours that no living process holds and that knows a task, and the
-- destination that it has for it; or nil.
local function noted(id)
  for _, file in ipairs(id and state.journals() or {}) do
    for _, entry in ipairs(state.entries(file) or {}) do
      if entry.id == id then return file, entry.save_as end
    end
  end
end

-- Returns where the picture of a task goes ("-": standard output, nil: a name by its id), and
-- whether that is the caller's word; or raises. A token may be a stranger's: it names no path.
local function destination(options, noted_path)
  local path = options.output
  if not path then return noted_path, false end
  if path ~= "-" then
    local good, err = names.check(path)
    if not good then error(err, 0) end
  end
  return path, true
end

-- Goes on with the job of a token.
local function of_token(options, run)
  local text = options.token
  if text == "-" then text = io.stdin:read "*l" or "" end
  local values = token.read(text) or {} -- what is wrong with it the library says below
  local journal, noted_path = noted(values.id)
  local path, chosen = destination(options, noted_path)
  local overrides = path and path ~= "-"
    and { save_as = names.absolute(path), no_replace = not chosen or nil } or nil
  run.client = service.client(options, { journal = journal, live = run.live })
  run.jobs[1] = run.client:resume(text, overrides)
  local code, delivered = finish(options, run.jobs[1], path)
  if journal then run.client:close() end
  if delivered and values.id then state.settle(values.id) end
  return code
end

-- Goes on with all that is unfinished in a journal; returns the exit code and how many that were.
local function of_journal(options, run, path)
  local base = names.shown(path)
  run.client = service.client(options, { journal = path, live = run.live })
  run.jobs = run.client:resume { journal = path }
  local code, delivered, count = 0, {}, #run.jobs
  for _, job in ipairs(run.jobs) do
    local each, done = finish(options, job, nil, count > 1 and job.id and names.task(job.id)
      or not job.id and base or nil)
    if job.id then delivered[job.id] = done end
    code = code == 0 and each or code
  end
  run.client:close()
  run.jobs = {}
  if state.is_passing(path) then state.sweep(path, delivered) end
  local made, steps = state.missing_steps(path, state.is_there(path) and state.entries(path) or {})
  if made then
    report.note(options, ("%d of %d steps are made: the same edit again, in the same folder, makes "
      .. "the others"):format(made, steps))
  end
  return code, count
end

-- Goes on with what is unfinished in all journals that no living process holds.
local function of_all(options, run)
  local code, count, held = 0, 0, 0
  state.must_be_readable()
  for _, path in ipairs(state.journals()) do
    local entries, message, why = state.entries(path)
    local open = false
    for _, entry in ipairs(entries or {}) do open = open or state.is_unfinished(entry) end
    if open then
      local each, more = of_journal(options, run, path)
      code, count = code == 0 and each or code, count + more
    elseif entries and state.is_passing(path) then
      state.sweep(path, {}) -- of a run that was killed before it sent anything
    elseif why == "EAGAIN" then
      held = held + 1
    elseif not entries then
      local each = report.fail(options, { kind = "file", code = why, message = message })
      code = code == 0 and each or code
    end
  end
  if count == 0 and code == 0 then
    report.note(options, "nothing is unfinished" .. (held > 0 and (" but what %d running command%s"
      .. " on with"):format(held, held == 1 and " goes" or "s go") or ""))
  end
  return code
end

-- Does what the options ask for; returns the exit code.
local function begin(options, run)
  if options.token then return of_token(options, run) end
  if options.journal then return (of_journal(options, run, options.journal)) end
  return of_all(options, run)
end

--- kontext resume [TOKEN], or --journal FILE
---@param options table
---@return integer code
function resume.run(options)
  if options.token and options.journal or options.output and not options.token then
    report.warn "resume takes a token (then --output too), or --journal, or nothing for all"
    return report.usage
  end
  if options.journal and not state.is_there(options.journal) then
    return report.fail(options, { kind = "file", code = "ENOENT", charged = false,
      message = ("there is no journal %s: look for the name, or leave --journal out to go on with "
        .. "all that is unfinished"):format(options.journal) })
  end
  local run = { jobs = {} }
  run.live = progress.of_edit("resume", function()
    for _, job in ipairs(run.jobs) do
      if not job:ended() then return job end
    end
  end)
  core.watch_signals()
  local done, code = pcall(begin, options, run)
  if done then return code end
  local err = report.raised(code)
  if not run.client or not err.signal then return report.fail(options, err, run.jobs[1]) end
  service.abandon(options, run.client, run.jobs)
  return service.tell_interrupted(options, err, run.jobs)
end

return resume
