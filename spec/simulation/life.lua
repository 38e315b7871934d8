--- A life: users who begin edits, cancel, close, crash, come again; the real client on a virtual
--- machine; and the shadow ledger beside it.
local chance = require "spec.simulation.chance"
local client = require "kontext.client.client"
local disk = require "spec.simulation.disk"
local ledger = require "spec.simulation.ledger"
local network = require "spec.simulation.network"
local service = require "spec.simulation.service"
local world = require "spec.simulation.world"

local life = {}

local tiny = "\137PNG\r\n\26\n\0\0\0\13IHDR\0\0\0\8\0\0\0\8\8\2\0\0\0\75\109\41\220"
  .. "\0\0\0\12IDATx\156\99\96\24\221\0\0\0\200\0\1\0\0\0\0IEND\174\66\96\130"

local most_steps = 6000

-- Processes ---------------------------------------------------------------------------------------

---@class simulation.Process
local Process = {}
Process.__index = Process

local dead = setmetatable({}, { __tostring = function() return "the process has died" end })

function Process:alive()
  if self.dead then error(dead, 0) end
end

local deaths = { false, "killed", "power" }

--- Lets the process die here, for once.
function Process:may_crash(site, quietly)
  if self.dead then error(dead, 0) end
  local how = self.life.world:choose(site, deaths)
  if not how then return end
  self.life:die(self, how)
  if not quietly then error(dead, 0) end
end

-- Makes a process with a machine of its own.
local function new_process(self)
  local process = setmetatable({ life = self }, Process)
  local files, the_world = self.disk, self.world
  local function alive()
    if process.dead then error(dead, 0) end
  end
  process.system = {
    now = function()
      alive()
      return the_world.now
    end,
    wall = function()
      alive()
      return math.floor(the_world:time() + the_world.skew)
    end,
    getenv = function() return nil end,
    random = function()
      alive()
      return the_world.chance:random()
    end,
    engine = function(settings)
      alive()
      local engine = network.new(the_world, process, settings)
      process.engine = engine
      return engine
    end,
    log = function(path, options)
      alive()
      return files:log(process, path, options)
    end,
    can_save = function(path, way)
      alive()
      return files:can_save(path, way)
    end,
    reserve = function(path)
      alive()
      return files:reserve(process, path)
    end,
    release = function(path)
      alive()
      return files:release(path)
    end,
    save = function(path, bytes, way)
      alive()
      return files:put(process, path, bytes, way)
    end,
    read = function(path)
      alive()
      return files:read(path)
    end,
    file_info = function(path)
      alive()
      return files:file_info(path)
    end,
    real_path = function(path) return path end,
    md5_file = function(path)
      alive()
      return files:md5_file(path)
    end,
  }
  return process
end

-- Hosts: a client and who drives it ---------------------------------------------------------------

---@class simulation.Host
local Host = {}
Host.__index = Host

--- Returns how many tasks the client knows to be accepted.
function Host:accepted()
  local count = 0
  for _, entry in ipairs(self.jobs) do
    if entry.job.id and not entry.job:ended() then count = count + 1 end
  end
  return count
end

function Host:due()
  if self.process.dead or self.closed then return math.huge end
  local due = self.engine and self.engine:due() or math.huge
  if due < self.paused then due = self.paused end
  return due
end

local pauses = { 0, 0.7, 3, 35, 400 }

-- Calls a function of the host's, whose process may die of it. Returns whether it lives.
function Host:try(fn, ...)
  local done, problem = pcall(fn, ...)
  if self.process.dead then return false end
  if not done then
    self.life.world:broken("no call of ours raises", tostring(problem))
    return false
  end
  return true, problem
end

--- Does what is due.
function Host:step()
  local the_world = self.life.world
  local pause = the_world:choose("pause.step", pauses)
  if pause > 0 and self.paused <= the_world.now then
    self.paused = the_world.now + pause
    self.was_paused = true
    return
  end
  if not self:try(self.client.step, self.client) then return end
  self:look()
end

--- Looks at what has become of the jobs, as their user would.
function Host:look()
  local books = self.life.ledger
  local jobs = self.jobs
  for i = #jobs, 1, -1 do
    local entry = jobs[i]
    local job = entry.job
    if job.id and not entry.known then
      entry.known = true
      self:accepted_now(entry)
    end
    if job:ended() then
      table.remove(jobs, i)
      self.task_ended = self.life.world.now
      self:ended(entry, books)
    end
  end
end

