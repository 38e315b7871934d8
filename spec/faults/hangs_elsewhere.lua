-- R8: whatever hangs, the host does not. A resolver that never answers, a SYN that nobody answers,
-- a stall in each phase, bytes that dribble: `step` returns at once, so do `cancel`, `close` and
-- the end of the Lua state, and a deadline's error comes when the deadline does. And a host that
-- was stopped loses no answer that came meanwhile.

local namespace = require "faults.namespace"
namespace.enter("R8", 30)

local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local certs = require "faults.certs"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"
local wire = require "faults.wire"

local LIMITS = { step = 0.020, edit = 0.020, cancel = 0.005, close = 0.050 }
local CLOSING = 0.050
local LATE = 0.200
local TIMEOUT = 1.0
local STOPPED = campaign.size(3, 4, 40) -- seconds
local TRIES = 5 -- a machine that others use may pause a process; a call that blocks does so again

local run = campaign.new { id = "R8", title = "what hangs does not hang its host", at_once = 6,
                           limit = 20 }

local small, large = run.temporary .. "/small.png", run.temporary .. "/large.png"

local function forget() cqueues.sleep(15) end

-- Sends bytes one by one, slower than anything but never silent.
local function dribble(conn, bytes)
  for i = 1, #bytes do
    if not conn:send(bytes:sub(i, i)) then return end
    cqueues.sleep(0.1)
  end
end

