--- kontext worker: claims edits of a queue and makes them, beside as many others as there are. It
--- may be killed at any moment: what it had claimed waits again once its lease is over, what the
--- service has accepted is gone on with by another one, and what may have been sent is for a person
--- to decide.
local claims = require "kontext.journal.claims"
local core = require "kontext.core"
local json = require "kontext.json"
local postgres = require "kontext.journal.postgres"
local queue = require "kontext.cli.queue"
local report = require "kontext.cli.report"
local resume = require "kontext.journal.resume"
local retry = require "kontext.job.retry"
local service = require "kontext.cli.service"
local system = require "kontext.system"

local worker = {}

local glance = 0.1 -- seconds between two looks at signals
local look = 1 -- seconds between two looks for what other workers have left
local longest_idle = 1 -- seconds between two looks into an empty queue
local grace = 20 -- seconds for what was sent whole when the worker is told to end
local most_unreadable = 20 -- edits in a row whose files cannot be read or written

-- Reports how an edit has ended.
local function tell(options, run, row, job, path)
  if job.error then
    run.failed = run.failed + 1
    return report.fail(options, job.error, job, row.key)
  end
  run.made = run.made + 1
  if options.json then
    report.say_json({ path = path, key = row.key, credits = job.cost }, "path key credits")
  else
    report.say_path(path)
  end
  return 0
end

-- Does what a job's end asks for: the row of one that has no picture goes back, or is over.
local function ended(options, run, row, job)
  run.jobs[row] = nil
  run.open = run.open - 1
  local held, err = run.journal:held(job) or run.journal:all_held()[tonumber(row.id)], job.error
  local is_held = held and run.journal:all_held()[held.number] == held
  if not err then
    run.unreadable = 0
    return tell(options, run, row, job, job.image.path)
  end
  if retry.is_hopeless(err) or err.kind == "auth" then run.hopeless = err end
  local unreadable = err.kind == "file" and not postgres.is_database_trouble(err)
  run.unreadable = unreadable and run.unreadable + 1 or 0
  if is_held and held.state == "accepted" then
    run.journal:release(held, false, run.ending and 0 or 5, job)
  elseif is_held and held.state == "claimed" then -- any other state says more than this could
    run.journal:end_unsent(held, job)
  end
  local code = 0
  if not run.ending or run.db.trouble then code = tell(options, run, row, job) end
  if run.code == 0 and not postgres.is_passing(err, 0) then run.code = code end
end

-- Follows a row's job to its end.
local function follow(options, run, row, job)
  run.jobs[row], run.open = job, run.open + 1
  run.client:on_end(job, function() ended(options, run, row, job) end)
end

-- Returns an edit's parameters.
local function parameters(row)
  local edit = json.decode(row.params)
  if type(edit) ~= "table" then return nil end
  if type(edit.seed) == "number" then edit.seed = json.integer_field(row.params, "seed") end
  edit.key, edit.no_replace = row.key, true
  return edit
end

-- Begins a row that was claimed. The name that an earlier worker kept for it is given back first.
local function begin(options, run, row)
  local entry = claims.entry(row)
  if entry.save_as then core.release(entry.save_as) end
  local edit = parameters(row)
  local done, job = pcall(run.client.begin_edit, run.client, edit or {}, 1, true)
  if not done then
    job = run.client:refuse({ key = row.key }, { kind = "invalid", stage = "check",
      charged = false, message = tostring(job):gsub("^[^:]*:%d+: ", "") })
  end
  follow(options, run, row, job)
end

-- Goes on with a row that the service has accepted from another worker.
local function go_on(options, run, row)
  local entry, edit = claims.entry(row), parameters(row) or {}
  entry.save_as = entry.save_as or edit.save_as
  run.adopted = run.adopted + 1
  follow(options, run, row, resume.entry(run.client, entry, { save_as = entry.save_as,
    no_replace = true }))
end

-- Ends the jobs whose rows are another worker's by now.
local function heed_fences(run, own)
  for row, job in pairs(run.jobs) do
    local held = run.journal:held(job)
    if held and run.journal:all_held()[held.number] and not own[held.number]
      and held.state ~= "sending" then
      run.journal:let_go(held)
      job:stop("fenced", "another worker has taken the edit over")
      run.jobs[row] = job
    end
  end
end

-- Tells the database that this worker lives.
local function beat(run, now)
  if now < run.beat_at and run.connected == run.db.connected then return end
  run.connected = run.db.connected
  local busy = {}
  for row in pairs(run.jobs) do busy[tonumber(row.id)] = true end
  run.journal:let_idle_go(busy)
  local own = claims.heartbeat(run.journal)
  run.beat_at = now + (own and run.journal.lease / 6 or 1)
  if own then heed_fences(run, own) end
end

-- Takes over what others have left, and what webhooks have reported.
local function look_around(options, run, now)
  if now < run.look_at then return end
  run.look_at = now + look * (0.5 + system.random())
  claims.expire(run.db)
  if run.open > 0 then
    for _, id in ipairs(claims.woken(run.journal)) do run.client:notify { id = id } end
  end
  local room = options.max_active - run.open
  if room <= 0 or run.ending then return end
  for _, row in ipairs(claims.adopt(run.journal, room, run.account) or {}) do
    go_on(options, run, row)
  end