-- A job shows its id.
function Host:accepted_now(entry)
  local the_world, job = self.life.world, entry.job
  local task = the_world.service.tasks[job.id]
  if not task then return end -- a stranger's
  if task.edit ~= entry.edit then
    the_world:broken("an edit polls its own task", entry.edit.prompt)
  end
  local row = task.row
  if row and self.journal and not job.warnings then
    task.kept = task.kept or task.host_of == self or row.fact == "ACCEPTED"
    if task.host_of == self and row.durable ~= "ACCEPTED" and row.durable ~= "SAVED"
      and row.durable ~= "LOST" and row.durable ~= "FAILED"
      and not (row.durable == "AMBIGUOUS" and row.id == job.id) and not entry.resumed then
      the_world:broken("ACCEPTED is on the disk before anybody is told", ("%s: %s"):format(
        entry.edit.prompt, tostring(row.durable)))
    end
  end
  if self.keeps_tokens then
    local token = job:token()
    if not token then
      the_world:broken("an accepted job has a token", entry.edit.prompt)
    end
    entry.edit.token = token
  end
end

--- The key is refused: what waits is not sent any more. What is under way may come back once.
function Host:lose_hope()
  if self.hopeless then return end
  self.hopeless = self.life.world.now
  for _, transfer in ipairs(self.engine.active) do
    if transfer.edit then transfer.edit.exempt = true end
  end
end

-- A job has ended.
function Host:ended(entry, books)
  local job, edit = entry.job, entry.edit
  edit.saved_id = job.id
  if job.error then
    local err = job.error
    if err.kind == "auth" or err.kind == "credits" then self:lose_hope() end
    if err.kind == "file" and err.stage == "save" then
      -- The picture is in the image, and there for good where the sentence says so.
      local bytes = rawget(job.image, "bytes")
      local task = self.life.service.tasks[job.id]
      if not task or bytes ~= task.picture then
        return self.life.world:broken("a picture that cannot be saved is in the image", edit.prompt)
      end
      self.life.world:reached "picture put aside"
      task.told = "file"
      return
    end
    books:failed(edit, { error = err, host = self, timeout = self.timeout, begun = entry.begun,
      cancelled = edit.cancelled, resumed = entry.resumed, paused = self.was_paused,
      uploaded = edit.attempts > 0, tried = edit.attempts, full = self.life.folders_fail })
    if err.retryable and not entry.resumed and not entry.batch and not self.closing then
      self.life:user_again(self, edit)
    end
    return
  end
  local image = job.image
  books:delivered(edit, { path = image.path, bytes = rawget(image, "bytes"), id = image.id })
end

-- Lives -------------------------------------------------------------------------------------------

---@class simulation.Life
local Life = {}
Life.__index = Life

--- Makes a life.
---@param seed integer
---@param number integer
---@param script? table<string, integer>
---@param trace? fun(line: string)
---@return simulation.Life
function life.new(seed, number, script, trace)
  local the_chance = chance.new(seed, number, script)
  local the_world = world.new(the_chance, number)
  the_world.trace = trace
  local self = setmetatable({ world = the_world, chance = the_chance, hosts = {}, steps = 0 }, Life)
  self.service = service.new(the_world)
  self.disk = disk.new(the_world)
  self.ledger = ledger.new(the_world)
  the_world.service, the_world.disk, the_world.ledger = self.service, self.disk, self.ledger
  return self
end

--- A process dies, or all of them.
function Life:die(process, how)
  local the_world = self.world
  the_world:note("crash " .. how)
  self.crashed = how
  if how == "power" then
    for _, host in ipairs(self.hosts) do host.process.dead = true end
    self.disk:lose_power()
    self.ledger:power_lost()
  end
  process.dead = true
  for _, host in ipairs(self.hosts) do
    if host.process.dead and host.engine then
      for _, transfer in ipairs(host.engine.active) do transfer.gone = true end
    end
  end
  if how ~= "power" then self.ledger:killed() end
end

-- The options of a client.
local function options_of(self)
  local plan = self.plan
  return { api_key = "k-simulated", base_url = plan.base, timeout = plan.timeout,
    poll_interval = plan.interval or nil, max_active = plan.most or nil,
    stall_timeout = 30, connect_timeout = 10, journal = plan.journal and "j/journal" or nil,
    loop = "yield" }
end

