--- A host: a program that has a client, drives it, and looks at its jobs as their user would.
local process = require "spec.simulation.process"

local host = {}

---@class simulation.Host
---@field jobs table[] {edit=, job=, begun=, resumed=, batch=} that have not ended
---@field paused number when its last sleep ends
---@field questions kontext.Job[] for the credits
local Host = {}
Host.__index = Host

--- Makes a host, which has no client yet.
---@param life simulation.Life
---@param of simulation.Process
---@return simulation.Host
function host.new(life, of)
  local plan = life.plan
  return setmetatable({ life = life, process = of, jobs = {}, questions = {}, paused = 0,
    timeout = plan.timeout, most = plan.most or 24, task_ended = -1, keeps_tokens = plan.tokens,
    budget = plan.budget or nil, charges = {}, begun = {}, retries = 0, accepts = 0, sent_at = 0,
    journal = plan.journal and "j/journal" or nil }, Host)
end

--- What a callback of the host raises.
host.raised = setmetatable({}, { __tostring = function() return "raised by the host" end })

--- Returns whether the host still runs.
function Host:lives()
  return not self.process.dead and not self.closed
end

--- Returns how many tasks the client knows to be accepted.
function Host:accepted()
  local jobs, total = self.jobs, 0
  for i = 1, #jobs do
    local job = jobs[i].job
    if job.id and not job:ended() then total = total + 1 end
  end
  return total
end

function Host:due()
  if self.process.dead or self.closed then return math.huge end
  local due = self.engine and self.engine:due() or math.huge
  if due < self.paused then due = self.paused end
  return due
end

--- Calls a function of the product, of which the process may die. Returns whether it lives.
function Host:try(fn, ...)
  process.running = self.process
  local done, problem = pcall(fn, ...)
  if self.process.dead then return false end
  if not done and problem ~= host.raised then
    self.life.world:broken("no call of ours raises", tostring(problem))
    return false
  end
  return true, done and problem or nil
end

local pauses = { 0, 0.7, 3, 35, 400 }

--- Does what is due.
function Host:step()
  local the_world = self.life.world
  local pause = the_world:choose("pause.step", pauses)
  if pause > 0 and self.paused <= the_world.now then
    self.paused = the_world.now + pause
    return
  end
  if self:try(self.client.step, self.client) then self:look() end
end

local over = { ready = true, failed = true, cancelled = true }

--- Looks at what has become of the jobs.
function Host:look()
  local jobs = self.jobs
  for i = #jobs, 1, -1 do
    local entry = jobs[i]
    local job = entry.job
    if job.id and not entry.known then
      entry.known = true
      self:accepted_now(entry)
    end
    if over[job.status] then
      table.remove(jobs, i)
      self.task_ended = self.life.world.now
      self:ended(entry)
      if self.process.dead then return end
    end
  end
  for i = #self.questions, 1, -1 do
    if self.questions[i]:ended() then
      self.life.ledger:credits_told(self, table.remove(self.questions, i))
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
function Host:ended(entry)
  local job, edit, books = entry.job, entry.edit, self.life.ledger
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
      cancelled = edit.cancelled, resumed = entry.resumed, uploaded = edit.attempts > 0,
      full = self.life.folders_fail })
    if err.retryable and not entry.resumed and not entry.batch and not self.closing then
      self.life:user_again(self, edit)
    end
    return
  end
  local image = job.image
  books:delivered(edit, { path = image.path, bytes = rawget(image, "bytes"), id = image.id,
    cost = image.cost, costs = entry.resumed or edit.attempts > 0, resumed = entry.resumed })
  if not image.path and not self.closing then self.life:user_saves(self, edit, image) end
end

--- Follows a job of an edit.
---@param edit table
---@param job kontext.Job
---@param fields? { resumed: boolean?, batch: boolean? }
function Host:follow(edit, job, fields)
  for _, other in ipairs(self.jobs) do
    if other.job == job then return end
  end
  self.jobs[#self.jobs + 1] = { edit = edit, job = job, begun = self.life.world.now,
    resumed = fields and fields.resumed, batch = fields and fields.batch }
end

--- Stops following the jobs of an edit.
function Host:unfollow(edit)
  for i = #self.jobs, 1, -1 do
    if self.jobs[i].edit == edit then table.remove(self.jobs, i) end
  end
end

--- Closes the client.
function Host:close()
  if not self:lives() or not self.client then return end
  self.closing = true
  if self:try(self.client.close, self.client) then
    self:look()
    self.closed = true
  end
end

return host
