--- The engine of one client: its methods are those of src/lua/engine.c. A transfer is a row of
--- events in the world; what has arrived is handed over by the next step.
local core = require "kontext.core"

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
    connect = settings.connect_timeout, last = 0, active = {}, arrived = {}, held = {},
    due_alarm = NEVER }, Engine)
end

-- Adds a transfer; returns its number.
local function add(self, transfer)
  self.last = self.last + 1
  transfer.id, transfer.engine = self.last, self
  self.active[#self.active + 1] = transfer
  return self.last
end

local function remove(self, transfer)
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
  local answer, task = world.service:submit(edit)
  if task then ledger:charge_of(transfer, task, answer) end
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
    transfer.edit.spoiled = true
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
      transfer.edit.spoiled = true
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
  local world = self.world
  local total = 0
  for _, piece in ipairs(request.pieces) do
    total = total + (type(piece) == "string" and #piece or math.ceil(#piece.bytes / 3) * 4)
  end
  local edit = world.ledger:edit_of(request.pieces[1])
  local transfer = { world = world, edit = edit, kind = "upload", sent = 0, total = total,
    received = 0, mark = request.mark, deadline = request.deadline, stall_at = NEVER,
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
  if answer.missing then
    local task = answer.missing
    task.missed = task.missed or { since = transfer.world.now, times = 0 }
    task.missed.times = task.missed.times + 1
  elseif transfer.task and answer.status == 200 and not answer.kind
    and answer.body:find('"status":"[PRGQ]') then
    transfer.task.missed = nil
  end
  local task = transfer.task
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
        local _, message = world.disk.failed(sink.path, code)
        answer = { kind = "file", code = code, detail = message, status = status, headers = {} }
      end
    end
  end
  transfer.received = #sink.bytes
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
  local answer = world.service:download(transfer.url, #transfer.sink.bytes)
  if answer.hangs then
    transfer.stall_at = world.now + transfer.engine.stall
    return
  end
  world:after(transfer.latency, brought, transfer, answer)
end

-- Whether the key may go to a URL.
local function check_key(self, request)
  for _, header in ipairs(request.headers or {}) do
    if header:find("x-key", 1, true) then
      local host = request.url:match "^https://([^/?]+)"
      if not host or not (host == "bfl.ai" or host:find "%.bfl%.ai$") then
        self.world:broken("the key goes to the service only", request.url)
      end
    end
  end
end

function Engine:fetch(request)
  self.process:alive()
  local world = self.world
  check_key(self, request)
  local transfer = { world = world, kind = "get", sent = 0, total = 0, received = 0,
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
  world.gets = (world.gets or 0) + 1
  return add(self, transfer)
end

-- Steps -------------------------------------------------------------------------------------------

-- Returns what has arrived.
local function take_arrived(self)
  if not self.arrived[1] then return nil end
  local events = {}
  for i, transfer in ipairs(self.arrived) do
    if not transfer.gone then
      transfer.gone = true
      remove(self, transfer)
      if transfer.hold then self.held[transfer.id] = transfer.sink end
      if transfer.edit then transfer.edit.told_at = self.world.now end
      self.last_edit = transfer.edit
      events[#events + 1] = transfer.event
    end
    self.arrived[i] = nil
  end
  return events[1] and events
end

local function due_of(transfer)
  if transfer.over then return -NEVER end
  return transfer.stall_at < transfer.deadline and transfer.stall_at or transfer.deadline
end

-- Ends what is late.
local function end_late(self, events)
  local now, late = self.world.now, nil
  for _, transfer in ipairs(self.active) do
    if not transfer.over and due_of(transfer) <= now then
      late = late or {}
      late[#late + 1] = transfer
    end
  end
  for _, transfer in ipairs(late or {}) do
    transfer.gone = true
    remove(self, transfer)
    if transfer.hold then self.held[transfer.id] = transfer.sink end
    if transfer.edit then transfer.edit.told_at = now end
    self.last_edit = transfer.edit
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
  for _, transfer in ipairs(self.active) do
    if transfer.id == id then return transfer.sent, transfer.total, transfer.received end
  end
end

function Engine:cancel(id)
  self.process:alive()
  self.held[id] = nil
  for _, transfer in ipairs(self.active) do
    if transfer.id == id then
      transfer.gone = true
      remove(self, transfer)
      return
    end
  end
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
  local due = self.due_alarm
  for _, transfer in ipairs(self.active) do
    local own = due_of(transfer)
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
  self.active, self.arrived, self.held = {}, {}, {}
end

return network
