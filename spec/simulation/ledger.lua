--- The shadow ledger: what was asked for, charged, answered, told, saved. It reads no field of the
--- product; it sees what the service, the disk and the user see, and says when these do not agree.
local ledger = {}

---@class simulation.Ledger
local Ledger = {}
Ledger.__index = Ledger

--- Makes an empty ledger.
---@param world simulation.World
---@return simulation.Ledger
function ledger.new(world)
  return setmetatable({ world = world, edits = {}, nodes = {}, at = {} }, Ledger)
end

--- Adds an edit that a user asks for once.
---@param fields table save_as=, key=
---@return table edit
function Ledger:new_edit(fields)
  local edit = fields
  edit.number = #self.edits + 1
  edit.prompt = "e" .. edit.number
  edit.consents, edit.charges, edit.tasks, edit.begun = 1, 0, {}, 0
  edit.attempts = 0
  self.edits[edit.number] = edit
  return edit
end

--- Returns the edit whose body begins with this piece.
function Ledger:edit_of(piece)
  return self.edits[tonumber(piece:match '"prompt":"e(%d+)"')]
end

-- Submits -----------------------------------------------------------------------------------------

--- An upload is about to begin.
function Ledger:upload(edit, engine, transfer, request)
  local world, host = self.world, engine.host
  edit.attempts = edit.attempts + 1
  transfer.host = host
  edit.answer = nil
  if host.hopeless and edit.told_at == host.hopeless then edit.exempt = true end -- it was under way
  if host.hopeless and edit.begun < host.hopeless and not edit.exempt then
    world:broken("after a refused key nothing more of the queue is sent", edit.prompt)
  end
  local room = host.most
  local used = 0
  for _, other in ipairs(engine.active) do
    if other.kind == "upload" then used = used + 1 end
  end
  if used + host:accepted() >= room then
    world:broken("no more than max_active edits are under way", edit.prompt)
  end
  if edit.wait_until and world.now < edit.wait_until
    and not (engine.told_at == world.now and engine.told_edit ~= edit)
    and host.task_ended < edit.limited_at and (host.accepted_at or 0) < edit.limited_at then
    world:broken("after a 429 an edit waits for Retry-After or for a task of ours", edit.prompt)
  end
  edit.wait_until = nil
  if host.journal then
    if not request.mark then
      world:broken("what is sent is in the journal", edit.prompt)
      return
    end
    local node = request.mark.log.node
    local number = request.mark.line:match "^%x+ %u+ (%d+)"
    if world.disk.names[host.journal] ~= node then
      world:broken("a journal that is not in its place stops submits", edit.prompt)
    end
    local row = self.nodes[node].rows[number]
    transfer.row = row
    if not row or row.durable ~= "INTENT" then
      world:broken("INTENT is on the disk before anything connects",
        ("%s: %s"):format(edit.prompt, row and tostring(row.durable) or "none"))
    else
      row.edit = edit
      edit.rows = edit.rows or {}
      if edit.rows[#edit.rows] ~= row then edit.rows[#edit.rows + 1] = row end
    end
  end
end

--- The service has charged an edit.
function Ledger:charged(edit, task)
  edit.charges = edit.charges + 1
  edit.tasks[#edit.tasks + 1] = task
  if edit.charges > edit.consents then
    self.world:broken("an edit is charged once at the most per consent", ("%s: %d of %d"):format(
      edit.prompt, edit.charges, edit.consents))
  end
  if edit.told_free then
    self.world:broken("what was told to be free is not charged afterwards", edit.prompt)
  end
end

--- The same, with the upload that it came from.
function Ledger:charge_of(transfer, task, answer)
  task.class = answer.class
  task.host_of = transfer.host
  local row = transfer.row
  task.row = row
  if row and row.durable ~= "SENDING" then
    self.world:broken("SENDING is on the disk before the service has an edit",
      ("%s: %s"):format(transfer.edit.prompt, tostring(row.durable)))
  end
end

--- The answer to a submit is under way.
function Ledger:answering(edit, answer, transfer)
  edit.answer = answer
  local world = self.world
  local host = transfer.host
  answer.told_at = math.huge
  transfer.answered = function()
    answer.told_at = world.now
    if answer.task then host.accepted_at = world.now end
    if answer.limited then
      local after = answer.headers["retry-after"]
      local seconds = after and tonumber(after)
      if after and not seconds then seconds = 0.5 end
      edit.limited_at = world.now
      edit.wait_until = seconds and world.now + math.max(0.5, math.min(60, seconds)) - 1e-6 or nil
      host.limited = true
    elseif answer.final == "auth" or answer.final == "credits" then
      host.hopeless_from = host.hopeless_from or world.now
    end
  end
end

-- The journal -------------------------------------------------------------------------------------

local ranks = { ACCEPTED = 4, AMBIGUOUS = 3, SENDING = 3, LOST = 3, SAVED = 2, FAILED = 1,
  INTENT = 0 }

--- A journal was opened.
function Ledger:opened(path, node)
  if not self.nodes[node] then
    self.nodes[node] = { rows = {}, list = {}, lines = {}, path = path }
  end
end

--- A journal has become another file.
function Ledger:moved(from, to)
  self.nodes[to] = self.nodes[from]
end

--- A line was written.
---@return boolean known
function Ledger:fact(node, bytes)
  local known = self.nodes[node]
  local fact, number = bytes:match "^%x+ (%u+) (%d+)"
  if not fact then return false end
  local row = known.rows[number]
  if not row then
    row = { number = number }
    known.rows[number] = row
    known.list[#known.list + 1] = row
  end
  local key = bytes:match "[ ,]key=e(%d+)"
  if key then
    row.edit = self.edits[tonumber(key)]
    local rows = row.edit.rows or {}
    row.edit.rows = rows
    if rows[#rows] ~= row then rows[#rows + 1] = row end
  end
  row.fact = fact
  if fact == "AMBIGUOUS" or fact == "ACCEPTED" then
    row.id = bytes:match "[ ,]id=([^,\n]*)" or row.id
  end
  known.lines[#known.lines + 1] = { text = bytes:gsub("\n$", ""), row = row, fact = fact }
  if fact == "SAVED" then
    local path = bytes:match "[ ,]path=([^,\n]*)"
    row.path = path and path:gsub("%%(%x%x)", function(hex)
      return string.char(tonumber(hex, 16))
    end)
    local task = self.world.service.tasks[row.id or ""]
    local durable = row.path and self.world.disk:durable(row.path)
    if not durable or (task and durable ~= task.picture) then
      self.world:broken("SAVED is written when the picture is on the disk", row.path)
    end
  end
  return true
end

--- What was written is on the disk.
function Ledger:synced(node)
  for _, row in ipairs(self.nodes[node].list) do
    if row.fact then row.durable = row.fact end
  end
end

--- The power has failed: only whole lines count.
function Ledger:power_lost()
  local seen = {}
  for _, path in ipairs(self.world.disk.list) do
    local node = self.world.disk.names[path]
    local known = node and self.nodes[node]
    if known and not seen[known] then
      seen[known] = true
      for _, row in ipairs(known.list) do row.fact, row.durable = nil, nil end
      local whole = {}
      for _, line in ipairs(known.lines) do
        if node.data:find(line.text, 1, true) then
          line.row.fact, line.row.durable = line.fact, line.fact
          whole[#whole + 1] = line
        end
      end
      known.lines = whole
    end
  end
end

--- Processes have died: what they wrote is what counts.
function Ledger:killed()
  for _, edit in ipairs(self.edits) do
    for _, row in ipairs(edit.rows or {}) do row.durable = row.fact end
  end
end

-- Returns the row of an edit that matters most.
local function best_row(edit)
  local best
  for _, row in ipairs(edit.rows or {}) do
    if row.fact and (not best or ranks[row.fact] >= ranks[best.fact]) then best = row end
  end
  return best
end
ledger.best_row = best_row

-- Returns whether the service itself has ended a task, and said so.
local function is_settled(task)
  return task.finished and task.final ~= "Ready" or task.told_lost
end

--- Before an edit is asked for again: how many charges the user has consented to.
---@param edit table
---@param again { retry_ambiguous: boolean?, remake: boolean?, journal: boolean }
function Ledger:consent(edit, again)
  local row = again.journal and best_row(edit)
  local fact = row and row.fact
  local more
  if not again.journal then
    more = true
  elseif fact == "SENDING" or fact == "LOST" or fact == "AMBIGUOUS" and not row.id then
    more = again.retry_ambiguous
  elseif fact == "AMBIGUOUS" or fact == "ACCEPTED" then
    more = false
  elseif fact == "SAVED" then
    local content = row.path and self.world.disk:content(row.path)
    local task = edit.delivered
    more = again.remake and not (content and task and content == task.picture)
  else
    more = true
    for _, task in ipairs(edit.tasks) do
      if not is_settled(task) then more = false end
    end
  end
  if edit.tampered then more = true end
  if more then edit.consents = math.max(edit.consents, edit.charges + 1) end
end

--- After a crash: whatever was charged must be known to who comes next.
function Ledger:check_crash()
  for _, edit in ipairs(self.edits) do
    if edit.journal and not edit.tampered then
      for _, task in ipairs(edit.tasks) do
        local row = task.row
        local fact = row and row.fact
        if row and not is_settled(task) and (not fact or fact == "INTENT" or fact == "FAILED") then
          self.world:broken("a crash forgets nothing that is paid for", ("%s: %s"):format(
            edit.prompt, tostring(fact)))
        elseif row and task.kept and fact ~= "ACCEPTED" and fact ~= "SAVED" and fact ~= "LOST"
          and not (fact == "AMBIGUOUS" and row.id) and not is_settled(task) then
          self.world:broken("what was told as accepted is so after a crash", ("%s: %s"):format(
            edit.prompt, tostring(fact)))
        end
      end
    end
  end
end

-- Files -------------------------------------------------------------------------------------------

--- A file was put in its place.
function Ledger:written(path, bytes, before)
  local world = self.world
  world:note("written", #bytes)
  local task = world.service.pictures[bytes]
  if not task then
    if bytes:sub(1, 1) == "\255" or bytes:sub(1, 1) == "<" then
      world:broken("what is saved is a whole picture", path)
    end
    return
  end
  local earlier = self.at[path]
  self.at[path] = { edit = task.edit, when = world.now }
  if not earlier or earlier.edit == task.edit or not before or before == "" then return end
  local host, others = task.edit.host, earlier.edit.host
  if host and host == others and task.edit.begun < earlier.when
    and earlier.edit.save_as == path then
    world:broken("no destination is written by two", path)
  elseif task.edit.save_as ~= path then
    world:broken("a file that nobody named is not replaced", path)
  end
end

-- Endings -----------------------------------------------------------------------------------------

-- Returns the edit's task that is charged and not settled, or nil.
local function open_task(edit)
  for _, task in ipairs(edit.tasks) do
    if not is_settled(task) and task ~= edit.delivered then return task end
  end
end

-- Kinds of errors → what must be so for one. Each gets the ledger, edit, error, task and job.
local needs = {}

function needs.moderated(_, _, err, task)
  local wanted = err.stage == "request" and "Request Moderated" or "Content Moderated"
  return task and task.finished and task.final == wanted
end

function needs.failed(_, _, _, task)
  return task and task.finished and (task.final == "Error" or task.final == "Failed")
end

function needs.lost(self, edit, err, task, ended)
  if not task then -- told of an earlier run
    for _, row in ipairs(edit.rows or {}) do
      if row.fact == "LOST" then return true end
    end
    return ended.batch
  end
  local missed = task.missed
  if not missed then
    return best_row(edit) and best_row(edit).fact == "LOST" and err.stage == "submit"
  end
  return missed.times >= 5 and self.world.now - missed.since >= 60
end

function needs.expired(self, _, err, task, ended)
  if err.token or ended.batch then return true end -- only our own clock says so: it can be resumed
  local link = task and task.link
  return link and self.world:time() >= link.ends and link.refused
end

function needs.timeout(self, edit, err, task, ended)
  local world = self.world
  if world.now < edit.begun + ended.timeout - 1e-3 then
    if not task and edit.attempts >= 3 then return true end
    return false, "too early"
  end
  if task and not ended.paused and task.link and task.link.refused_at
    and world.now - math.max(task.link.refused_at, task.troubled) > 100 then
    return false, "its link had expired for 100 s"
  end
  if task and not ended.paused then
    local healthy_from = math.max(task.troubled, task.ready, task.lag, ended.begun,
      task.answered or 0)
    if task.link then healthy_from = math.max(healthy_from, task.link.valid, task.link.stored) end
    if task.finished and world.now - healthy_from > 100 and task.final ~= "Ready"
      or task.final == "Ready" and world.now - healthy_from > 100 and not err.own_url
      and task.forgotten > world.now and (not task.link or world:time() < task.link.ends)
      and not task.unpollable and not ended.full then
      return false, "it could be had for 100 s"
    end
  end
  return true
end

local function tried_thrice(self, edit, _, _, ended)
  return edit.attempts >= 3 or self.world.now >= edit.begun + ended.timeout - 1e-3,
    "tried too little"
end
needs.network, needs.tls = tried_thrice, tried_thrice

function needs.http(self, edit, err, task, ended)
  if edit.answer and edit.answer.final == "http" then return true end
  return tried_thrice(self, edit, err, task, ended)
end

local function refused(kind)
  return function(_, edit, _, _, ended)
    local host = ended.host
    return edit.answer and edit.answer.final == kind
      or (kind == "auth" or kind == "credits") and host.hopeless_from ~= nil
      or kind == "invalid" and (ended.status == nil or ended.tried == 0)
  end
end
needs.auth, needs.credits, needs.invalid = refused "auth", refused "credits", refused "invalid"
needs.not_found = refused "not_found"

function needs.rate_limited(self, edit, _, _, ended)
  return self.world.now >= edit.begun + ended.timeout - 1e-3 and ended.host.limited
end

function needs.ambiguous(_, edit, _, _, ended)
  local row, answer = best_row(edit), edit.answer
  if answer and answer.told_at < math.huge and (answer.limited or answer.shed or answer.final)
    and not ended.full and not ended.resumed and not ended.batch
    and not (row and #edit.rows > 1) then
    return false, "it was refused"
  end
  return ended.full or row and (row.fact == "SENDING" or row.fact == "AMBIGUOUS")
    or edit.sent_whole ~= nil or ended.resumed or ended.batch
    or edit.answer and edit.answer.status and edit.answer.status < 300
end

function needs.file() return true end
function needs.cancelled(_, _, _, _, ended)
  return ended.cancelled or ended.batch and ended.host.closing
end
function needs.closed(_, _, _, _, ended) return ended.host.closing end

--- A job, or an item of a batch, has ended with an error.
---@param edit table
---@param ended table error=, host=, timeout=, begun=, batch=, resumed=
function Ledger:failed(edit, ended)
  local world, err = self.world, ended.error
  world:note("ended " .. err.kind, edit.number)
  if world.trace then world.trace("              " .. err.message) end
  local task = err.job_id and world.service.tasks[err.job_id]
  local need = needs[err.kind]
  ended.status = err.status
  if not need then
    return world:broken("an edit ends with a named kind that has a reason",
      err.kind .. ": " .. err.message)
  end
  local good, why = need(self, edit, err, task, ended)
  if not good then
    return world:broken("an edit ends for a reason that there is", ("%s %s: %s (%s)"):format(
      edit.prompt, err.kind, err.message, why or "it is not so"))
  end
  if (err.kind == "lost" or err.kind == "expired" and not err.token) and task then
    task.told_lost = true
  end
  local open = open_task(edit)
  local may_be = open and edit.consents == 1
  if may_be and (err.retryable or err.charged == false) and err.kind ~= "file" then
    world:broken("what is charged is not told to be free", edit.prompt .. " " .. err.kind)
  end
  if err.retryable and edit.consents == 1 and not ended.batch then edit.told_free = true end
  if err.retryable and open and ended.uploaded then
    world:broken("what is charged is not told to be free", edit.prompt .. " " .. err.kind)
  end
  if err.token then
    edit.token = err.token
    if task then task.resumable = true end
  end
  if open and open.host_of == ended.host then self:check_told(edit, open, err, ended) end
end

-- What is charged, and was answered, is told with its id and with a way to resume it.
function Ledger:check_told(edit, task, err, ended)
  local world = self.world
  local readable = task.class and edit.answer and edit.answer.task == task
    and edit.answer.told_at <= world.now
  if readable and not is_settled(task) and err.kind ~= "lost"
    and (err.kind ~= "expired" or err.token) then
    if err.kind == "ambiguous" and task.class == "accept" then
      world:broken("an id that can be read is accepted", edit.prompt)
    elseif err.job_id ~= task.id then
      world:broken("what is paid for is told with its id", ("%s %s: %s, not %s"):format(edit.prompt,
        err.kind, tostring(err.job_id), task.id))
    elseif not err.token and not ended.batch then
      world:broken("what is paid for can be resumed", edit.prompt .. " " .. err.kind)
    end
  end
  if err.kind == "ambiguous" or not readable then task.told = err.kind end
end

--- An edit has its picture.
---@param edit table
---@param ended table path=, bytes=, id=
function Ledger:delivered(edit, ended)
  local world = self.world
  world:note("ready", edit.number)
  local task = ended.id and world.service.tasks[ended.id]
  local content = ended.path and world.disk:durable(ended.path) or ended.bytes
  if not task then -- an earlier run had saved it
    for _, one in ipairs(edit.tasks) do
      if one.picture == content then task = one end
    end
  end
  if not task then
    return world:broken("what is told as saved is there",
      edit.prompt .. " " .. tostring(ended.path))
  elseif content ~= task.picture then
    return world:broken("what is delivered is the whole picture", ("%s: %d bytes"):format(
      edit.prompt, content and #content or -1))
  elseif task.edit ~= edit then
    return world:broken("an edit gets its own picture", edit.prompt)
  elseif ended.path and not ended.skipped and edit.save_as and ended.path ~= edit.save_as
    and ended.path:gsub("%-%d+(%.%w+)$", "%1") ~= edit.save_as then
    return world:broken("a picture is saved where the user wants it", ended.path)
  end
  edit.delivered = task
  task.delivered = true
  world:reached "delivered"
end

--- The life is over: all that was charged is accounted for.
function Ledger:close()
  local world = self.world
  for _, edit in ipairs(self.edits) do
    for _, task in ipairs(edit.tasks) do
      local row = task.row
      if row and row.fact == "SAVED" and row.path
        and world.disk:content(row.path) == task.picture then
        task.delivered = true -- nobody was told, but it is there
      end
      if not task.delivered and not is_settled(task) and not task.told and not task.resumable
        and not edit.tampered and not task.excused and not edit.excused then
        world:broken("what is charged is delivered, resumable, or told with its id",
          ("%s, task %s, class %s"):format(edit.prompt, task.id, tostring(task.class)))
      end
    end
  end
end

return ledger
