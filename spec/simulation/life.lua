--- A life: users who begin edits, cancel, close, crash, come again; the real client on a virtual
--- machine; and the shadow ledger beside it.
local chance = require "spec.simulation.chance"
local client = require "kontext.client.client"
local disk = require "spec.simulation.disk"
local hosts = require "spec.simulation.host"
local ledger = require "spec.simulation.ledger"
local process = require "spec.simulation.process"
local service = require "spec.simulation.service"
local world = require "spec.simulation.world"

local life = {}

local tiny = "\137PNG 8 8 tiny"
local patience = { steps = 2000, per_edit = 1500 } -- steps after which a client spins

---@class simulation.Life
---@field plan table what the life is about
---@field hosts simulation.Host[]
---@field crash_at integer? the crash point at which a process dies
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
  local self = setmetatable({ world = the_world, chance = the_chance, hosts = {}, steps = 0,
    processes = 0 }, Life)
  self.service = service.new(the_world)
  self.disk = disk.new(the_world)
  self.ledger = ledger.new(the_world)
  the_world.service, the_world.disk, the_world.ledger = self.service, self.disk, self.ledger
  return self
end

--- A process dies, or all of them.
function Life:die(one, how)
  local the_world = self.world
  the_world:note("crash " .. how)
  self.crashed, self.died = how, true
  if how == "power" then
    for _, host in ipairs(self.hosts) do host.process.dead = true end
    self.disk:lose_power()
    self.ledger:power_lost()
  end
  one.dead = true
  for _, host in ipairs(self.hosts) do
    if host.process.dead and host.engine then
      for _, transfer in ipairs(host.engine.active) do transfer.gone = true end
    end
  end
  if how ~= "power" then self.ledger:killed() end
end

-- The plan ----------------------------------------------------------------------------------------

local shapes = {
  timeout = { 300, 60, 900, 20 },
  edits = { 2, 1, 3, 5, 9, 24, 130 },
  interval = { false, 5, 2, 30 },
  most = { false, 1, 2 },
  base = { "https://api.bfl.ai", "https://api.eu.bfl.ai" },
  yes = { true, false },
  no = { false, true },
  mode = { "batch", "edits", "edits" },
  save = { "named", "memory", "same", "default" },
  second = { "none", "none", "process", "client" },
  input = { "bytes", "path", "fit", "content" },
  chain = { false, "line", "star", "tree" },
  budget = { false, false, 12, 6, 40 },
  crash = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 24, 28, 32, 40, 60 },
}

local parents = {
  line = function(number) return number - 1 end,
  star = function() return 1 end,
  tree = function(number) return math.floor(number / 2) end,
}

-- Makes the edits of a plan.
function Life:plan_edits(count)
  local plan, save = self.plan, self.plan.save
  for i = 1, count do
    local edit = { key = plan.keyed and "e" .. i or nil }
    if save == "named" then edit.save_as = "out/" .. i .. ".jpg"
    elseif save == "same" then edit.save_as = "out/same.jpg"
    elseif save == "default" then edit.save_as, edit.no_replace = "out/picture.jpg", true
    end
    if plan.chain and i > 1 then
      edit.parent = parents[plan.chain](i)
    elseif plan.input ~= "bytes" then
      edit.input = "in/" .. i .. ".png"
      edit.fitted = plan.input == "fit"
      edit.by_content = plan.journal and plan.input == "content"
      self.disk:replace(edit.input, (edit.fitted and "\137PNG 4000 3000 input %d"
        or "\137PNG 800 600 input %d"):format(i))
    end
    self.ledger:new_edit(edit)
  end
end

