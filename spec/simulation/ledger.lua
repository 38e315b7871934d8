--- The shadow ledger: what was asked for, charged, answered, told, saved. It reads no field of the
--- product; it sees what the service, the disk and the user see, and says when these do not agree.
local disk = require "spec.simulation.disk"
local reasons = require "spec.simulation.reasons"

local ledger = {}

---@class simulation.Ledger
local Ledger = {}
Ledger.__index = Ledger

--- Makes an empty ledger.
---@param world simulation.World
---@return simulation.Ledger
function ledger.new(world)
  return setmetatable({ world = world, edits = {}, nodes = {}, at = {}, looked = {}, digested = {},
    made = {} }, Ledger)
end

--- Adds an edit that a user asks for once.
---@param fields table save_as=, no_replace=, key=, input=, parent=, by_content=
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
  return self.edits[tonumber(piece:match '"prompt":"e(%d+)')]
end

-- Submits -----------------------------------------------------------------------------------------

-- Whether an upload may begin that is not an edit's first.
local function check_again(self, edit, host, engine)
  local world = self.world
  if edit.wait_until and world.now < edit.wait_until
    and not (engine.told_at == world.now and engine.told_edit ~= edit)
    and host.task_ended < edit.limited_at and (host.accepted_at or 0) < edit.limited_at then
    world:broken("after a 429 an edit waits for Retry-After or for a task of ours", edit.prompt)
  end
  edit.wait_until = nil
  if edit.was_limited then
    edit.was_limited = nil
    return
  end
  edit.tries = edit.tries + 1
  if edit.tries == 1 then return end
  local gap, tries = world.now - (edit.told_at or world.now), edit.tries - 1
  host.retries = host.retries + 1
  host.at_once = gap < 1e-3 and (host.at_once or 0) + 1 or 0
  if tries > 2 then
    world:broken("what was not sent is sent again twice at the most", edit.prompt)
  elseif host.retries * 5 > 500 + host.accepts then
    world:broken("all tries of a client draw on one quota", ("%d tries"):format(host.retries))
  elseif gap > 0.5 * 2 ^ (tries - 1) + 1e-3 and host.paused <= world.now - gap then
    world:broken("a try that may be repeated comes soon", ("%s: %g s"):format(edit.prompt, gap))
  elseif host.at_once >= 6 then
    world:broken("the tries of a client are spread", edit.prompt)
  end
end

-- Whether a client sends no more than it may have under way.
local function check_room(self, edit, host, engine)
  local used = host:accepted()
  for _, other in ipairs(engine.active) do
    if other.kind == "upload" then used = used + 1 end
  end
  if used >= host.most then
    self.world:broken("no more than max_active edits are under way", edit.prompt)
  elseif edit.attempts == 1 and not edit.fitted
    and host.room_until and self.world.now < host.room_until
    and used >= math.max(1, host.room) + 1 then
    self.world:broken("after a 429 fewer edits are under way for a while", edit.prompt)
  end
end

-- Whether the budget of a client is kept.
local function check_budget(self, edit, host)
  local spent = 0
  for _, task in ipairs(host.charges) do
    if not task.refunded then spent = spent + 4 end
  end
  if spent + 4 > host.budget + 1e-6 then
    self.world:broken("nothing is sent that could exceed the budget", ("%s: %d of %d"):format(
      edit.prompt, spent, host.budget))
  end
end

-- Whether the journal has what it must have before an edit is sent.
local function check_intent(self, edit, host, transfer, request)
  local world = self.world
  if not request.mark then return world:broken("what is sent is in the journal", edit.prompt) end
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

--- An upload is about to begin.
function Ledger:upload(edit, engine, transfer, request)
  local world, host = self.world, engine.host
  edit.attempts = edit.attempts + 1
  transfer.host = host
  edit.answer, edit.sent_whole = nil, nil
  if host.hopeless and edit.told_at == host.hopeless then edit.exempt = true end -- it was under way
  if host.hopeless and edit.begun < host.hopeless and not edit.exempt then
    world:broken("after a refused key nothing more of the queue is sent", edit.prompt)
  elseif edit.must_refuse then
    world:broken("a key stands for the edit that it was given for", edit.prompt)
  end
  check_room(self, edit, host, engine)
  check_again(self, edit, host, engine)
  if host.budget then check_budget(self, edit, host) end
  host.sent_at = world.now
  if host.journal then check_intent(self, edit, host, transfer, request) end
end

--- The service will have an upload. Another content is another edit, where the content is the key.
function Ledger:about_to_charge(edit, transfer)
  if not edit.by_content then return end
  local source, sent = self.made[transfer.picture] or transfer.picture, edit.contents or {}
  if next(sent) and not sent[source] then edit.consents = edit.consents + 1 end
  sent[source], edit.contents, transfer.content = true, sent, source
end

