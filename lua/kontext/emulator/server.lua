-- The service on a socket: HTTP/1.1, and HTTP/2 over TLS, by lua-http. Reads requests whole,
-- writes answers, and keeps the ledger of both.

local need = require "kontext.emulator.need"
local certificate = require "kontext.emulator.certificate"
local encoding = require "kontext.encoding"
local ledger = require "kontext.emulator.ledger"
local pictures = require "kontext.emulator.pictures"
local service = require "kontext.emulator.service"
local webhooks = require "kontext.emulator.webhooks"
local cqueues, errno = need "cqueues", need "cqueues.errno"
local http_server, new_headers = need "http.server", need "http.headers".new
local protected = need "http.util".yieldable_pcall
local rand = need "openssl.rand"
local signal = need "cqueues.signal"

local server = {}
server.__index = server

local BODY_LIMIT = 128 * 2 ^ 20 -- four pictures of 20 MB in base64, and room
local TURN = 2 ^ 19 -- bytes of a body that are read in one go
local PATIENCE = 60 -- seconds that a client may be silent in the middle of a request or an answer
local IDLE = 75 -- seconds that a connection is kept between requests

-- Requests ----------------------------------------------------------------------------------------

local function unescape(text)
  return (text:gsub("+", " "):gsub("%%(%x%x)", function(code)
    return string.char(tonumber(code, 16))
  end))
end

-- A target's path and query; of a name given twice the last value counts, as in FastAPI.
local function parse_target(target)
  target = target:gsub("^https?://[^/?#]*", "") -- as proxies ask
  local path, rest = target:match "^([^?#]*)%??([^#]*)"
  local query = {}
  for pair in rest:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    query[unescape(name)] = unescape(value)
  end
  return path, query
end

-- Returns whether an address is this machine's.
local function is_loopback(address)
  return address ~= nil and (address:find "^127%." or address == "::1"
    or address:find "^::ffff:127%.") ~= nil
end

local function flat_headers(headers)
  local flat = {}
  for name, value in headers:each() do
    if name:sub(1, 1) ~= ":" then
      flat[name] = flat[name] and flat[name] .. ", " .. value or value
    end
  end
  return flat
end

-- Corrects how lua-http reads a connection of HTTP/1. It reads bodies in turns: lua-http would read
-- as long as there is something to read, and the others wait. And it ends with an error where the
-- client has gone: lua-http would try again for ever.
local function correct_http1(connection)
  local read = connection.read_body_by_length
  function connection.read_body_by_length(self, length, timeout)
    local bytes, why, code = read(self, math.max(length, -TURN), timeout)
    if not bytes and not why then return nil, errno.strerror(errno.EPIPE), errno.EPIPE end
    return bytes, why, code
  end
end

-- Corrects how lua-http waits for a connection of HTTP/2, which all its streams and the server read
-- in turns. A write makes the socket forget that a read waits for more: whoever polls it after that
-- would wait for nothing, and the rest of an upload would never be read.
local function correct_http2(connection)
  local events = connection.events
  function connection.events(self)
    local waiting = events(self) or ""
    return waiting:find("r", 1, true) and waiting or waiting .. "r"
  end
end

-- Corrects a connection at its first request.
local function correct(connection)
  if rawget(connection, "is_corrected") then return end
  connection.is_corrected = true
  if connection.version == 2 then correct_http2(connection) else correct_http1(connection) end
end

