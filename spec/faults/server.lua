-- A server that says exactly what its script says, when it says it, and keeps a ledger of all it
-- was sent. A script is a function of a connection: it reads requests and writes bytes.

local cqueues = require "cqueues"
local wire = require "faults.wire"

local server = {}

local Conn = {}
Conn.__index = Conn

local CAP = 65536 -- what the ledger keeps of a request, at most

--- Reads one request to its end, or as far as it comes. Returns its entry in the ledger, or nil
--- when nothing came: {method, target, head, headers (lower case), length, got (body bytes),
--- body (the first 64 KiB), complete, connection}. What does not parse has no `method`.
--- `pace(entry)`, if given, is called before each read of the body: sleep there to be slow.
function Conn:request(timeout, pace)
  local entry
  local function more()
    local bytes = self.wire:read(65536, timeout or 30)
    if bytes and not entry then
      entry = { head = "", headers = {}, got = 0, body = "", complete = false,
                connection = self.number, at = cqueues.monotime() }
      self.ledger[#self.ledger + 1] = entry
    end
    return bytes
  end
  local buffer, stop = self.rest or "", nil
  self.rest = nil
  repeat
    local bytes
    if #buffer == 0 or not stop then
      stop = buffer:find("\r\n\r\n", 1, true)
      if stop then break end
      bytes = more()
    end
    buffer = buffer .. (bytes or "")
    if entry then entry.head = buffer:sub(1, CAP) end
  until not bytes or #buffer > CAP
  if not stop then return entry end
  if not entry then -- a second request that came with the first
    entry = { got = 0, connection = self.number, at = cqueues.monotime(), complete = false }
    self.ledger[#self.ledger + 1] = entry
  end
  entry.head, entry.headers = buffer:sub(1, stop + 3), {}
  entry.method, entry.target = entry.head:match "^(%u+) (%S+) HTTP/1%.[01]\r\n"
  for name, value in entry.head:gmatch "\r\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    entry.headers[name:lower()] = value
  end
  local body = buffer:sub(stop + 4)
  entry.length = tonumber(entry.headers["content-length"]) or 0
  entry.got, entry.body = #body, body
  while entry.got < entry.length do
    if pace then pace(entry) end
    local bytes = more()
    if not bytes then return entry end
    entry.got = entry.got + #bytes
    if #entry.body < CAP then entry.body = (entry.body .. bytes):sub(1, CAP) end
    entry.tail = bytes:sub(-64)
  end
  entry.complete = true
  if entry.got > entry.length then
    self.rest = body:sub(entry.length + 1)
    entry.body, entry.got = body:sub(1, entry.length), entry.length
  end
  return entry
end

--- Sends bytes; returns true, or nil and why.
function Conn:send(...) return self.wire:write(table.concat { ... }) end

--- Sends one whole answer; `headers` is a list of lines.
function Conn:answer(status, headers, body)
  return self:send("HTTP/1.1 ", status, "\r\n", table.concat(headers, "\r\n"),
                   #headers > 0 and "\r\n" or "", "Content-Length: ", #body, "\r\n\r\n", body)
end

function Conn:finish() return self.wire:finish() end
function Conn:reset() return self.wire:reset() end

--- Starts a server in `loop`. options: `tls` (an openssl context), `host`, `port`,
--- `receive_buffer`. Returns {port, accepted, handshakes, ledger, close()}.
function server.start(loop, script, options)
  options = options or {}
  local self
  self = wire.listen(loop, function(raw, number)
    if options.tls then
      if not raw:starttls(options.tls) then return end
      self.handshakes = self.handshakes + 1
    end
    script(setmetatable({ wire = raw, number = number, ledger = self.ledger, server = self }, Conn))
  end, options)
  self.handshakes, self.ledger = 0, {}
  return self
end

--- How many of a ledger's entries `match(entry)` holds for.
function server.count(ledger, match)
  local n = 0
  for _, entry in ipairs(ledger) do
    if match(entry) then n = n + 1 end
  end
  return n
end

--- The paid submits that arrived whole.
function server.submits(ledger)
  return server.count(ledger, function(e) return e.method == "POST" and e.complete end)
end

return server