--- The service has a whole upload: is it the picture that was looked at?
function Ledger:pictured(edit, transfer)
  local world, picture = self.world, transfer.picture
  local source = self.made[picture] or picture
  if edit.parent then
    local task = world.service.pictures[source]
    if not task or task.edit ~= self.edits[edit.parent] then
      world:broken("an edit of a chain takes the picture that it names", edit.prompt)
    end
  elseif edit.input then
    if self.looked[edit.input] ~= source then
      world:broken("what is sent is what was checked", edit.prompt)
    elseif edit.by_content and edit.attempts > 0 and self.digested[edit.input] ~= source then
      world:broken("an edit whose key is its content sends that content", edit.prompt)
    end
    if edit.fitted and source == picture and picture:find("4000", 1, true) then
      world:broken("what is to be made to fit is not sent as it is", edit.prompt)
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
  task.class, task.content = answer.class, transfer.content
  task.host_of = transfer.host
  local charges = transfer.host.charges
  charges[#charges + 1] = task
  local row = transfer.row
  task.row = row
  if row and row.durable ~= "SENDING" and row.durable ~= "AMBIGUOUS" then -- a close came between
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
    host.sent_at = world.now
    if answer.task then
      host.accepted_at, host.accepts = world.now, host.accepts + 1
      if host.room then host.room = host.room + 1 end
    end
    if answer.limited then
      local after = answer.headers["retry-after"]
      local seconds = after and tonumber(after)
      if after and not seconds then seconds = 0.5 end
      edit.limited_at, edit.was_limited = world.now, true
      edit.wait_until = seconds and world.now + math.max(0.5, math.min(60, seconds)) - 1e-6 or nil
      host.limited = true
      local accepted = host:accepted() + #transfer.engine.arrived -- which it may be told of first
      host.room = math.max(1, math.min(host.room or math.huge, accepted))
      host.room_until = world.now + 60
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
    self.nodes[node] = { rows = {}, list = {}, lines = {}, dirty = {}, path = path }
  end
end

--- A journal has become another file.
function Ledger:moved(from, to)
  local known, lines = self.nodes[from], {}
  self.nodes[to] = { rows = known.rows, list = known.list, lines = lines, dirty = {},
    path = known.path } -- a power failure may leave either file
  for text in disk.data_of(to):gmatch "[^\n]+" do
    local fact, number = text:match "^%x+ (%u+) (%d+)"
    lines[#lines + 1] = { text = text, row = known.rows[number], fact = fact }
  end
end

--- A line was written.
---@return boolean known
function Ledger:fact(node, bytes)
  local known = self.nodes[node]
  local fact, number = bytes:match "^%x+ (%u+) (%d+)"
  if not fact then return false end
  local row, named = known.rows[number], bytes:match "[ ,]key=([^,\n]*)"
  if not row or not row.fact or named and row.key and named ~= row.key then
    -- A number whose lines a power failure took, or that were left out as settled, is given again.
    row = { number = number }
    known.rows[number] = row
    known.list[#known.list + 1] = row
  end
  row.key = named or row.key
  local key = row.key and row.key:match "^e(%d+)$"
  if key and self.edits[tonumber(key)] then
    row.edit = self.edits[tonumber(key)]
    local rows = row.edit.rows or {}
    row.edit.rows = rows
    if fact == "INTENT" then row.changed = row.edit.changed end
    if rows[#rows] ~= row and self.world.disk.names[known.path] == node then
      rows[#rows + 1] = row -- else nobody will find it
    end
  end
  row.fact = fact
  known.dirty[#known.dirty + 1] = row
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
  elseif fact == "FAILED" or fact == "LOST" then
    self:check_end(row, fact)
  end
  return true
end

-- What is charged ends in the journal by the service's own word only.
function Ledger:check_end(row, fact)
  for _, task in ipairs(row.edit and row.edit.tasks or {}) do
    local missed = task.missed and task.missed.times >= 5
    local gone = task.link and task.link.refused
    if task.row == row and not (task.finished and task.final ~= "Ready")
      and (fact == "FAILED" or not missed and not gone) then
      self.world:broken("what is charged ends by the service's word only", row.edit.prompt
        .. " " .. fact)
    end
  end
end

--- What was written is on the disk.
function Ledger:synced(node)
  local known = self.nodes[node]
  local dirty = known.dirty
  if not dirty[1] then return end
  for i = 1, #dirty do
    if dirty[i].fact then dirty[i].durable = dirty[i].fact end
  end
  known.dirty = {}
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
      known.dirty = {}
      local whole = {}
      for text in disk.data_of(node):gmatch "[^\n]+" do -- what is lost are the last ones
        local line = known.lines[#whole + 1]
        if line and line.text == text then
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

-- What was in doubt and was begun again has its picture: it is in doubt no more.
local function is_settled_by(best, row)
  return row.fact == "SAVED" and best.fact ~= "ACCEPTED"
end

--- Returns the row of an edit that matters most. The rows are in the order of their beginning.
function Ledger:best_row(edit) -- luacheck: no self
  local best
  for _, row in ipairs(edit.rows or {}) do
    if row.fact and (not best or ranks[row.fact] >= ranks[best.fact]
      or is_settled_by(best, row)) then
      best = row
    end
  end
  return best
end

-- Returns whether the service itself has ended a task, and said so.
local function is_settled(task)
  return task.finished and task.final ~= "Ready" or task.told_lost
end

--- Returns the edit that a journal knows by a key, or nil.
---@param key string
---@return table? edit
function Ledger:edit_of_key(key)
  for _, edit in ipairs(self.edits) do
    for _, row in ipairs(edit.rows or {}) do
      if row.key == key then return edit end
    end
  end
end

--- Before an edit is asked for again: how many charges the user has consented to.
---@param edit table
---@param again { retry_ambiguous: boolean?, remake: boolean?, journal: boolean }
function Ledger:consent(edit, again)
  local row = again.journal and self:best_row(edit)
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
  if fact and fact ~= "FAILED" and fact ~= "INTENT" and not edit.tampered
    and row.changed ~= edit.changed then
    edit.must_refuse = true
    return
  end
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
  if task.edit.no_replace and before and before ~= "" and before ~= bytes then
    return world:broken("a file that nobody named is not replaced", path)
  end
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

-- Returns the edit's task that is charged and not settled, or nil. Where the content is the key,
-- that of another content is another edit's.
local function open_task(self, edit)
  local content = edit.by_content and self.digested[edit.input]
  for _, task in ipairs(edit.tasks) do
    if not is_settled(task) and task ~= edit.delivered
      and (not content or task.content == content) then
      return task
    end
  end
end

--- A job, or an item of a batch, has ended with an error.
---@param edit table
---@param ended table error=, host=, timeout=, begun=, batch=, resumed=
function Ledger:failed(edit, ended)
  local world, err = self.world, ended.error
  world:note("ended " .. err.kind, edit.number)
  if world.trace then world.trace("              " .. err.message) end
  local task = err.job_id and world.service.tasks[err.job_id]
  local need = reasons[err.kind]
  ended.status = err.status
  if ended.batch then edit.ended_kind = err.kind end
  if edit.parent and ended.batch and err.stage == "check"
    and self.edits[edit.parent].ended_kind == err.kind then
    return -- it takes the picture of one that failed
  end
  if err.kind == "invalid" and edit.must_refuse then return end
  if not need then
    return world:broken("an edit ends with a named kind that has a reason",
      err.kind .. ": " .. err.message)
  end
  local good, why = need(self, edit, err, task, ended)
  edit.freed = err.retryable or err.charged == false
  if not good then
    return world:broken("an edit ends for a reason that there is", ("%s %s: %s (%s)"):format(
      edit.prompt, err.kind, err.message, why or "it is not so"))
  end
  if (err.kind == "lost" or err.kind == "expired" and not err.token) and task then
    task.told_lost = true
  end
  local open = open_task(self, edit)
  local may_be = open and edit.consents == 1
  if may_be and (err.retryable or err.charged == false)
    and not (err.kind == "file" and err.stage == "check") then
    world:broken("what is charged is not told to be free", edit.prompt .. " " .. err.kind)
  end
  if err.retryable and edit.consents == 1 and not ended.batch then edit.told_free = true end
  if err.retryable and open and ended.uploaded and open.accepted >= edit.begun then
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

-- Returns whether a path is a name, or one like it with numbers.
local function is_like(path, name)
  for _ = 1, 4 do
    if path == name then return true end
    path = path:gsub("%-%d+(%.%w+)$", "%1")
  end
  return false
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
  elseif edit.must_refuse then
    return world:broken("a key stands for the edit that it was given for", edit.prompt)
  elseif ended.path and not ended.skipped and edit.save_as
    and not is_like(ended.path, edit.save_as) then
    return world:broken("a picture is saved where the user wants it", ended.path)
  end
  if ended.costs then self:check_cost(edit, task, ended) end
  edit.ended_kind = nil
  edit.delivered = task
  task.delivered = true
  world:reached "delivered"
end

-- The cost that is told is what the service has settled, else what it told at the submit.
function Ledger:check_cost(edit, task, ended)
  local wanted = tonumber(task.settled)
  if not wanted then
    wanted = tonumber(task.told_cost)
    if ended.resumed or task.class ~= "accept" or task.told_cost == "cut" then return end
  end
  if ended.cost ~= wanted then
    self.world:broken("the cost is the one that the service has told last",
      ("%s: %s, not %s"):format(edit.prompt, tostring(ended.cost), tostring(wanted)))
  end
end

local questions = { network = true, timeout = true, http = true, protocol = true, auth = true,
  closed = true }

--- The question for the credits has ended.
function Ledger:credits_told(host, job)
  local world, service = self.world, self.world.service
  local credits, _, err = job:wait(0)
  world:note("credits", math.floor(credits or 0))
  if (service.credits_asked or 0) > 3 * (world.questions or 0) then
    world:broken("the credits are asked for three times at the most", "")
  elseif err and not (questions[err.kind] or host.process.dead) then
    world:broken("a question for the credits ends for a reason that there is", err.message)
  elseif not err and credits ~= 123.5 then
    world:broken("the credits are what the service says", tostring(credits))
  end
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
