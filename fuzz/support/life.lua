--- The life of an edit on a machine without network, clock and chance: its engine is a table that
--- notes what it is asked for and answers with what the fuzzer wrote.
local client = require "kontext.client.client"
local host = require "fuzz.host"
local system = require "kontext.system"

local life = {
  key = "kx-canary-key-7f3a9c51",
  secret = "kx-canary-secret-20b7e4",
}

local clock = 1000
local wall = 1766072000 -- 2025-12-18, seconds since 1970 when the clock began
local requests = 20 -- of a life; some answers never end one

local kinds = { network = true, tls = true, timeout = true, protocol = true, file = true,
  internal = true }

-- Reads one answer: lines of "name: value", an empty one, the body.
local function read(text)
  local head, body = (text .. "\n"):match "^(.-\n)\n(.*)\n$"
  local told = {}
  for name, value in (head or text .. "\n"):gmatch "([%w%-]+): ?([^\n]*)\n" do
    told[name:lower()] = value
  end
  local sent, total = (told.sent or ""):match "^(%d%d?%d?)/(%d%d?%d?)$"
  local status = (told.status or ""):match "^[1-9]%d%d$"
  local kind = kinds[told.kind] and told.kind or not status and "network" or nil
  return {
    status = math.tointeger(tonumber(status)), kind = kind, code = kind and "CURLE_OK",
    detail = kind and (told.detail or "it broke"):gsub("[%z\1-\31\127]", "?"),
    sent = math.tointeger(tonumber(sent)) or 100, total = math.tointeger(tonumber(total)) or 100,
    headers = told, body = body or "", received = #(body or ""), picture = told.picture,
    md5 = told.md5, length_known = told["length-known"] ~= nil,
  }
end

local last = {} -- URL and its line: most polls ask for what the one before did

-- Asks libcurl itself where a request would go: is that a place that may see the key?
local function check_key(request, base)
  if last.url ~= request.url then last = { url = request.url, line = host.asked(request.url) } end
  local line = assert(last.line, "the key would go nowhere: " .. request.url)
  local name, port = line:match "^CONNECT ([^/ ]+):(%d+) HTTP"
  if not name then name, port = line:match "^%u+ http://([^/: ]+):?(%d*)[/ ]" end
  assert(name, line)
  if base == "loopback" and name == "127.0.0.1" and port == "8080" then return end
  name = name:lower()
  assert(line:find "^CONNECT" and port == "443"
    and (name == "bfl.ai" or name:find "%.bfl%.ai$"), "the key would go to " .. line)
end

local Engine = {}
Engine.__index = Engine

-- Returns whether a picture has its end mark: nil where its format has none.
local function has_end(headers)
  if headers["end-mark"] == "unknown" then return nil end
  return headers["end-mark"] ~= "missing"
end

local function has_key(request)
  for _, header in ipairs(request.headers or {}) do
    if header:find(life.key, 1, true) then return true end
  end
  return false
end

-- Remembers what raised: the client would make it the job's error.
function Engine:check_promise(fn, ...)
  local kept, problem = pcall(fn, ...)
  if not kept then self.broken = self.broken or problem end
end

local function check_request(self, request)
  assert(not request.hold, "a download gets the key")
  assert(not self.sent_on or self.keyed[request.url], "the key follows a redirect")
  self.keyed[request.url] = true
  check_key(request, self.base)
end

function Engine:ask(request)
  self.asked = self.asked + 1
  request.id = self.asked
  if has_key(request) then self:check_promise(check_request, self, request) end
  self.pending = request
  return request.id
end

function Engine:edit(request)
  request.edit = true
  self:check_promise(self.on_edit, self)
  return self:ask(request)
end

Engine.fetch = Engine.ask

-- Answers what is pending.
function Engine:step()
  local request = self.pending
  if not request then return nil end
  self.pending = nil
  local answer = self.answers[math.min(request.id, #self.answers)]
  local event = {}
  for name, value in pairs(answer) do event[name] = value end
  event.id = request.id
  if not request.edit then event.sent, event.total = 0, 0 end
  if request.hold then event.body = (event.status or 0) // 100 ~= 2 and event.body or nil end
  if request.edit then self.edits[#self.edits + 1] = event end
  self.sent_on = not request.edit and not self.asks_credits and not event.kind
    and (event.status or 0) // 100 == 3 and event.headers.location and event.body == ""
  self.picture, self.last = event.picture, event
  return { event }, true
end

function Engine:cancel(id)
  if self.pending and self.pending.id == id then self.pending = nil end
end

function Engine:check()
  if not self.picture then return nil, "cut" end
  return { format = "jpeg", width = 8, height = 8, bytes = 4, ended = has_end(self.last.headers) }
end

function Engine:alarm(when) self.due = when end
function Engine:finish() return self.picture end
function Engine.settle() end
function Engine.progress() return nil end
function Engine.forked() return false end
function Engine.close() end

-- Returns a machine whose engine is this one.
local function machine(engine)
  local made = {}
  for name, value in pairs(system) do made[name] = value end
  function made.now() return clock end
  function made.wall() return wall + math.floor(clock) end
  function made.random() return 0.5 end
  function made.engine() return engine end
  return made
end

--- Leads a job through its life against answers that lines of "----" part; the last one is given
--- again and again.
---@param text string
---@param begin fun(client, told): table begins the job, knowing the first answer's lines
---@param on_edit fun(engine) is called before each upload
---@return table job
---@return table engine with what it was asked
---@return table told the first answer's lines
function life.lead(text, begin, on_edit)
  local engine = setmetatable({ asked = 0, answers = {}, edits = {}, keyed = {},
    on_edit = on_edit }, Engine)
  for part in (text .. "\n----\n"):gmatch "(.-)\n%-%-%-%-\n" do
    engine.answers[#engine.answers + 1] = read(part)
  end
  local told = engine.answers[1].headers
  engine.base = told.base == "loopback" and "loopback" or "service"
  engine.asks_credits = told.credits -- of the same URL, wherever it is sent
  engine.begun = clock
  local made = client.new({ api_key = life.key, timeout = 300,
    base_url = engine.base == "loopback" and "http://127.0.0.1:8080" or "https://api.bfl.ai" },
    machine(engine))
  local job = begin(made, told)
  while not job:ended() and engine.asked < requests do
    made:step()
    if not engine.pending and not job:ended() then
      local wait = engine.due - clock
      assert(wait <= 61, "nothing is due for " .. wait .. " s")
      clock = clock + math.max(0, wait)
    end
  end
  engine.took = clock - engine.begun
  assert(not engine.broken, engine.broken)
  return job, engine, told
end

return life