--- Begins a client of a process.
function Life:new_host(process)
  local host = setmetatable({ life = self, process = process, jobs = {}, paused = 0,
    timeout = self.plan.timeout, most = self.plan.most or 24, task_ended = -1,
    keeps_tokens = self.plan.tokens,
    journal = self.plan.journal and "j/journal" or nil }, Host)
  self.hosts[#self.hosts + 1] = host
  local lives = host:try(function()
    process.engine = nil
    host.client = client.new(options_of(self), process.system)
    host.engine = process.engine
    host.engine.host = host
  end)
  return lives and host or nil
end

-- Follows a job of an edit.
local function follow(host, edit, job, fields)
  local entry = { edit = edit, job = job, begun = host.life.world.now,
    resumed = fields and fields.resumed, batch = fields and fields.batch }
  for _, other in ipairs(host.jobs) do
    if other.job == job then return end
  end
  host.jobs[#host.jobs + 1] = entry
end

-- What an edit is asked for with.
local function item_of(edit, plan)
  return { prompt = edit.prompt, input_image = { bytes = tiny }, save_as = edit.save_as,
    key = edit.key, webhook_url = plan.webhook and "https://user.example/hook" or nil }
end

-- Begins one edit.
function Life:begin_edit(host, edit)
  edit.begun, edit.host, edit.journal = self.world.now, host, host.journal ~= nil
  edit.attempts, edit.told_free, edit.wait_until, edit.sent_whole = 0, nil, nil, nil
  edit.cancelled, edit.answer = nil, nil
  host:try(function()
    follow(host, edit, host.client:edit(item_of(edit, self.plan)))
  end)
end

--- The user begins an edit again that was told to be free.
function Life:user_again(host, edit)
  edit.again = (edit.again or 0) + 1
  if edit.again > 2 or self.world:choose("user.again", { false, true }) == false then return end
  self:begin_edit(host, edit)
end

-- Begins all edits as a batch.
function Life:begin_batch(host, again)
  local items, edits = {}, self.ledger.edits
  for i, edit in ipairs(edits) do
    edit.begun, edit.host, edit.journal = self.world.now, host, host.journal ~= nil
    edit.attempts, edit.told_free, edit.wait_until, edit.sent_whole = 0, nil, nil, nil
    edit.answer = nil
    items[i] = item_of(edit, self.plan)
    items[i].on_progress = function(job)
      if not job:ended() then follow(host, edit, job, { batch = true }) end
    end
  end
  host:try(function()
    host.batch = host.client:batch(items, { retry_ambiguous = again and again.retry_ambiguous,
      remake = again and again.remake, on_progress = function(result)
        self:batch_result(host, edits[result.index], result)
      end })
  end)
end

-- A batch tells one item's result.
function Life:batch_result(host, edit, result)
  if host.process.dead then return end
  host.results = (host.results or 0) + 1
  for i = #host.jobs, 1, -1 do
    if host.jobs[i].edit == edit then table.remove(host.jobs, i) end
  end
  host.task_ended = self.world.now
  if result.error then
    local err = result.error
    if err.kind == "auth" or err.kind == "credits" then host:lose_hope() end
    if err.kind == "file" and err.stage == "save" then
      edit.token = err.token or edit.token
      return
    end
    edit.token = err.token or edit.token
    return self.ledger:failed(edit, { error = err, host = host, timeout = host.timeout,
      begun = edit.begun, batch = true, paused = host.was_paused, tried = edit.attempts,
      full = self.folders_fail, cancelled = edit.cancelled })
  end
  self.ledger:delivered(edit, { path = result.saved, skipped = result.skipped,
    bytes = result.image and rawget(result.image, "bytes"), id = result.image and result.image.id })
end

-- Resumes what is open: of the journal, then by the tokens that the user has.
function Life:begin_resume(host, with_journal)
  local edits = self.ledger.edits
  if with_journal then
    local _, jobs = host:try(host.client.resume, host.client, { journal = "j/journal" })
    for _, job in ipairs(jobs or {}) do
      local task = job.id and self.service.tasks[job.id]
      if task then
        task.missed = nil
        task.edit.host = host
        follow(host, task.edit, job, { resumed = true })
      elseif job.error then
        local number = tonumber(job.error.message:match '^edit "e(%d+)"')
        local edit = edits[number or 0]
        if edit then self.ledger:failed(edit, { error = job.error, host = host, timeout = 0,
          begun = 0, resumed = true }) end
        for _, one in ipairs(edit and edit.tasks or {}) do
          if one.row and one.row.fact and one.row.fact ~= "ACCEPTED" then
            one.told = "ambiguous"
          end
        end
      end
    end
  end
  for _, edit in ipairs(edits) do
    if edit.token and not edit.delivered and not host.process.dead then
      local taken = false
      for _, entry in ipairs(host.jobs) do taken = taken or entry.edit == edit end
      if not taken then
        local _, job = host:try(host.client.resume, host.client, edit.token,
          edit.save_as and { save_as = edit.save_as } or nil)
        local task = job and job.id and self.service.tasks[job.id]
        if task then
          task.missed = nil
          edit.host = host
          follow(host, edit, job, { resumed = true })
        end
      end
    end
  end
end

-- Runs until nothing more is due. Every job ends, or waits for a named thing.
function Life:drive()
  local the_world, hosts = self.world, self.hosts
  while not the_world.violation do
    local when, who = the_world:next() or math.huge, nil
    for i = 1, #hosts do
      local due = hosts[i]:due()
      if due < when then when, who = due, hosts[i] end
    end
    if when == math.huge then break end
    self.steps = self.steps + 1
    if self.steps > most_steps then
      the_world:broken("no client spins", "")
      break
    end
    if who then
      the_world:move(when)
      who:step()
    else
      the_world:happen()
    end
  end
  for _, host in ipairs(hosts) do
    if not host.process.dead and not host.closed and not the_world.violation then
      for _, entry in ipairs(host.jobs) do
        if not entry.job:ended() then
          the_world:broken("every job ends or waits for a named thing",
            entry.edit.prompt .. " " .. entry.job.status)
        end
      end
      if host.batch and not host.batch:ended() then
        the_world:broken("every batch ends", tostring(host.batch))
      end
    end
  end
end

local function close_host(host)
  if host.process.dead or host.closed or not host.client then return end
  host.closing = true
  if host:try(host.client.close, host.client) then
    host:look()
    host.closed = true
  end
end

-- Closes what still runs.
function Life:close_hosts()
  for _, host in ipairs(self.hosts) do close_host(host) end
end

local shapes = {
  timeout = { 300, 60, 900, 20 },
  edits = { 2, 1, 3, 5, 9 },
  interval = { false, 5, 2, 30 },
  most = { false, 1, 2 },
  base = { "https://api.bfl.ai", "https://api.eu.bfl.ai" },
  yes = { true, false },
  no = { false, true },
  mode = { "batch", "edits", "edits" },
  save = { "named", "memory", "same" },
  second = { "none", "none", "process", "client" },
}

-- Says what the life is about.
function Life:plan_life()
  local the_world = self.world
  local function choose(name, list)
    return the_world:choose("life." .. name, list or shapes[name])
  end
  self.plan = {
    timeout = choose "timeout", interval = choose "interval", most = choose "most",
    base = choose "base", journal = choose("journal", shapes.yes), mode = choose "mode",
    save = choose "save", tokens = choose("tokens", shapes.yes), second = choose "second",
    webhook = choose("webhook", shapes.no),
  }
  if not self.plan.journal then self.plan.mode = "edits" end
  for i = 1, choose "edits" do
    local save = self.plan.save
    self.ledger:new_edit { key = self.plan.journal and "e" .. i or nil,
      save_as = save == "named" and "out/" .. i .. ".jpg" or save == "same" and "out/same.jpg"
        or nil }
  end
  if self.plan.save == "same" and self.plan.mode == "batch" then
    for i, edit in ipairs(self.ledger.edits) do edit.save_as = "out/" .. i .. ".jpg" end
  end
end

local cancels = { false, 0.1, 0.5, 1, 5, 30 }
local closes = { false, 0.2, 1, 6, 60 }
local troubles = { false, "full", "readonly", "gone", "broken", "denied" }

-- What users and machines do meanwhile.
function Life:disturb(host)
  local the_world = self.world
  for _, entry in ipairs(host.jobs) do
    local after = the_world:choose("user.cancel", cancels)
    if after and not host.batch then
      the_world:after(after, function()
        if host.process.dead or host.closed or entry.job:ended() then return end
        entry.edit.cancelled = true
        if host:try(entry.job.cancel, entry.job) then host:look() end
      end)
    end
  end
  local close = the_world:choose("user.close", closes)
  if close then the_world:after(close, function() close_host(host) end) end
  local kill = the_world:choose("crash.time", { false, 0.1, 0.4, 1, 5, 20, 100 })
  if kill then
    local how = the_world:choose("crash.how", { "killed", "power" })
    the_world:after(kill, function()
      if not host.process.dead and not host.closed then self:die(host.process, how) end
    end)
  end
  for _, folder in ipairs { "out", "j" } do
    local trouble = the_world:choose("folder.trouble", troubles)
    if trouble then
      local from = the_world:choose("folder.from", { 0.1, 0, 1, 3.2, 5 })
      local long = the_world:choose("folder.long", { 1e6, 0.5, 5 })
      self.folders_fail = true
      the_world:after(from, function()
        self.disk.state[folder] = trouble
        the_world:after(long, function() self.disk.state[folder] = nil end)
      end)
    end
  end
  local jump = the_world:choose("clock.jump", { 0, 700, -700, 86400, -86400 })
  if jump ~= 0 then
    the_world:after(the_world:choose("clock.when", { 1, 3.3, 4, 0 }), function()
      the_world.skew = the_world.skew + jump
    end)
  end
  local unlink = host.journal and the_world:choose("journal.unlink", { false, 0.05, 0.5, 3 })
  if unlink then
    the_world:after(unlink, function() self:tamper() end)
  end
end

-- The user removes the journal.
function Life:tamper()
  self.disk:unlink "j/journal"
  for _, edit in ipairs(self.ledger.edits) do edit.tampered = true end
end

local gaps = { 5, 0.5, 700, 5000, 90000 }
local nexts = { "batch", "resume", "stop" }

-- Comes again after the first clients are done or dead.
function Life:come_again()
  local the_world, plan = self.world, self.plan
  local next_thing = the_world:choose("user.next", nexts)
  if next_thing == "stop" then return end
  if next_thing == "batch" and plan.mode ~= "batch" then next_thing = "resume" end
  the_world:move(the_world.now + the_world:choose("user.gap", gaps))
  local again = { journal = plan.journal }
  if next_thing == "batch" then
    again.retry_ambiguous = the_world:choose("user.retry", shapes.no)
    again.remake = the_world:choose("user.remake", shapes.no)
    local spoil = the_world:choose("user.spoil", { "nothing", "unlink", "replace" })
    for _, edit in ipairs(self.ledger.edits) do
      if edit.save_as and spoil ~= "nothing" and self.disk:content(edit.save_as) then
        if spoil == "unlink" then self.disk:unlink(edit.save_as)
        else self.disk:replace(edit.save_as, "the user's own") end
        edit.spoiled_by_user = true
      end
    end
    for _, edit in ipairs(self.ledger.edits) do self.ledger:consent(edit, again) end
  end
  local host = self:new_host(new_process(self))
  if not host then return end
  if next_thing == "batch" then self:begin_batch(host, again)
  else self:begin_resume(host, plan.journal) end
  self:disturb(host)
  self:drive()
  self:close_hosts()
end

--- Lives, and returns the world: `violation` is what was broken.
---@return simulation.World
function Life:run()
  local the_world = self.world
  self:plan_life()
  local process = new_process(self)
  local host = self:new_host(process)
  if host then
    if self.plan.mode == "batch" then
      self:begin_batch(host)
    else
      for _, edit in ipairs(self.ledger.edits) do
        if not process.dead then self:begin_edit(host, edit) end
      end
    end
    host:look()
    self:disturb(host)
    self:begin_second(process)
    self:drive()
    self:close_hosts()
  end
  for _ = 1, 2 do
    if not the_world.violation
      and (self.crashed or the_world:choose("user.returns", shapes.no)) then
      self:after_crash()
      self:come_again()
    end
  end
  self:reckon()
  return the_world
end

-- A second actor beside the first.
function Life:begin_second(process)
  local second = self.plan.second
  if second == "none" or process.dead then return end
  local host = self:new_host(second == "process" and new_process(self) or process)
  if not host then return end
  if self.plan.journal then
    host.second = true
    if self.plan.mode == "batch" then
      host:try(function()
        local items = {}
        for i, edit in ipairs(self.ledger.edits) do items[i] = item_of(edit, self.plan) end
        host.batch = host.client:batch(items)
      end)
    end
  end
end

function Life:after_crash()
  if self.crashed then
    self.crashed = nil
    if self.plan.journal then self.ledger:check_crash() end
  end
end

-- In a world without faults all that is open is resumed; then nothing may be missing.
function Life:reckon()
  local the_world = self.world
  if the_world.violation then return end
  self:after_crash()
  the_world.healthy = true
  self.disk.state = {}
  self.folders_fail = nil
  local open = false
  for _, edit in ipairs(self.ledger.edits) do
    for _, task in ipairs(edit.tasks) do
      if not task.delivered then open = true end
    end
  end
  if open then
    local last = 0
    for _, task in ipairs(self.service.list) do last = math.max(last, task.ready, task.lag) end
    the_world:move(math.max(the_world.now, last) + 5)
    self.plan.timeout, self.plan.interval = 300, 5
    local host = self:new_host(new_process(self))
    self:begin_resume(host, self.plan.journal)
    self:drive()
    self:close_hosts()
  end
  if the_world.violation then return end
  if not self.plan.journal then
    for _, edit in ipairs(self.ledger.edits) do
      if not edit.token then edit.excused = true end
    end
  end
  self.ledger:close()
end

return life
