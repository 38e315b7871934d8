--- kontext enqueue: adds the edits of a list to a queue, as it is read. A second run adds nothing:
--- each edit has a key, its own or one of what it asks for.
local claims = require "kontext.journal.claims"
local core = require "kontext.core"
local given = require "kontext.cli.given"
local identity = require "kontext.journal.identity"
local list = require "kontext.cli.list"
local models = require "kontext.models"
local names = require "kontext.cli.names"
local params = require "kontext.job.params"
local queue = require "kontext.cli.queue"
local report = require "kontext.cli.report"
local screen = require "kontext.cli.screen"
local service = require "kontext.cli.service"

local enqueue = {}

local at_once = 500 -- edits of one statement
local longest = { key = 1024, save_as = 2048 } -- bytes that an index holds
local images = { "input_image", "input_image_2", "input_image_3", "input_image_4", "mask", "image" }

-- Returns why a row cannot hold this text, or nil.
local function unfit(name, text)
  if longest[name] and #text > longest[name] then
    return ("its %s has %d bytes, and at most %d go into a queue"):format(name, #text,
      longest[name])
  elseif text:find "%z" or require("kontext.json").invalid_utf8(text) then
    return ("its %s is not UTF-8: rename it, or use kontext batch"):format(name)
  end
end

-- Makes the pictures' names absolute: a worker has another working folder. Returns what is wrong.
local function settle_images(edit)
  for _, name in ipairs(images) do
    local source = edit[name]
    if type(source) == "table" and source.bytes then
      return name .. " cannot be standard input: a worker reads it by its name"
    elseif type(source) == "table" and source.path then
      source.path = names.absolute(source.path)
      local wrong = unfit(name, source.path)
      if wrong then return wrong end
    end
  end
end

-- Returns the row of an edit; or nil and what is wrong.
local function row_of(options, edit, model)
  local wrong = settle_images(edit)
  if wrong then return nil, wrong end
  for name, value in pairs(edit) do
    if type(value) == "string" then
      wrong = unfit(name, value)
      if wrong then return nil, wrong end
    elseif type(value) == "table" and value.result then
      return nil, name .. " is another edit's result, and a queue has no order: enqueue that one "
        .. "first, and this one with its picture's name"
    end
  end
  local place = edit.save_as and names.absolute(edit.save_as)
  local source = edit.input_image or edit.image or {}
  edit.save_as = place or names.absolute(names.beside(source.path or source.url or "-",
    edit.output_format, options.directory, function() return true end))
  wrong = unfit("save_as", edit.save_as)
  if wrong then return nil, wrong end
  local key = edit.key
  edit.key = nil
  local checked, message = params.check(edit, 1, model)
  if not checked then return nil, message end
  local id = identity.of(checked, nil, model)
  key = key or id .. (place and "-" .. identity.of({ prompt = place }, nil, model):sub(1, 8) or "")
  edit.model = models.find(edit.model or model).name
  return { key = key, identity = id, params = claims.encode(edit), save_as = place,
    model = edit.model }
end

-- Sends what has been read to the database; it may be sent twice.
local function flush(db, run)
  if #run.rows == 0 then return end
  local added, others, code
  for _ = 1, 5 do
    added, others, code = claims.add(db, run.rows)
    if added or code == "EDATABASE" then break end
    core.sleep(1)
    service.heed_signals()
  end
  if not added then error(queue.trouble(others, code), 0) end
  run.added = run.added + added
  for _, other in ipairs(others) do
    local row = run.rows[other.n]
    if not other.there and row.save_as then
      run.fail(run.called[other.n] .. ": another edit of the queue goes to "
        .. row.save_as .. ": give each a save_as of its own")
    elseif other.there and not other.same then
      run.fail(('%s: key "%s" is in the queue with other parameters: give this one another key')
        :format(run.called[other.n], row.key))
    else
      run.known = run.known + 1
    end
  end
  run.rows, run.keys, run.called = {}, {}, {}
end

-- Adds one edit to the rows that go next.
local function take(db, run, row, called)
  local same = run.keys[row.key]
  if same then
    if same.identity ~= row.identity then
      return run.fail(('%s: key "%s" is in the list with other parameters: give this one another '
        .. "key"):format(called, row.key))
    end
    run.known = run.known + 1
    return
  end
  run.keys[row.key] = row
  run.rows[#run.rows + 1], run.called[#run.rows + 1] = row, called
  if #run.rows >= at_once then flush(db, run) end
end

local function begin(options, run)
  local db = queue.connect(options)
  local model = models.find(options.model or models.default)
  if not model then
    error({ kind = "invalid", message = "model " .. params.no_such_model(options.model) }, 0)
  end
  for _, path in ipairs(options.list) do
    local next_edit, err = list.stream(path, given.parameters(options))
    if not next_edit then error(err, 0) end
    while true do
      local edit, called = next_edit()
      if edit == nil then break end
      local row, wrong
      if edit then row, wrong = row_of(options, edit, model.name) end
      if row then
        take(db, run, row, called)
      else
        run.fail(edit and called .. ": " .. wrong or called)
      end
      run.read = run.read + 1
      if run.read % 1000 == 0 then
        service.heed_signals()
        if options.progress then screen.refresh(function() return run.read .. " read" end) end
      end
    end
  end
  flush(db, run)
  db:close()
end

--- kontext enqueue LIST…
---@param options table
---@return integer code
function enqueue.run(options)
  local run = { rows = {}, keys = {}, called = {}, read = 0, added = 0, known = 0,
    failed = 0, code = 0 }
  function run.fail(message)
    run.failed = run.failed + 1
    if run.failed <= 20 then
      run.code = report.fail(options, { kind = "invalid", charged = false, message = message })
    end
  end
  core.watch_signals()
  local done, problem = pcall(begin, options, run)
  if not done then return report.fail(options, report.raised(problem)) end
  if options.json then
    report.say_json(run, "added known failed")
  else
    report.note(options, ("%d added, %d already there, %d refused"):format(run.added, run.known,
      run.failed))
  end
  return run.code
end

return enqueue
