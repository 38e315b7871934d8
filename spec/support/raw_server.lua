-- A server that says exactly what a script says, byte for byte, and keeps a ledger of all that it
-- was sent. Run as a process by spec/support/raw.lua; ends when its control connection does.
--
-- A script maps "METHOD /path" to a list of answers, taken in turn; the last one stays. An answer:
--   status, headers (lines), body    a whole answer: Content-Length is added
--   raw                              these bytes instead
--   times = N                        after them N times `body`
--   cut = N                          only the first N bytes of the body, then the end
--   read = N                         only about N bytes of the request's body are read
--   delay = seconds, hang = true     before it; nothing at all
--   drop = true                      the end of the connection in place of an answer
--   drain = true                     after it, what still comes is read and forgotten
--   keep = true                      the connection may be used again
-- Any other request gets a 404. "$BASE" in what is sent stands for the server's URL, "$HERE" for
-- that and the request's "/caseN".

local cjson = require "cjson"
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local WHOLE = 65536 -- bytes of a body that the ledger shows; larger ones are put into a file

local loop = cqueues.new()
local script, ledger, connections, heads, base = {}, {}, 0, 0, nil

local function listen()
  local listener = assert(socket.listen { host = "127.0.0.1", port = 0, nodelay = true })
  assert(listener:listen())
  local _, _, port = listener:localname()
  return listener, port
end

-- Returns the next bytes, or nil at the end.
local function receive(conn, patience)
  return (conn:xread(-65536, "bn", patience or 20))
end

-- Reads a request's head; returns it and what came of the body, or nil.
local function read_head(conn, rest)
  local text = rest
  repeat
    local stop = text:find("\r\n\r\n", 1, true)
    if stop then return text:sub(1, stop + 3), text:sub(stop + 4) end
    local bytes = receive(conn)
    text = bytes and text .. bytes
  until not text
end

-- Reads up to `wanted` bytes of the body into the entry; returns what came behind it.
local function read_body(conn, entry, came, wanted)
  local parts, got = { came }, #came
  while got < wanted do
    local bytes = receive(conn)
    if not bytes then break end
    parts[#parts + 1], got = bytes, got + #bytes
  end
  local text = table.concat(parts)
  local body = text:sub(1, entry.length)
  entry.got, entry.complete = #body, #body == entry.length
  if #body <= WHOLE then
    entry.body = body
  else
    entry.file = os.tmpname()
    local file = assert(io.open(entry.file, "wb"))
    assert(file:write(body))
    file:close()
  end
  return text:sub(entry.length + 1)
end

local function note(head, connection)
  local entry = { head = head, headers = {}, names = {}, connection = connection,
    at = cqueues.monotime() }
  entry.method, entry.target = head:match "^(%u+) (%S+) HTTP/1%.1\r\n"
  for name, value in head:gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    entry.headers[name:lower()] = value
    entry.names[#entry.names + 1] = name:lower()
  end
  entry.path = (entry.target or ""):match "^[^?]*"
  entry.length = tonumber(entry.headers["content-length"]) or 0
  ledger[#ledger + 1], heads = entry, heads + 1
  return entry
end

-- Returns the answer that the script has for this request.
local function next_answer(entry)
  local answers = script[("%s %s"):format(entry.method, entry.path)]
  if not answers then return { status = 404, headers = {}, body = '{"detail":"Not Found"}' } end
  return #answers > 1 and table.remove(answers, 1) or answers[1]
end

local function filled(text, entry)
  local here = base .. (entry.path:match "^/case%d+" or "")
  return (text:gsub("%$(%u+)", { BASE = base, HERE = here }))
end

local function send(conn, text)
  return conn:xwrite(text, "bn", 20)
end

-- Answers; returns whether the connection lives on.
local function give(conn, answer, entry)
  if answer.delay then cqueues.sleep(answer.delay) end
  if answer.hang then cqueues.sleep(60) end
  if answer.drop or answer.hang then return false end
  if answer.raw then
    send(conn, filled(answer.raw, entry))
    for _ = 1, answer.times or 0 do
      if not send(conn, answer.body) then break end
    end
    return answer.keep
  end
  local body = filled(answer.body or "", entry)
  local lines = { ("HTTP/1.1 %d Said"):format(answer.status), "Content-Length: " .. #body }
  for _, line in ipairs(answer.headers or {}) do lines[#lines + 1] = filled(line, entry) end
  if not answer.keep then lines[#lines + 1] = "Connection: close" end
  send(conn, table.concat(lines, "\r\n") .. "\r\n\r\n" .. body:sub(1, answer.cut or #body))
  return answer.keep and not answer.cut
end

local function serve(conn, number)
  conn:setmode("bn", "bn")
  conn:onerror(function(_, _, code) return code end)
  local rest, alive = "", true
  while alive do
    local head, came = read_head(conn, rest)
    if not head then break end
    local entry = note(head, number)
    local answer = next_answer(entry)
    rest = read_body(conn, entry, came, math.min(entry.length, answer.read or math.huge))
    alive = give(conn, answer, entry)
    while answer.drain and receive(conn, 1) do alive = false end
  end
  conn:close() -- with a part of the request unread this is a reset
end

-- Lets in what was sent before an order: a ledger lacks none of it, and begins with none of it.
local function settle()
  local before, turns = nil, 0
  for _ = 1, 1000 do
    cqueues.sleep(0)
    local now = connections + heads
    turns = now == before and turns + 1 or 0
    if turns == 10 then return end
    before = now
  end
end

-- Obeys one order of the test.
local function obey(order)
  local told = true
  if order.stop then os.exit(0) end
  settle()
  if order.script then script, ledger = order.script, {} end
  if order.ledger then told = { entries = ledger, connections = connections } end
  return cjson.encode(told) .. "\n"
end

-- The test's word: one line of JSON in, one out.
local function listen_to(conn)
  conn:setmode("bn", "bn")
  conn:onerror(function(_, _, code) return code end)
  local text = ""
  while true do
    local bytes = receive(conn, 3600)
    if not bytes then os.exit(0) end
    text = text .. bytes
    local line, rest = text:match "^([^\n]*)\n(.*)$"
    if line then
      conn:xwrite(obey(cjson.decode(line)), "bn")
      text = rest
    end
  end
end

local public, port = listen()
local private, control = listen()
base = "http://127.0.0.1:" .. port
loop:wrap(function()
  while true do
    local conn = assert(public:accept())
    connections = connections + 1
    local number = connections
    loop:wrap(function() serve(conn, number) end)
  end
end)
loop:wrap(function() listen_to(assert(private:accept())) end)
io.write(port, " ", control, "\n")
io.flush()
assert(loop:loop())