end

-- Claims as many edits as there are slots for.
local function claim(options, run, now)
  local room = options.max_active - run.open
  if run.ending or room <= 0 or now < run.claim_at then return end
  local spare = run.journal.slots:reserve(room)
  if spare == 0 then return end
  local rows = claims.claim(run.journal, math.min(room, spare)) or {}
  for _, row in ipairs(rows) do begin(options, run, row) end
  if #rows == 0 then
    run.journal.slots:give_back_spare()
    run.idle = math.min(longest_idle, run.idle * 1.5 + 0.05)
    run.claim_at = now + run.idle * (0.5 + system.random())
  else
    run.idle = 0
  end
end

-- Returns whether `--once` has nothing left to do.
local function is_empty(options, run, now)
  if not options.once or run.open > 0 or now < run.ask_at then return false end
  run.ask_at = now + 0.3
  return claims.is_open(run.db, run.account) == false
end

-- Returns why the worker must not go on, or nil.
local function trouble(run)
  if run.hopeless then return run.hopeless end
  if run.unreadable >= most_unreadable then
    return { kind = "file", charged = false, message = ("%d edits in a row could not read or write "
      .. "their files: is the shared folder there? They wait again"):format(run.unreadable) }
  end
end

-- Hands over: what was not sent waits again, what was accepted is another worker's to go on with;
-- what was sent whole is waited for, some seconds.
local function hand_over(options, run)
  run.ending = true
  run.client:settle()
  local function is_sending(job)
    return job.status == "uploading"
  end
  for _, job in pairs(run.jobs) do
    if not is_sending(job) then job:stop("closed", "the worker ends") end
  end
  local deadline = core.now() + grace
  while run.open > 0 and core.now() < deadline do
    run.client:poll(glance)
    for _, job in pairs(run.jobs) do
      if not is_sending(job) then job:stop("closed", "the worker ends") end
    end
    beat(run, core.now())
    if core.signal() then break end -- a second one is in a hurry
  end
  run.client:close()
  report.note(options, ("handed over: %d made, %d failed"):format(run.made, run.failed))
end

-- Reports trouble with the database, once for each kind; it is waited out.
local function tell_trouble(options, run)
  local now = run.db.trouble
  if now and now ~= run.told_trouble then report.warn(now .. "; trying again") end
  if not now and run.told_trouble then report.note(options, "the database answers again") end
  run.told_trouble = now
end

local function work(options, run)
  while not is_empty(options, run, core.now()) do
    service.heed_signals()
    local now = core.now()
    run.journal:flush()
    beat(run, now)
    look_around(options, run, now)
    claim(options, run, now)
    tell_trouble(options, run)
    local wrong = trouble(run)
    if wrong then return wrong end
    if run.open > 0 then run.client:poll(glance) else core.sleep(glance) end
  end
end

-- Returns this machine's name, for who reads the table.
local function host_name()
  local file = io.open "/proc/sys/kernel/hostname"
  local name = file and file:read "*l"
  if file then file:close() end
  return name or "worker"
end

--- kontext worker
---@param options table
---@return integer code
function worker.run(options)
  local address, err = queue.address(options)
  if not address then return report.fail(options, err) end
  options.timeout = options.timeout or 300
  local lease = options.lease or options.timeout + 60
  if lease <= options.timeout then
    return report.fail(options, { kind = "invalid", charged = false, message = ("--lease %g must "
      .. "be longer than --timeout %g: a lease that ends while an edit is sent leaves it in doubt")
      :format(lease, options.timeout) })
  end
  core.watch_signals()
  local made, client = pcall(service.client, options, { journal = address })
  if not made then return report.fail(options, report.raised(client)) end
  local refusal = client:refusal()
  if refusal then return report.fail(options, refusal) end
  client:journal():call_itself(options.name or host_name(), lease)
  options.max_active = math.min(options.max_active or 24, client:limit(client:default_model()))
  local key, message = client.transport:key()
  if not key then
    return report.fail(options, { kind = "auth", charged = false, message = message })
  end
  local run = { client = client, journal = client:journal(), jobs = {}, open = 0, made = 0,
    failed = 0, adopted = 0, idle = 0, beat_at = 0, look_at = 0, claim_at = 0, ask_at = 0,
    unreadable = 0, code = 0, account = client.transport:account() }
  run.db = run.journal:database()
  if options.name then claims.inherit(run.journal, options.name) end
  local done, wrong = pcall(work, options, run)
  if done and not wrong then
    client:close()
    return run.code
  end
  wrong = done and wrong or report.raised(wrong)
  local handed, problem = pcall(hand_over, options, run)
  if not handed then report.fail(options, report.raised(problem)) end
  if wrong.signal == 15 then return 0 end -- it was told to, and has done it
  return report.fail(options, wrong)
end

return worker