-- Says what the life is about.
function Life:plan_life()
  local the_world = self.world
  local function choose(name, list)
    return the_world:choose("life." .. name, list or shapes[name])
  end
  local plan = {
    timeout = choose "timeout", interval = choose "interval", most = choose "most",
    base = choose "base", journal = choose("journal", shapes.yes), mode = choose "mode",
    save = choose "save", tokens = choose("tokens", shapes.yes), second = choose "second",
    webhook = choose("webhook", shapes.no), input = choose "input",
    budget = the_world:choose("budget.credits", shapes.budget),
  }
  self.plan = plan
  if not plan.journal then plan.mode = "edits" end
  if plan.save == "same" and plan.mode == "batch" then plan.save = "named" end
  plan.chain = plan.mode == "batch" and the_world:choose("chain.form", shapes.chain)
  if plan.input == "content" and (plan.mode ~= "batch" or plan.chain) then plan.input = "path" end
  plan.keyed = plan.journal and plan.input ~= "content"
  if plan.save == "default" and the_world:choose("folder.taken", shapes.no) then
    self.disk:replace("out/picture.jpg", "the user's own")
  end
  self:plan_edits(choose "edits")
  local storm = the_world:choose("submit.storm", { false, 3, 20, 100 })
  self.service.storm_until = storm and the_world.now + storm
  if plan.webhook then
    self.service.hook = function(task) self:plan_hook(task) end
  end
  self.most_steps = patience.steps + patience.per_edit * #self.ledger.edits
end

local hook_fates = { "sent", "lost", "twice", "early", "late" }

-- The service will tell of a task's end by a webhook.
function Life:plan_hook(task)
  local the_world = self.world
  local fate = the_world:choose("hook.fate", hook_fates)
  if fate == "lost" or the_world.healthy then return end
  local after = fate == "early" and 0.2 or math.max(0, task.ready - the_world.now) + 0.1
  if fate == "late" then after = after + 20 end
  local function call()
    for _, host in ipairs(self.hosts) do self:notify(host, task) end
  end
  the_world:after(after, call)
  if fate == "twice" then the_world:after(after + 1, call) end
end

-- A webhook's event reaches a host.
function Life:notify(host, task)
  if not host:lives() or not host.engine then return end
  local the_world = self.world
  local busy = host.engine:asks(task)
  local lives, known = host:try(host.client.notify, host.client,
    { id = task.id, status = "Ready" })
  if known then task.woken = the_world.now end
  if not lives or not known or busy then return end
  local at = the_world.now
  task.hooked = at
  the_world:after(1, function()
    if task.hooked == at and host:lives() and host.paused < at then
      the_world:broken("a webhook makes the next poll come at once", task.id)
    end
  end)
end

-- Beginning ---------------------------------------------------------------------------------------

-- The options of a client. The key is short: hiding it in errors is tried elsewhere.
local function options_of(self)
  local plan = self.plan
  return { api_key = "k-sim", base_url = plan.base, timeout = plan.timeout,
    poll_interval = plan.interval or nil, max_active = plan.most or nil,
    budget = plan.budget or nil, stall_timeout = 30, connect_timeout = 10,
    journal = plan.journal and "j/journal" or nil, loop = "yield" }
end