-- Reads a body of a length that may be unknown into one string. Returns it and its size; or nil,
-- how many bytes came, and true where it is too large rather than cut.
local function read_body(stream, expected)
  local parts, size = {}, 0
  while math.max(size, expected or 0) <= BODY_LIMIT do
    local chunk, why = stream:get_next_chunk(PATIENCE)
    if not chunk then
      if why or expected and size ~= expected then return nil, size end
      return table.concat(parts), size
    end
    parts[#parts + 1] = chunk
    size = size + #chunk
    cqueues.sleep(0)
  end
  return nil, size, true
end

-- Answers -----------------------------------------------------------------------------------------

-- Ends a connection in the middle of whatever it is doing.
local function drop(stream)
  local connection = stream.connection
  if connection.socket then connection.socket:shutdown "rw" end
end

local function write(stream, answer, method)
  if answer.drop then return drop(stream) end
  local headers = new_headers()
  headers:append(":status", tostring(answer.status))
  headers:append("date", os.date "!%a, %d %b %Y %H:%M:%S GMT")
  for name, value in pairs(answer.headers) do headers:append(name, value) end
  if answer.status ~= 204 then headers:append("content-length", tostring(#answer.body)) end
  local silent = method == "HEAD" or #answer.body == 0
  if not stream:write_headers(headers, silent, PATIENCE) or silent then return end
  if not answer.cut then return stream:write_chunk(answer.body, true, PATIENCE) end
  stream:write_chunk(answer.body:sub(1, answer.cut), false, PATIENCE)
  drop(stream)
end

-- A request's headers, or nil. What lua-http cannot read, such as a length that is no number, would
-- keep it reading for ever: the request is then told to be at its end.
local function read_headers(stream)
  local ok, headers = protected(stream.get_headers, stream, PATIENCE)
  local length = ok and headers and headers:get "content-length" or "0"
  if ok and headers and length:match "^%d+$" then return headers end
  if stream.has_main_headers and stream.state == "open" then
    stream:set_state "half closed (remote)"
    write(stream, { status = 400, headers = { connection = "close" }, body = "" })
  end
end

-- Exchanges ---------------------------------------------------------------------------------------

-- Whether a path is the emulator's own and none of the service's.
local function is_own(path) return path:find "^/_" ~= nil end

-- The request of a stream, and its entry in the ledger: its own requests have none.
function server:begin(stream, headers)
  local target, authority = headers:get ":path" or "/", headers:get ":authority"
  local path, query = parse_target(target)
  local request = {
    method = headers:get ":method", path = path, query = query, headers = flat_headers(headers),
    origin = authority and headers:get ":scheme" .. "://" .. authority or self.url,
  }
  local shown = flat_headers(headers)
  shown["x-key"] = nil
  request.entry = {
    time = cqueues.monotime() - self.began,
    connection = self.numbers[stream.connection.socket] or 0,
    protocol = stream.connection.version == 2 and "2" or "1.1", tls = stream:checktls() ~= nil,
    method = request.method, target = target, path = path, host = authority, headers = shown,
    key = service.key_state(request), complete = false, body = 0,
  }
  request.near = is_loopback(select(2, stream:peername()))
  if not is_own(path) then
    self.ledger:count "requests"
    request.entry.number = self.ledger.totals.requests
    self.ledger:add("requests", request.entry)
  end
  return request
end

-- What to say to a request that came whole.
function server:answer(request)
  if is_own(request.path) and not request.near then -- prompts and addresses of others
    return { status = 403, headers = { ["content-type"] = "application/json" },
      body = ('{"detail":"%s answers clients on this machine only"}'):format(
        request.path == "/_ledger" and "The ledger" or "This path") }
  end
  local ok, answer = protected(self.service.answer, self.service, request)
  if ok then return answer end
  self:fault("answer", answer)
  return { status = 500, headers = {}, body = "Internal Server Error" }
end

function server:exchange(stream)
  correct(stream.connection)
  local headers = read_headers(stream)
  if not headers then return end
  local request = self:begin(stream, headers)
  local entry, answer = request.entry
  if (request.headers.expect or ""):lower() == "100-continue" then
    stream:write_continue(PATIENCE)
  end
  local length = tonumber(request.headers["content-length"])
  local text, size, too_large = read_body(stream, length)
  request.body, entry.body, entry.complete = text, size, text ~= nil
  if text then
    answer = self:answer(request)
  else
    self.ledger:count "incomplete"
    answer = too_large and { status = 413, headers = { connection = "close" }, body = "" }
      or { drop = true }
  end
  entry.status, entry.cut = not answer.drop and answer.status or nil, answer.cut
  write(stream, answer, request.method)
  if entry.body > TURN then collectgarbage() end -- else bodies pile up as garbage
  entry.answered = cqueues.monotime() - self.began
end

-- Life --------------------------------------------------------------------------------------------

local DEFAULTS = {
  host = "127.0.0.1", port = 0, ready_after = 0.5, max_active = 24,
  credits = 1e6, threads = 1, ledger_size = 5000, tls = false, webhook_signature = false,
}

local function complete(options)
  local all = {}
  for name, value in pairs(DEFAULTS) do all[name] = value end
  for name, value in pairs(options) do all[name] = value end
  -- Ids and signatures of links come from the seed: nobody guesses one that was not asked for.
  all.seed = options.seed and tostring(options.seed)
    or encoding.hex(rand.bytes(16))
  -- The time of day, in fractions and never backwards.
  local epoch = os.time() - cqueues.monotime()
  function all.now() return epoch + cqueues.monotime() end
  return all
end

--- Listens, and returns the server: its `url`, and `pem` when it speaks TLS. Nothing is answered
--- until `run`, which is also when SIGINT and SIGTERM are heeded again.
---@param options table as emulator.serve's
---@return table? server, string? message
function server.new(options)
  options = complete(options)
  local self = setmetatable({ began = cqueues.monotime(), connections = 0 }, server)
  self.numbers = setmetatable({}, { __mode = "k" })
  self.ledger = ledger.new(options.ledger_size)
  options.ledger = self.ledger
  options.pictures = pictures.new(options.threads)
  options.webhooks = webhooks.new { ledger = self.ledger, signature = options.webhook_signature }
  self.service = service.new(options)
  self.controller = cqueues.new()
  local context
  if options.tls then context, self.pem = certificate(options.host) end
  local message
  self.http, message = http_server.listen {
    host = options.host, port = options.port, tls = options.tls, ctx = context,
    cq = self.controller, reuseaddr = true,
    connection_setup_timeout = PATIENCE, intra_stream_timeout = IDLE,
    onstream = function(_, stream) self:exchange(stream) end,
    onerror = function(_, _, what, fault) self:fault(what, fault) end,
  }
  if not self.http then return nil, message end
  function self.http.add_socket(http, accepted)
    self.connections = self.connections + 1
    self.ledger:count "connections"
    self.numbers[accepted] = self.connections
    return getmetatable(http).__index.add_socket(http, accepted)
  end
  local ok, why = self.http:listen()
  if not ok then
    return nil, ("cannot listen on %s, port %d: %s"):format(options.host, options.port, why)
  end
  local _, host, port = self.http:localname()
  if host:find(":", 1, true) then host = "[" .. host .. "]" end
  self.near = is_loopback((host:gsub("[%[%]]", "")))
  self.url = ("%s://%s:%d"):format(options.tls and "https" or "http", host, port)
  signal.block(signal.SIGINT, signal.SIGTERM) -- who knows the URL may send one already
  return self
end

-- What goes wrong with one connection is counted and, on demand, shown; the others go on.
function server:fault(what, why)
  self.ledger:count "faults"
  if os.getenv "KONTEXT_EMULATOR_DEBUG" then
    io.stderr:write("emulator: ", tostring(what), ": ", tostring(why), "\n")
  end
end

-- The number of the process that started this one, where /proc shows it.
local function parent()
  local file = io.open "/proc/self/stat"
  local text = file and file:read "*a"
  if file then file:close() end
  return text and text:match "^.*%) %S (%d+)"
end

--- Answers until SIGINT or SIGTERM comes, or the parent has ended where that is asked for.
---@param with_parent boolean?
function server:run(with_parent)
  local stop = signal.listen(signal.SIGINT, signal.SIGTERM)
  local stopped, starter = false, with_parent and parent()
  self.controller:wrap(function()
    stop:wait()
    stopped = true
  end)
  self.controller:wrap(function()
    while starter and parent() == starter do cqueues.sleep(1) end
    if starter then stopped = true end
  end)
  while not stopped do
    local ok, why = self.controller:step()
    if not ok then self:fault("coroutine", why) end
  end
  self.http:close()
end

return server
