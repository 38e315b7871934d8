--- The engine of one client: its methods are those of src/lua/engine.c. A transfer is a row of
--- events in the world; what has arrived is handed over by the next step.
local core = require "kontext.core"
local disk = require "spec.simulation.disk"

local network = {}

---@class simulation.Engine
local Engine = {}
Engine.__index = Engine

local NEVER = math.huge

--- Makes an engine.
---@param world simulation.World
---@param process simulation.Process
---@param settings table
---@return simulation.Engine
function network.new(world, process, settings)
  return setmetatable({ world = world, process = process, stall = settings.stall_timeout,
    connect = settings.connect_timeout, last = 0, active = {}, by_id = {}, arrived = {}, held = {},
    due_alarm = NEVER }, Engine)
end

-- Adds a transfer; returns its number.
local function add(self, transfer)
  self.last = self.last + 1
  transfer.id, transfer.engine = self.last, self
  self.active[#self.active + 1] = transfer
  self.by_id[self.last] = transfer
  return self.last
end

-- Ends a transfer: nothing of it happens any more.
local function remove(self, transfer)
  transfer.gone = true
  self.by_id[transfer.id] = nil
  local active = self.active
  for i = 1, #active do
    if active[i] == transfer then
      table.remove(active, i)
      return
    end
  end
end

-- A transfer has ended: the next step tells it.
local function arrive(transfer, event)
  local self = transfer.engine
  if transfer.gone or self.closed or self.process.dead then return end
  transfer.over = true
  event.id = transfer.id
  self.arrived[#self.arrived + 1] = transfer
  transfer.event = event
  if transfer.answered then transfer.answered(event) end
end

-- Uploads -----------------------------------------------------------------------------------------

local fates = { "whole", "dns", "connect", "tls", "connect_hang", "cut", "stall", "input",
  "early_refusal", "early_page", "cut_late" }

local function unsent(transfer, kind, code, detail, status, body)
  return { kind = kind, code = code, detail = detail, status = status, sent = transfer.sent,
    total = transfer.total, received = 0, headers = {}, body = body or "", length_known = false }
end

-- The answer has come.
local function answered(transfer, answer)
  if transfer.gone then return end
  if answer.task then answer.task.answered = transfer.world.now end
  arrive(transfer, { kind = answer.kind, code = answer.code, detail = answer.detail,
    status = answer.status, sent = transfer.total, total = transfer.total,
    received = #answer.body, headers = answer.headers, body = answer.body,
    length_known = answer.kind == nil })
end

-- The service has the whole upload. Whoever sent it may be gone.
local function received(transfer)
  local world, edit = transfer.world, transfer.edit
  local ledger = world.ledger
  ledger:about_to_charge(edit, transfer)
  local answer, task = world.service:submit(edit)
  if task then ledger:charge_of(transfer, task, answer) end
  ledger:pictured(edit, transfer)
  transfer.answer = answer
  if not transfer.gone then ledger:answering(edit, answer, transfer) end
  world:note("submit answered", answer.status)
  if transfer.engine.process.may_crash and not transfer.engine.process.dead then
    transfer.engine.process:may_crash("crash.charged", true)
  end
  if answer.hangs then return end
  local delay = world:choose("speed.answer", { 0.3, 0.02, 3, 40, 200 })
  world:after(delay, answered, transfer, answer)
end

-- The last byte is out.
local function sent(transfer)
  if transfer.gone then return end
  transfer.sent = transfer.total
  transfer.stall_at = NEVER
  transfer.edit.sent_whole = transfer.world.now
  transfer.world:note("sent", transfer.id)
  transfer.world:after(0.02, received, transfer)
end

local broken_ends = {
  cut = function(transfer)
    arrive(transfer, unsent(transfer, "network", "CURLE_SEND_ERROR", "Send failure: Broken pipe"))
  end,
  input = function(transfer)
    arrive(transfer, unsent(transfer, "file", "ESTALE", "the input image has changed"))
  end,
  early_refusal = function(transfer)
    local answer = { status = 413, final = "invalid", headers = {}, body = "" }
    transfer.world.ledger:answering(transfer.edit, answer, transfer)
    arrive(transfer, unsent(transfer, "network", "CURLE_SEND_ERROR", "Broken pipe", 413, ""))
  end,
  early_page = function(transfer)
    arrive(transfer, unsent(transfer, nil, nil, nil, 502, "<html></html>"))
  end,
}

-- Half of the body is out.
local function halfway(transfer)
  if transfer.gone then return end
  transfer.sent = math.floor(transfer.total / 2)
  local fate = transfer.fate
  local path = transfer.path
  if path and transfer.world.disk.names[path] ~= transfer.node then fate = "input" end
  if broken_ends[fate] then return broken_ends[fate](transfer) end
  if fate == "stall" then
    transfer.stall_at = transfer.world.now + transfer.engine.stall
  elseif fate == "cut_late" then
    transfer.sent = transfer.total - 1
    broken_ends.cut(transfer)
  else
    transfer.world:after(transfer.seconds / 2, sent, transfer)
  end
end

-- Connected: the journal is told before the first byte.
local function connected(transfer)
  if transfer.gone then return end
  local mark = transfer.mark
  if mark then
    local done, kept, message, code = pcall(mark.log.append, mark.log, mark.line, true)
    if not done then return end -- the process died of it
    if not kept then
      return arrive(transfer, unsent(transfer, "file", code, message))
    end
  end
  transfer.sent = 1
  transfer.world:after(transfer.seconds / 2, halfway, transfer)
end

local refusing = {
  dns = { "network", "CURLE_COULDNT_RESOLVE_HOST", "Could not resolve host" },
  connect = { "network", "CURLE_COULDNT_CONNECT", "Connection refused" },
  tls = { "tls", "CURLE_SSL_CONNECT_ERROR", "TLS alert" },
  connect_hang = { "timeout", "CURLE_OPERATION_TIMEDOUT", "Connection timed out" },
}

local function refused(transfer)
  if transfer.gone then return end
  local row = refusing[transfer.fate]
  arrive(transfer, unsent(transfer, row[1], row[2], row[3]))
end

function Engine:edit(request)
  self.process:alive()
  local world, total, picture, node = self.world, 0, nil, nil
  local pieces = request.pieces
  for i = 1, #pieces do
    local piece = pieces[i]
    if type(piece) == "string" then
      total = total + #piece
    else
      picture = piece.bytes
      if piece.path then
        node = world.disk.names[piece.path]
        if not node then return disk.failed(piece.path, "ENOENT") end
        if piece.stamp and piece.stamp ~= node then return disk.failed(piece.path, "ESTALE") end
        picture = disk.data_of(node)
      end
      total = total + math.ceil(#picture / 3) * 4
    end
  end
  local edit = world.ledger:edit_of(pieces[1])
  local transfer = { world = world, edit = edit, kind = "upload", sent = 0, total = total,
    received = 0, mark = request.mark, deadline = request.deadline, stall_at = NEVER,
    picture = picture, node = node, path = node and pieces[2].path,
    fate = world:choose("upload.fate", fates),
    seconds = world:choose("speed.upload", { 0.2, 0.01, 4, 20, 90 }) }
  world.ledger:upload(edit, self, transfer, request)
  local connect = world:choose("speed.connect", { 0.03, 0.2, 2, 9 })
  if refusing[transfer.fate] then
    if transfer.fate == "connect_hang" then connect = self.connect end
    world:after(connect, refused, transfer)
  else
    world:after(connect, connected, transfer)
  end
  world:note("upload", edit.number)
  return add(self, transfer)
end

-- Gets --------------------------------------------------------------------------------------------

-- A small answer has come.
local function told(transfer, answer)
  if transfer.gone then return end
  local self = transfer.engine
  if answer.missing then
    local task = answer.missing
    task.missed = task.missed or { since = transfer.world.now, times = 0 }
    task.missed.times = task.missed.times + 1
    task.missed.elsewhere = task.missed.elsewhere or answer.elsewhere
  elseif transfer.task and answer.status == 200 and not answer.kind
    and answer.body:find('"status":"[PRGQ]') then
    transfer.task.missed = nil
  end
  local task = transfer.task
  if task and answer.trouble then task.trouble_at, task.trouble_for = transfer.world.now, self end
  if task and answer.final_word and not transfer.engine.closed then
    task.said_by = transfer.engine
    task.said_at = transfer.world.now
  end
  transfer.received = #answer.body
  arrive(transfer, { kind = answer.kind, code = answer.code, detail = answer.detail,
    status = answer.status, sent = 0, total = 0, received = #answer.body,
    headers = answer.headers, body = answer.body, length_known = answer.kind == nil })
end

-- The service is asked.
local function asked(transfer)
  if transfer.gone then return end
  local world = transfer.world
  local answer, task = world.service:poll(transfer.url)
  transfer.task = task
  if task and task.said_by == transfer.engine then
    world:broken("the service's own word ends a task, whatever its HTTP code", transfer.url)
  end
  if answer.hangs then
    transfer.stall_at = world.now + transfer.engine.stall
    return
  end
  world:after(transfer.latency, told, transfer, answer)
end

-- A picture, or what came in its place.
local function brought(transfer, answer)
  if transfer.gone then return end
  local sink, status = transfer.sink, answer.status
  local good = status and status >= 200 and status < 300
  local world = transfer.world
  if good then
    if not answer.continues then sink.bytes = "" end
    sink.bytes = sink.bytes .. answer.bytes
    if sink.path and answer.bytes ~= "" then
      local code = world.disk:write_error(sink.path)
      if code then
        local _, message = disk.failed(sink.path, code)
        answer = { kind = "file", code = code, detail = message, status = status, headers = {} }
      end
    end
  end
  transfer.received = #sink.bytes
  if sink.link then
    sink.link.broken = answer.kind == "network" and good and #sink.bytes or nil
    sink.link.trouble_at = (answer.kind == "network" or (status or 0) >= 500) and world.now or nil
  end
  local event = { kind = answer.kind, code = answer.code, detail = answer.detail, status = status,
    sent = 0, total = 0, received = #sink.bytes, headers = answer.headers,
    length_known = answer.length_known or false, body = not good and (answer.bytes or "") or nil }
  if transfer.digest or answer.headers["content-md5"] then
    event.md5 = core.base64(core.md5(sink.bytes))
  end
  arrive(transfer, event)
end

local function downloading(transfer)
  if transfer.gone then return end
  local world = transfer.world
  local answer, link = world.service:download(transfer.url, #transfer.sink.bytes)
  transfer.sink.link = link
  if answer.hangs then
    transfer.stall_at = world.now + transfer.engine.stall
    return
  end
  world:after(transfer.latency, brought, transfer, answer)
end

-- Whether the key may go to a URL: to the service's own hosts, but to no picture and along no
-- redirect.
local function check_key(self, request)
  for _, header in ipairs(request.headers or {}) do
    if header:find("x-key", 1, true) then
      local host = request.url:match "^https://([^/?]+)"
      if request.hold or host == "api.us3.bfl.ai"
        or not host or not (host == "bfl.ai" or host:find "%.bfl%.ai$") then
        self.world:broken("the key goes to the service only", request.url)
      end
    end
  end
end

-- Whether a question for a task, or for its picture, comes when it should.
local function check_asked(self, request)
  local world = self.world
  if not request.hold then
    local task = world.service.tasks[request.url:match "[?&]id=([%w%-]+)$" or ""]
    if not task then return end
    if task.trouble_for == self and world.now - task.trouble_at < 0.2
      and not (task.woken and world.now - task.woken < 1) then
      world:broken("after trouble a poll waits", request.url)
    end
    task.trouble_for, task.hooked = nil, nil
    return task
  end
  local link = world.service.links[request.url]
  if not link then return end
  if link.trouble_at and world.now - link.trouble_at < 0.2 and link.asked_by == self then
    world:broken("after trouble a download waits", request.url)
  elseif link.broken and link.broken > 0 and link.asked_by == self and not request.continue then
    world:broken("a download that broke off goes on where it was", request.url)
  end
  link.trouble_at, link.broken, link.asked_by = nil, nil, self
end

function Engine:fetch(request)
  self.process:alive()
  local world = self.world
  check_key(self, request)
  local transfer = { asks = check_asked(self, request), world = world,
    kind = "get", sent = 0, total = 0, received = 0,
    url = request.url, deadline = request.deadline, stall_at = NEVER, hold = request.hold,
    digest = request.digest, latency = world:choose("speed.get", { 0.05, 0.005, 1, 9, 40 }) / 2 }
  if request.hold then
    local sink = request.continue and self.held[request.continue]
    if sink then
      self.held[request.continue] = nil
    else
      if request.path then
        local done, message, code = world.disk:begin(request.path, request.no_replace)
        if not done then return nil, message, code end
      end
      sink = { bytes = "", path = request.path, way = request.no_replace }
    end
    transfer.sink = sink
    world:after(transfer.latency, downloading, transfer)
  else
    world:after(transfer.latency, asked, transfer)
  end
  return add(self, transfer)
end

--- Returns whether a task is being asked for.
---@param task table
---@return boolean
function Engine:asks(task)
  for _, transfer in ipairs(self.active) do
    if transfer.asks == task then return true end
  end
  return false
end

-- The worker's thread -----------------------------------------------------------------------------

-- Gives the worker something to do, and its end in a while. What is read is read then.
local function work(self, site, finish, request)
  self.process:alive()
  local transfer = { world = self.world, kind = "work", sent = 0, total = 0, received = 0,
    deadline = NEVER, stall_at = NEVER, request = request }
  self.world:after(self.world:choose(site, { 0.1, 0.001, 2, 30 }), function()
    if not transfer.gone then arrive(transfer, finish(self.world, request)) end
  end)
  return add(self, transfer)
end

-- Returns what the worker reads; or nil and an event.
local function input_of(world, request)
  if request.bytes then return request.bytes end
  local node = world.disk.names[request.path]
  local code = not node and "ENOENT" or request.stamp and request.stamp ~= node and "ESTALE"
    or world:choose("worker.reads", { false, "EIO" })
  if not code then return disk.data_of(node) end
  local _, message = disk.failed(request.path, code)
  return nil, { kind = "file", code = code, detail = message }
end

local function digested(world, request)
  local bytes, event = input_of(world, request)
  if not bytes then return event end
  world.ledger.digested[request.path] = bytes
  return { digest = core.sha256(bytes) }
end

local function fitted(world, request)
  local bytes, event = input_of(world, request)
  local fate = world:choose("worker.fit", { "done", "damaged", "starved" })
  if not bytes then return event end
  if fate == "damaged" then return { kind = "image", detail = "its data are damaged" } end
  if fate == "starved" then return { kind = "internal", code = "ENOMEM", detail = "no memory" } end
  local body = ("\137PNG %d %d made of %s"):format(request.width, request.height, bytes:sub(2))
  world.ledger.made[body] = bytes
  return { body = body }
end

function Engine:digest(request) return work(self, "speed.digest", digested, request) end
function Engine:fit(request) return work(self, "speed.fit", fitted, request) end

-- Steps -------------------------------------------------------------------------------------------

-- A transfer has ended, and the client is told.
local function hand_over(self, transfer)
  remove(self, transfer)
  if transfer.hold then self.held[transfer.id] = transfer.sink end
  if transfer.edit then transfer.edit.told_at = self.world.now end
  self.last_edit = transfer.edit
end

-- Returns what has arrived.
local function take_arrived(self)
  local arrived = self.arrived
  if not arrived[1] then return nil end
  local events = {}
  for i = 1, #arrived do
    local transfer = arrived[i]
    if not transfer.gone then
      hand_over(self, transfer)
      events[#events + 1] = transfer.event
    end
    arrived[i] = nil
  end
  return events[1] and events
end

local function due_of(transfer)
  if transfer.over then return -NEVER end
  return transfer.stall_at < transfer.deadline and transfer.stall_at or transfer.deadline
end

-- Ends what is late.
local function end_late(self, events)
  local now, active, late = self.world.now, self.active, nil
  for i = 1, #active do
    local transfer = active[i]
    if (transfer.stall_at <= now or transfer.deadline <= now) and not transfer.over then
      late = late or {}
      late[#late + 1] = transfer
    end
  end
  for _, transfer in ipairs(late or {}) do
    hand_over(self, transfer)
    events = events or {}
    events[#events + 1] = { id = transfer.id, kind = "timeout", code = "CURLE_OPERATION_TIMEDOUT",
      detail = "the time for it ran out", sent = transfer.sent, total = transfer.total,
      received = transfer.received, headers = {}, body = "", length_known = false }
  end
  return events
end

function Engine:step()
  self.process:alive()
  if self.due_alarm <= self.world.now then self.due_alarm = NEVER end
  self.more = nil
  local events = end_late(self, take_arrived(self))
  if events then
    self.world:note("events", #events)
    self.told_at, self.told_edit = self.world.now, #events == 1 and self.last_edit or nil
  end
  return events, events ~= nil
end

function Engine:settle()
  self.process:alive()
  self.more = true -- the engine looks again after a settle, at once
  return take_arrived(self), false
end

function Engine:progress(id)
  local transfer = self.by_id[id]
  if transfer then return transfer.sent, transfer.total, transfer.received end
end

function Engine:cancel(id)
  self.process:alive()
  self.held[id] = nil
  local transfer = self.by_id[id]
  if transfer then remove(self, transfer) end
end

function Engine:check(id)
  self.process:alive()
  local bytes = self.held[id].bytes
  if bytes:sub(1, 2) == "\255\216" then
    return { format = "jpeg", label = "JPEG", width = 1024, height = 1024, bytes = #bytes,
      ended = bytes:sub(-3) == "END" }
  elseif bytes:sub(1, 1) == "<" then
    return { format = "html", label = "HTML", bytes = #bytes, why = "it is HTML" }
  end
  return { bytes = #bytes, why = "it is not a picture" }
end

function Engine:finish(id)
  self.process:alive()
  local sink = self.held[id]
  if not sink.path then
    self.held[id] = nil
    return sink.bytes
  end
  local done, message, code = self.world.disk:put(self.process, sink.path, sink.bytes, sink.way)
  if not done then return nil, message, code end
  self.held[id] = nil
  return true
end

function Engine:save(id, path, way)
  self.process:alive()
  return self.world.disk:put(self.process, path, self.held[id].bytes, way)
end

function Engine:alarm(when)
  self.process:alive()
  self.due_alarm = when or NEVER
end

--- Returns when a step is due.
function Engine:due()
  if self.arrived[1] or self.more then return self.world.now end
  local due, active = self.due_alarm, self.active
  for i = 1, #active do
    local own = due_of(active[i])
    if own < due then due = own end
  end
  return due
end

function Engine.wait() end
function Engine.pollfd() end
function Engine.timeout() end
function Engine.forked() return false end

function Engine:close()
  self.closed = true
  for _, transfer in ipairs(self.active) do transfer.gone = true end
  self.active, self.by_id, self.arrived, self.held = {}, {}, {}, {}
end

return network