--- Begins a client of a process.
function Life:new_host(of)
  local host = hosts.new(self, of)
  self.hosts[#self.hosts + 1] = host
  local lives = host:try(function()
    of.engine = nil
    host.client = client.new(options_of(self), of.system)
    host.engine = of.engine
    host.engine.host = host
  end)
  return lives and host or nil
end

-- What an edit is asked for with.
local function item_of(edit, plan)
  local image = edit.parent and { result = "e" .. edit.parent }
    or edit.input and { path = edit.input } or { bytes = tiny }
  return { prompt = edit.changed and edit.prompt .. "b" or edit.prompt, input_image = image,
    save_as = edit.save_as, no_replace = edit.no_replace, key = edit.key,
    fit = edit.fitted or nil, webhook_url = plan.webhook and "https://user.example/hook" or nil }
end

-- Forgets what became of an earlier try: the user begins it anew.
function Life:begin(host, edit)
  edit.begun, edit.host, edit.journal = self.world.now, host, host.journal ~= nil
  edit.attempts, edit.tries, edit.told_free, edit.wait_until, edit.sent_whole = 0, 0, nil, nil, nil
  edit.cancelled, edit.answer, edit.was_limited = nil, nil, nil
  for _, task in ipairs(edit.tasks) do task.missed = nil end
  edit.freed = nil
  host.begun[#host.begun + 1] = edit
end

-- Returns a callback that follows a batch's job, and may raise.
function Life:watcher(host, edit, batch)
  local raises = self.world:choose("callback.raises", shapes.no)
  if not raises and not batch then return nil end
  return function(job)
    if batch and not job:ended() then host:follow(edit, job, { batch = true }) end
    if raises and self.world:choose("callback.raise", { true, false }) then
      error(hosts.raised, 0)
    end
  end
end

-- Begins one edit.
function Life:begin_edit(host, edit)
  self:begin(host, edit)
  local item = item_of(edit, self.plan)
  item.on_progress = self:watcher(host, edit, false)
  local lives, job = host:try(host.client.edit, host.client, item)
  if not lives then return end
  host:follow(edit, job)
  if not edit.key and not edit.save_as or edit.no_replace and not edit.key
    or not self.world:choose("user.twice", shapes.no) then
    return
  end
  local same
  lives, same = host:try(host.client.edit, host.client, item_of(edit, self.plan))
  if not lives or same == job then return end
  if same:ended() then
    if edit.key and not job:ended() and same.error and same.error.kind == "invalid" then
      self.world:broken("the same edit joins the one that is under way", edit.prompt)
    end
    return
  end
  if not job:ended() then
    self.world:broken("what is under way is joined or refused", edit.prompt)
  end
  host:follow(edit, same)
end

-- Begins all edits, one by one.
function Life:begin_edits(host)
  for _, edit in ipairs(self.ledger.edits) do
    if host:lives() then self:begin_edit(host, edit) end
  end
end

--- The user begins an edit again that was told to be free.
function Life:user_again(host, edit)
  edit.again = (edit.again or 0) + 1
  if edit.again > 2 or self.world:choose("user.again", shapes.no) == false then return end
  self:begin_edit(host, edit)
end

--- The user saves a picture that was delivered into memory.
function Life:user_saves(host, edit, image)
  if not self.world:choose("user.saves", shapes.no) then return end
  local path = "out/kept-" .. edit.number .. ".jpg"
  local lives, saved = host:try(image.save, image, path)
  if lives and saved and self.disk:content(path) ~= edit.delivered.picture then
    self.world:broken("what is told as saved is there", path)
  end
end

-- Begins all edits as a batch.
function Life:begin_batch(host, again)
  local items, edits = {}, self.ledger.edits
  for i, edit in ipairs(edits) do
    self:begin(host, edit)
    items[i] = item_of(edit, self.plan)
    items[i].on_progress = self:watcher(host, edit, true)
  end
  local _, batch = host:try(host.client.batch, host.client, items, {
    retry_ambiguous = again and again.retry_ambiguous, remake = again and again.remake,
    on_progress = function(result) self:batch_result(host, edits[result.index], result) end })
  host.batch = batch
end

-- A batch tells one item's result.
function Life:batch_result(host, edit, result)
  if host.process.dead then return end
  host:unfollow(edit)
  host.task_ended = self.world.now
  if result.error then
    local err = result.error
    if err.kind == "auth" or err.kind == "credits" then host:lose_hope() end
    edit.token = err.token or edit.token
    if err.kind == "file" and err.stage == "save" then
      edit.ended_kind = err.kind
      return
    end
    return self.ledger:failed(edit, { error = err, host = host, timeout = host.timeout,
      begun = edit.begun, batch = true, full = self.folders_fail, cancelled = edit.cancelled })
  end
  self.ledger:delivered(edit, { path = result.saved, skipped = result.skipped,
    bytes = result.image and rawget(result.image, "bytes"), id = result.image and result.image.id })
end

-- A job that resumes a journal's edit has no task: the journal says why.
function Life:unresumed(host, job)
  local edit = self.ledger:edit_of_key(job.error.message:match '^edit "([^"]*)"' or "")
  if not edit then return end
  self.ledger:failed(edit, { error = job.error, host = host, timeout = 0, begun = 0,
    resumed = true })
  for _, task in ipairs(edit.tasks) do
    if task.row and task.row.fact and task.row.fact ~= "ACCEPTED" then task.told = "ambiguous" end
  end
end

-- Goes on with a task in a job.
function Life:resumed(host, edit, job)
  local task = job and job.id and self.service.tasks[job.id]
  if not task then return false end
  task.missed = nil
  task.edit.host = host
  host:follow(edit or task.edit, job, { resumed = true })
  return true
end

-- Resumes what is open: of the journal, then by the tokens that the user has.
function Life:begin_resume(host, with_journal)
  if with_journal then
    local _, jobs = host:try(host.client.resume, host.client, { journal = "j/journal" })
    for _, job in ipairs(jobs or {}) do
      if not self:resumed(host, nil, job) and job.error then self:unresumed(host, job) end
    end
  end
  for _, edit in ipairs(self.ledger.edits) do
    local taken = edit.delivered or not edit.token or host.process.dead
    for _, entry in ipairs(host.jobs) do taken = taken or entry.edit == edit end
    if not taken then
      if self.plan.second == "none" and edit.save_as and not edit.no_replace
        and self.world:choose("user.elsewhere", shapes.no) then
        edit.save_as = "out/else-" .. edit.number .. ".jpg"
      end
      local _, job = host:try(host.client.resume, host.client, edit.token,
        edit.save_as and { save_as = edit.save_as, no_replace = edit.no_replace } or nil)
      self:resumed(host, edit, job)
    end
  end
end

-- What goes on meanwhile --------------------------------------------------------------------------

-- Runs until nothing more is due. Every job ends, or waits for a named thing.
function Life:drive()
  local the_world, all = self.world, self.hosts
  while not the_world.violation do
    local when, who = the_world:next() or math.huge, nil
    for i = 1, #all do
      local due = all[i]:due()
      if due < when then when, who = due, all[i] end
    end
    if when == math.huge then break end
    self.steps = self.steps + 1
    if self.steps > self.most_steps then
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
  for _, host in ipairs(all) do
    if host:lives() and not the_world.violation then self:check_ended(host) end
  end
end

-- Whether nothing is left of what a host has begun.
function Life:check_ended(host)
  local the_world = self.world
  for _, entry in ipairs(host.jobs) do
    if not entry.job:ended() then
      the_world:broken("every job ends or waits for a named thing",
        entry.edit.prompt .. " " .. entry.job.status)
    end
  end
  if host.batch and not host.batch:ended() then
    the_world:broken("every batch ends", tostring(host.batch))
  elseif host.questions[1] then
    the_world:broken("every question for the credits ends", "")
  end
end

--- Closes what still runs.
function Life:close_hosts()
  for _, host in ipairs(self.hosts) do host:close() end
end

-- The user cancels jobs.
function Life:plan_cancels(host)
  for _, entry in ipairs(host.jobs) do
    local after = self.world:choose("user.cancel", { false, 0.1, 0.5, 1, 5, 30 })
    if after and not host.batch then
      self.world:after(after, function()
        if not host:lives() or entry.job:ended() then return end
        entry.edit.cancelled = true
        if host:try(entry.job.cancel, entry.job) then host:look() end
      end)
    end
  end
end

local troubles = { false, "full", "readonly", "gone", "broken", "denied" }

-- Folders fail for a while.
function Life:plan_folders()
  local the_world = self.world
  for _, folder in ipairs { "out", "j" } do
    local trouble = the_world:choose("folder.trouble", troubles)
    if trouble then
      local from = the_world:choose("folder.from", { 0.1, 0, 1, 3.2, 5 })
      local long = the_world:choose("folder.long", { 1e6, 0.5, 5 })
      self.folders_fail, self.troubled = true, true
      the_world:after(from, function()
        self.disk.state[folder] = trouble
        the_world:after(long, function() self.disk.state[folder] = nil end)
      end)
    end
  end
end

-- Users change and remove what lies in the folders.
function Life:plan_meddling(host)
  local the_world = self.world
  local unlink = host.journal and the_world:choose("journal.unlink", { false, 0.05, 0.5, 3 })
  if unlink then
    local swapped = the_world:choose("journal.swapped", shapes.no)
    the_world:after(unlink, function() self:tamper(swapped) end)
  end
  for _, edit in ipairs(self.ledger.edits) do
    local change = edit.input and the_world:choose("input.change", { false, 0, 0.05, 0.3, 2, 8 })
    if change then
      the_world:after(change, function()
        edit.meddled = true
        if the_world:choose("input.how", { "changed", "removed" }) == "removed" then
          self.disk:unlink(edit.input)
        else
          self.disk:replace(edit.input, "\137PNG 640 480 another " .. edit.number)
        end
      end)
    end
  end
  local fill = self.plan.save == "default" and the_world:choose("folder.fill", { false, 0.2, 3, 4 })
  if fill then
    the_world:after(fill, function()
      if not self.disk.state.out then self.disk:take_name("out/picture-2.jpg") end
    end)
  end
end

--- What users and machines do meanwhile.
function Life:disturb(host)
  local the_world = self.world
  self:plan_cancels(host)
  local close = the_world:choose("user.close", { false, 0.2, 1, 6, 60 })
  if close then the_world:after(close, host.close, host) end
  local kill = the_world:choose("crash.time", { false, 0.1, 0.4, 1, 5, 20, 100 })
  if kill then
    local how = the_world:choose("crash.how", { "killed", "power" })
    the_world:after(kill, function()
      if host:lives() then self:die(host.process, how) end
    end)
  end
  self:plan_folders()
  local jump = the_world:choose("clock.jump", { 0, 700, -700, 86400, -86400 })
  if jump ~= 0 then
    the_world:after(the_world:choose("clock.when", { 1, 3.3, 4, 0 }), function()
      the_world.skew = the_world.skew + jump
    end)
  end
  self:plan_meddling(host)
  local ask = the_world:choose("user.credits", { false, 0.01, 2, 40 })
  if ask then
    the_world:after(ask, function()
      if not host:lives() then return end
      the_world.questions = (the_world.questions or 0) + 1
      local lives, job = host:try(host.client.credits, host.client)
      if lives then host.questions[#host.questions + 1] = job end
    end)
  end
end

-- The user removes the journal, or puts another file in its place.
function Life:tamper(swapped)
  self.disk:unlink "j/journal"
  if swapped then self.disk:replace("j/journal", "") end
  for _, edit in ipairs(self.ledger.edits) do
    edit.remembered = self.ledger:best_row(edit) -- by a process that read it before
    edit.tampered, edit.rows = true, nil
  end
end

-- Coming again ------------------------------------------------------------------------------------

-- The user spoils what was saved.
function Life:spoil()
  local spoil = self.world:choose("user.spoil", { "nothing", "unlink", "replace", "alike" })
  if spoil == "nothing" then return end
  for _, edit in ipairs(self.ledger.edits) do
    if edit.save_as and self.disk:content(edit.save_as) then
      local task = self.service.pictures[self.disk:content(edit.save_as)]
      if task then task.excused = true end
      local size = #self.disk:content(edit.save_as)
      if spoil == "unlink" then self.disk:unlink(edit.save_as)
      else
        self.disk:replace(edit.save_as, spoil == "alike" and ("u"):rep(size) or "the user's own")
      end
    end
  end
end

-- Comes again after the first clients are done or dead.
function Life:come_again()
  local the_world, plan = self.world, self.plan
  local next_thing = the_world:choose("user.next", { "batch", "resume", "stop" })
  if next_thing == "stop" then return end
  for _, edit in ipairs(self.ledger.edits) do edit.changed, edit.must_refuse = nil, nil end
  if next_thing == "batch" and plan.mode ~= "batch" then
    next_thing = plan.keyed and "edits" or "resume"
  end
  the_world:move(the_world.now + the_world:choose("user.gap", { 5, 0.5, 700, 5000, 90000 }))
  local again = { journal = plan.journal }
  if next_thing ~= "resume" then
    again.retry_ambiguous = next_thing == "batch" and the_world:choose("user.retry", shapes.no)
    again.remake = next_thing == "batch" and the_world:choose("user.remake", shapes.no)
    self:spoil()
    local changes = plan.keyed and the_world:choose("user.changes", shapes.no)
    for _, edit in ipairs(self.ledger.edits) do
      edit.changed = changes or nil
      if edit.input and not self.disk.names[edit.input] then
        self.disk:replace(edit.input, "\137PNG 800 600 new " .. edit.number)
      end
      self.ledger:consent(edit, again)
    end
  end
  self.crash_at = the_world:choose("crash.nth", shapes.crash)
  local host = self:new_host(process.new(self))
  if not host then return end
  if next_thing == "batch" then self:begin_batch(host, again)
  elseif next_thing == "edits" then self:begin_edits(host)
  else self:begin_resume(host, plan.journal) end
  if not host:lives() then return end
  host:look()
  self:disturb(host)
  self:drive()
  self:close_hosts()
end

-- A second actor beside the first.
function Life:begin_second(first)
  local second = self.plan.second
  if second == "none" or first.dead then return end
  local host = self:new_host(second == "process" and process.new(self) or first)
  if not host or not self.plan.journal or self.plan.mode ~= "batch" then return end
  local items = {}
  for i, edit in ipairs(self.ledger.edits) do items[i] = item_of(edit, self.plan) end
  local _, batch = host:try(host.client.batch, host.client, items)
  host.batch = batch
end

function Life:after_crash()
  if self.crashed then
    self.crashed = nil
    if self.plan.journal then self.ledger:check_crash() end
  end
end

-- Whether a name is left over that nothing came of.
function Life:check_names()
  for _, path in ipairs(self.disk.list) do
    local node = self.disk.names[path]
    if node and node.size == 0 and path:find("^out/") then
      self.world:broken("a name that nothing came of is given back", path)
    end
  end
end

-- In a world without faults all that is open is resumed; then nothing may be missing.
function Life:reckon()
  local the_world = self.world
  if the_world.violation then return end
  self:after_crash()
  if not self.died and not self.troubled then self:check_names() end
  the_world.healthy = true
  self.disk.state = {}
  self.folders_fail = nil
  local open = false
  for _, edit in ipairs(self.ledger.edits) do
    edit.must_refuse = nil
    for _, task in ipairs(edit.tasks) do
      if not task.delivered then open = true end
    end
  end
  if open then
    local last = 0
    for _, task in ipairs(self.service.list) do last = math.max(last, task.ready, task.lag) end
    the_world:move(math.max(the_world.now, last) + 5)
    self.plan.timeout, self.plan.interval = 300, 5
    local host = self:new_host(process.new(self))
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

-- The first run.
function Life:begin_first()
  local one = process.new(self)
  self.crash_at = self.world:choose("crash.nth", shapes.crash)
  local host = self:new_host(one)
  if not host then return end
  if self.plan.mode == "batch" then
    self:begin_batch(host)
  else
    self:begin_edits(host)
  end
  if host:lives() then host:look() end
  self:disturb(host)
  self:begin_second(one)
  self:drive()
  self:close_hosts()
end

-- Lives.
local function run(self)
  local the_world = self.world
  self:plan_life()
  self:begin_first()
  for _ = 1, 2 do
    if not the_world.violation
      and (self.crashed or the_world:choose("user.returns", shapes.no)) then
      self:after_crash()
      self:come_again()
    end
  end
  self:reckon()
end

--- Lives, and returns the world: `violation` is what was broken.
---@return simulation.World
function Life:run()
  process.enter(self)
  local done, problem = pcall(run, self)
  process.leave()
  if not done then error(problem, 0) end
  return self.world
end

return life