local function answer_hang(route, at)
  return { spoil = function(conn, _, answered, bytes)
    if answered ~= route then return nil end
    conn:send(bytes:sub(1, math.floor(#bytes * at)))
    forget()
    return false
  end }
end

local function answer_dribble(route)
  return { spoil = function(conn, _, answered, bytes)
    if answered ~= route then return nil end
    dribble(conn, bytes)
    return false
  end }
end

-- What hangs: how it starts (→ base URL and a function that stops it), and the kind of error that
-- the deadline then brings: after the whole body went out nobody knows what became of it.
local function with_service(options, tls)
  return function()
    local script, state = service.script(options)
    local back = server.start(run.loop, script, { tls = tls and certs.context "good",
                                                  receive_buffer = options.receive_buffer })
    state.base = (tls and "https" or "http") .. "://127.0.0.1:" .. back.port
    return state.base, function() back:close(true) end
  end
end

local function raw(serve, scheme)
  return function()
    local listener = wire.listen(run.loop, serve, { receive_buffer = 4096 })
    return scheme .. "://127.0.0.1:" .. listener.port, function() listener:close(true) end
  end
end

-- A listener whose queue is full, so that the kernel drops further SYNs.
local function black_hole()
  local sock = assert(socket.listen { host = "127.0.0.1", port = 0 })
  assert(sock:listen())
  sys.listen(sock:pollfd(), 0)
  local _, _, port = sock:localname()
  local waiting = {}
  for i = 1, 3 do
    waiting[i] = socket.connect { host = "127.0.0.1", port = port }
    waiting[i]:onerror(function(_, _, code) return code end)
    waiting[i]:connect(0.02)
  end
  return "http://127.0.0.1:" .. port, function()
    for _, one in ipairs(waiting) do one:close() end
    sock:close()
  end
end

local hangs = {
  { name = "resolver", kind = "timeout",
    start = function() return "https://slow.test", function() end end },
  { name = "connect", kind = "timeout", start = black_hole },
  { name = "TLS handshake", kind = "timeout", start = raw(forget, "https") },
  { name = "upload", kind = "timeout", picture = "large", start = raw(forget, "http") },
  { name = "slow upload", kind = "timeout", picture = "large", start = with_service {
    receive_buffer = 4096, pace = function() cqueues.sleep(0.05) end } },
  { name = "no answer", kind = "ambiguous", start = with_service(answer_hang("submit", 0)) },
  { name = "an answer's head", kind = "ambiguous",
    start = with_service(answer_hang("submit", 0.2)) },
  { name = "half an answer", kind = "timeout", accepted = true,
    start = with_service(answer_hang("submit", 0.8)) },
  { name = "half an answer, TLS", kind = "timeout", accepted = true,
    start = with_service(answer_hang("submit", 0.8), true) },
  { name = "dribbled answer", kind = "ambiguous", start = with_service(answer_dribble "submit") },
  { name = "no poll", kind = "timeout", start = with_service(answer_hang("poll", 0)) },
  { name = "half a poll", kind = "timeout", start = with_service(answer_hang("poll", 0.5)) },
  { name = "dribbled poll", kind = "timeout", start = with_service(answer_dribble "poll") },
  { name = "no picture", kind = "timeout", start = with_service(answer_hang("sample", 0)) },
  { name = "half a picture", kind = "timeout", start = with_service(answer_hang("sample", 0.5)) },
  { name = "half a picture, TLS", kind = "timeout",
    start = with_service(answer_hang("sample", 0.5), true) },
  { name = "dribbled picture", kind = "timeout", start = with_service(answer_dribble "sample") },
}

-- Runs one case; returns what is wrong, and true when it is only slow.
local function once(case, client)
  local base, stop = case.hang.start()
  local image = case.hang.picture == "large" and large or small
  if case.how == "lua_close" then
    local pid, fd = assert(sys.spawn { "lua5.4", "spec/faults/closing.lua", base, campaign.key,
      image, "0.3", base:find "^https" and certs.bundle() or "" })
    local pipe = socket.fdopen(fd)
    pipe:onerror(function(_, _, code) return code end)
    local line = pipe:xread("*l", "b", 10)
    local begun = sys.now()
    local how, number
    repeat
      how, number = sys.wait(pid, true)
      if not how then cqueues.sleep(0.001) end
    until how or sys.now() - begun > 10
    local took = sys.now() - begun
    if not how then sys.kill(pid, 9) sys.wait(pid) end
    pipe:close()
    stop()
    if not line then return "the process died before it could close" end
    if how ~= "exit" or number ~= 0 then
      return ("it ended by %s %s"):format(tostring(how), tostring(number))
    end
    return took > CLOSING and ("lua_close took %.1f ms"):format(took * 1000) or nil, true, took
  end
  local outcome = client:run {
    new = { base_url = base, api_key = campaign.key, timeout = TIMEOUT, poll_interval = 0.02,
            ca_file = base:find "^https" and certs.bundle() or nil },
    edit = { prompt = "case", input_image = image, output_format = "png" },
    cancel_after = case.how == "cancel" and 0.3 or nil,
    close_after = case.how == "close" and 0.3 or nil,
  }
  stop()
  if not outcome then return "no outcome" end
  if outcome.raised then return "it raised: " .. outcome.raised end
  for name, limit in pairs(LIMITS) do
    if (outcome.worst[name] or 0) > limit then
      return ("%s took %.1f ms"):format(name, outcome.worst[name] * 1000), true
    end
  end
  for name, seconds in pairs(outcome.worst) do run:latency(name, seconds) end
  local told = campaign.told(outcome)
  if case.how == "cancel" then
    if outcome.status ~= "cancelled" then return "after the cancel it is told " .. told end
  elseif case.how == "deadline" then
    if outcome.status ~= "failed" or outcome.error.kind ~= case.hang.kind then
      return "told " .. told .. ", expected " .. case.hang.kind
    elseif case.hang.accepted and not outcome.token then
      return "the id that had come is dropped"
    end
    local late = outcome.seconds - TIMEOUT
    if late > LATE or late < -0.01 then
      return ("its error came %.0f ms after the deadline"):format(late * 1000), true
    end
    run:latency("lateness", late)
  end
end

-- A host that is stopped when an answer comes, for longer than its stall limit, or its deadline,
-- allows: the answer lies in the socket, and counts.
local function try_stopped(case)
  local client, paid = run:client(), 0
  local done
  local script, state = service.script { spoil = function(conn, _, route, bytes)
    if route == "submit" then paid = paid + 1 end
    if route ~= case.route or done then return nil end
    done = true
    sys.kill(client.pid, 19) -- SIGSTOP
    conn:send(bytes)
    cqueues.sleep(STOPPED)
    sys.kill(client.pid, 18) -- SIGCONT
    return true
  end }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  local outcome = client:run {
    new = { base_url = state.base, api_key = campaign.key, poll_interval = 0.02,
            stall_timeout = 1, timeout = case.timeout },
    edit = { prompt = "case", input_image = small, output_format = "png" },
  }
  client:stop()
  back:close(true)
  if not outcome then return "no outcome" end
  if outcome.raised then return "it raised: " .. outcome.raised end
  if paid ~= 1 then return ("%d submits; told %s"):format(paid, campaign.told(outcome)) end
  if outcome.status ~= "ready" then return "told " .. campaign.told(outcome) end
end

local function try(case, client)
  local wrong, slow, took
  for _ = 1, TRIES do
    wrong, slow, took = once(case, client)
    if not wrong then
      if took then run:latency("lua_close", took) end
      return nil
    end
    if not slow then return wrong end
  end
  return wrong .. ", " .. TRIES .. " times in turn"
end

run:run(function()
  namespace.names(run.loop, function() return nil end)
  for path, bytes in pairs { [small] = picture.png(24, 16),
                             [large] = picture.png(24, 16, 8000000) } do
    local file = assert(io.open(path, "wb"))
    file:write(bytes)
    file:close()
  end
  certs.make()
  local cases = {}
  for _ = 1, campaign.size(1, 3, 20) do
    for _, hang in ipairs(hangs) do
      for _, how in ipairs { "deadline", "cancel", "close", "lua_close" } do
        cases[#cases + 1] = { hang = hang, how = how, name = hang.name .. ", " .. how }
      end
    end
  end
  run:each(cases, try)
  cases = {}
  for _, route in ipairs { "submit", "poll", "sample" } do
    for limit, timeout in pairs { ["stall limit"] = 60, deadline = 2.5 } do
      cases[#cases + 1] = { route = route, timeout = timeout,
        name = ("stopped at the answer of a %s for longer than its %s"):format(route, limit) }
    end
  end
  run:each(cases, try_stopped)
end)
