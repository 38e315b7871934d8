--- kontext batch: makes the edits of a list, or edits many pictures with one prompt. The same
--- command in the same folder goes on where it ended, and pays for nothing twice.
local core = require "kontext.core"
local gallery = require "kontext.cli.gallery"
local given = require "kontext.cli.given"
local list = require "kontext.cli.list"
local names = require "kontext.cli.names"
local price = require "kontext.cli.price"
local progress = require "kontext.cli.progress"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"
local service = require "kontext.cli.service"
local state = require "kontext.cli.state"

local batch = {}

local listed = 5 -- names that a sentence lists

-- Returns a few of many names, for a sentence.
local function some(all)
  local few = table.concat(all, ", ", 1, math.min(#all, listed))
  return #all > listed and ("%s and %d more"):format(few, #all - listed) or few
end

-- Returns whether an input is a picture, and not a list.
local function is_picture(name)
  return name ~= "-" and core.check { path = name } ~= nil
end

-- Returns the edits of pictures, with one prompt or none, and the name of each.
local function of_pictures(options, inputs)
  local edits = {}
  for i, name in ipairs(inputs) do
    edits[i] = given.parameters(options)
    edits[i].prompt = options.prompt and list.expand(options.prompt, names.stem(name))
    edits[i].input_image = given.picture(name)
    given.place(edits[i])
  end
  local wrong = edits[1] and given.misuse(edits[1])
  if wrong then error(given.refusal(wrong), 0) end
  return edits, inputs
end

-- Returns the set of the paths where the journal knows results.
local function known_results(journal)
  local known = {}
  if not journal or not state.is_there(journal) then return known end
  for _, entry in ipairs(state.entries(journal) or {}) do
    local path = entry.path or entry.save_as
    if path then known[names.absolute(path)] = true end
  end
  return known
end

-- Returns a function that says whether the journal knows a saved edit of that key.
local function known_keys(journal)
  local known
  return function(key)
    if not known then
      known = {}
      local is_there = journal and state.is_there(journal)
      for _, entry in ipairs(is_there and state.entries(journal) or {}) do
        if entry.key and entry.state == "saved" then known[entry.key] = true end
      end
    end
    return known[key] == true
  end
end

-- Returns the inputs without the results of this command's earlier runs, which `*.jpg` matches too.
-- A result is a path that the journal knows, or NAME-edit.jpg beside a NAME.jpg of the list.
local function without_results(options, journal)
  local results, stems = known_results(journal), {}
  for _, input in ipairs(options.input) do stems[(input:gsub("%.%w+$", ""))] = true end
  local kept, left_out = {}, {}
  for _, input in ipairs(options.input) do
    local stem = input:gsub("%.%w+$", "")
    local source = stem:match "^(.+)%-edit$" or stem:match "^(.+)%-edit%-%d+$"
    local is_result = results[names.absolute(input)] or source and stems[source]
    table.insert(is_result and left_out or kept, input)
  end
  if #left_out > 0 then
    report.note(options, ("left out %d result%s of earlier edits: %s; --include-results edits %s")
      :format(#left_out, #left_out == 1 and "" or "s", some(left_out),
        #left_out == 1 and "it" or "them"))
  end
  return kept
end

-- Records the names that are reserved with empty files.
local function note_names(run)
  local kept = {}
  for _, path in pairs(run.kept) do kept[#kept + 1] = path end
  if run.journal then state.note_names(run.journal, kept) end
end

-- Checks the destinations that a list names; returns the set of them, or nil and an error.
local function named_places(options, edits, called)
  local taken = {}
  for i, item in ipairs(edits) do
    if item.save_as then
      local absolute = names.absolute(item.save_as)
      local other = taken[absolute]
      if other then
        return nil, { kind = "invalid", charged = false, message = ("%s and %s both go to %s: give "
          .. "each a save_as of its own"):format(called[other], called[i], item.save_as) }
      end
      local same = not options.force and names.same_file(item.save_as, given.sources(item))
      if same then
        return nil, { kind = "invalid", charged = false, message = ("%s: %s is the picture that is "
          .. "edited: choose another save_as, or pass --force to replace it"):format(called[i],
            item.save_as) }
      end
      local good, err = names.check(item.save_as)
      if not good then
        err.message = called[i] .. ": " .. err.message
        return nil, err
      end
      taken[absolute] = i
    end
  end
  return taken
end

-- Gives every edit a place for its result: the one that it names, or a free name, which an empty
-- file reserves and `run.kept` lists. Raises if a place cannot be written.
local function place(options, run, edits)
  local taken, err = named_places(options, edits, run.called)
  if not taken then error(err, 0) end
  local take = names.of_list(taken)
  for i, item in ipairs(edits) do
    if not item.save_as then
      local source = given.first(item) or {}
      local message, code
      item.save_as, message, code = names.beside(source.path or source.url
        or source.result and names.of_key(source.result) or "-", given.format(source, item),
        options.directory, take)
      if not item.save_as then error(names.unusable(message, code), 0) end
      item.no_replace, item.reserved = true, true
      run.kept[i] = names.absolute(item.save_as)
    end
    item.save_as = names.absolute(item.save_as)
  end
  note_names(run)
end

-- Gives back the reserved name of an item that gets no picture.
local function release(run, index)
  if run.kept[index] then names.release(run.kept[index]) end
  run.kept[index] = nil
end

-- Reports failures. Of those with the same reason it reports the first and, at the end, how many
-- more there are.
local function failures(options)
  local counts, order = {}, {}
  local self = {}
  function self.tell(result, job, subject)
    local reason = report.sentence(options, result.error)
    local repeated = counts[reason] ~= nil
    if not repeated then order[#order + 1] = reason end
    counts[reason] = (counts[reason] or 0) + 1
    return report.fail(options, result.error, job, subject, repeated)
  end
  function self.finish()
    for _, reason in ipairs(order) do
      local more = counts[reason] - 1
      if more > 0 then
        report.warn(("and %d more: %s"):format(more, reason))
      end
    end
  end
  return self
end

-- Reports each result as it comes; returns the exit code.
local function tell_results(options, run)
  local code, failed = 0, failures(options)
  for result in run.batch:results() do
    local index = result.index
    local job = run.jobs[index]
    run.cost = run.cost + (job and job.cost or 0)
    for _, warning in ipairs(job and job.warnings or {}) do
      report.note(options, run.called[index] .. ": " .. warning)
    end
    run.jobs[index] = nil -- first: what cannot be written below is no unfinished edit
    if result.error and job and job.id and not report.is_final(result.error.kind) then
      run.alive[index] = true
    else
      release(run, index)
    end
    if result.error then
      local each = failed.tell(result, job, run.called[index])
      code = code == 0 and each or code
      run.failed = run.failed + 1
    elseif options.json then
      report.say_json({ path = result.saved and names.shown(result.saved), key = result.key,
        of = run.called[index], skipped = result.skipped or false, region = result.region,
        window = result.window, match = result.match, shift = result.shift },
        "path of key skipped" .. report.place_fields(result))
    else
      report.say_path(names.shown(result.saved))
    end
    if run.gallery then
      run.rows[index] = gallery.row(run.edits[index], job and job.image
        or result.saved and { path = result.saved }, job, result.error)
      run.rows[index].note = result.skipped and "made by an earlier run" or nil
    end
    if result.skipped then
      run.skipped = run.skipped + 1
    elseif not result.error then
      run.made = run.made + 1
    end
  end
  failed.finish()
  return code
end

-- Sums up the batch in one line.
local function summarise(options, run)
  if options.json or not (options.progress or run.failed > 0 or run.skipped > 0) then return end
  local parts = { ("%d made"):format(run.made) }
  if run.skipped > 0 then
    parts[#parts + 1] = ("%d skipped, which an earlier run has saved"):format(run.skipped)
  end
  if run.failed > 0 then parts[#parts + 1] = ("%d failed"):format(run.failed) end
  if run.cost > 0 then
    parts[#parts + 1] = ("%.14g credits (%.2f USD)"):format(run.cost, run.cost / 100)
  end
  parts[#parts + 1] = screen.time(core.now() - run.began)
  report.note(options, table.concat(parts, ", "))
end

-- Writes the gallery in the order of the list, failures included; returns the exit code.
local function write_gallery(options, run)
  if not run.gallery or not run.batch then return 0 end
  local of_key = {}
  for index, item in ipairs(run.edits) do
    if item.key then of_key[item.key] = index end
  end
  for index, item in ipairs(run.edits) do
    local job = run.jobs[index]
    local row = run.rows[index] or gallery.row(item, nil, job, { kind = "interrupted",
      message = "interrupted", charged = not (job and job.id) and false or nil })
    local parent = type(item.input_image) == "table" and of_key[item.input_image.result or {}]
    if parent then
      row.parent, row.name = parent, run.called[index]
      row.before = (run.rows[parent] or {}).after
    end
    run.gallery:add(row)
  end
  return run.gallery:write(options)
end

-- Returns the path of the journal that the options ask for, or nil for none. May raise.
local function journal_of(options)
  if options.journal or options.no_journal then return options.journal end
  local path, message = state.for_batch()
  if not path then error({ kind = "file", message = message, charged = false }, 0) end
  return path
end

-- Reads the list or the pictures; returns the edits and the name of each, or raises.
local function read(options, journal)
  if options.prompt or is_picture(options.input[1]) then
    local inputs = options.include_results and options.input or without_results(options, journal)
    return of_pictures(options, inputs)
  end
  local edits, called = list.read(options.input[1], given.parameters(options), known_keys(journal))
  if not edits then error(called, 0) end
  return edits, called
end

local glance = 0.2 -- seconds between two looks at a journal that another process holds

-- Waits until no other process holds the journal. The journal then has what that process saved: two
-- runs of the same batch pay once, and other batches of the folder run one after the other.
local function wait_for(options, journal)
  local told = false
  while state.is_held(journal) do
    if not told then
      report.note(options, (options.journal and "another process runs edits with " .. journal
        or "another batch runs in this folder") .. ": waiting for its end")
      told = true
    end
    core.sleep(glance * (0.5 + math.random()))
    service.heed_signals()
  end
end

-- Makes the client, which holds the journal from then on.
local function connect(options, given_options)
  while true do
    local client = service.client(options, given_options)
    local broken = client:refusal()
    if not broken or broken.code ~= "EAGAIN" then return client end
    client:close()
    wait_for(options, given_options.journal) -- another run was faster
  end
end

-- Makes the edits; returns the exit code.
local function begin(options, run)
  local journal = not options.dry_run and journal_of(options) or options.journal
  if journal and not options.dry_run then wait_for(options, journal) end
  if journal and not options.dry_run then state.sweep_names(journal) end
  local edits, called = read(options, journal)
  run.called, run.journal = called, journal
  if options.dry_run then return price.tell(options, edits, called) end
  if #edits == 0 then
    report.note(options, "there is nothing to edit")
    return 0
  end
  local wrong = options.gallery and gallery.mistake(options.gallery)
  if wrong then error(wrong, 0) end
  run.gallery = options.gallery and gallery.new(options.gallery) or nil
  run.edits, run.rows = edits, {}
  place(options, run, edits)
  for i, item in ipairs(edits) do
    item.on_progress = function(job) run.jobs[i] = job end
  end
  run.client = connect(options, { journal = journal,
    live = progress.of_batch(function() return run.batch end, run.jobs, function()
      local credits = run.cost
      for _, job in pairs(run.jobs) do credits = credits + (job.cost or 0) end
      return credits
    end) })
  run.batch = run.client:batch(edits, {
    max_active = options.max_active, stop_on_error = options.stop_on_error,
    retry_ambiguous = options.retry_ambiguous,
  })
  local code = tell_results(options, run)
  summarise(options, run)
  return code
end

-- Reports why the batch was given up and how to continue it; returns the exit code.
local function give_up(options, run, err)
  if not run.batch or not (err.signal or err.kind == "output") then
    return report.fail(options, err)
  end
  if err.kind == "output" then report.fail(options, err) end
  service.abandon(options, run.client, run.jobs)
  local left = {}
  for index, job in pairs(run.jobs) do left[index] = job end
  local code = next(left) and service.tell_interrupted(options, err, left, run.called)
    or err.signal and report.fail(options, err) or report.code(err)
  if not options.no_journal then
    report.note(options, "to go on, run the same command again"
      .. (options.journal and "" or ", or kontext resume") .. ": nothing is paid for twice")
  end
  return code
end

-- Returns what is wrong with the command line, or nil.
local function mistake(options)
  local first = options.input[1]
  if options.prompt then return nil end
  if is_picture(first) then
    if not given.needs_prompt(options.model) then return nil end
    local words = {}
    for i = 1, math.min(#options.input, 3) do words[i] = given.word(options.input[i]) end
    return ("%s is a picture, and no prompt says what to change: kontext batch --prompt "
      .. "'Make it snow' %s"):format(first, table.concat(words, " "))
  end
  if #options.input > 1 then return "batch takes one list, or --prompt and pictures" end
end

--- kontext batch LIST, or --prompt PROMPT IMAGE…
---@param options table
---@return integer code
function batch.run(options)
  local wrong = mistake(options)
  if wrong then
    report.warn(wrong)
    return report.usage
  end
  local run = { jobs = {}, called = {}, kept = {}, alive = {}, began = core.now(),
    made = 0, failed = 0, skipped = 0, cost = 0 }
  core.watch_signals()
  local done, code = pcall(begin, options, run)
  screen.wipe()
  if not done then code = give_up(options, run, report.raised(code)) end
  local written = write_gallery(options, run)
  code = code == 0 and written or code
  for index in pairs(run.kept) do
    local job = run.jobs[index]
    if not run.alive[index] and not (job and job.id) then release(run, index) end
  end
  note_names(run)
  if run.client then pcall(run.client.close, run.client) end
  return code
end

return batch
