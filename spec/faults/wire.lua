-- Connections of the fault programs: sockets without buffers, so that what is sent is what was
-- said, byte for byte; a close that is a FIN, or a RST. Everything runs in a cqueues controller.

local cqueues = require "cqueues"
local errno = require "cqueues.errno"
local socket = require "cqueues.socket"
local sys = require "faults.sys"

local Wire = {}
Wire.__index = Wire

local wire = {}

-- Calls a socket's method; a socket that was closed meanwhile gives nil, "closed".
local function call(sock, method, ...)
  if not sock then return nil, "closed" end
  local fine, value, code = pcall(sock[method], sock, ...)
  if not fine then return nil, "closed" end
  if value then return value end
  if code == nil then return nil, "eof" end
  return nil, errno[code] or tostring(code)
end

local function wrap(sock)
  sock:setmode("bn", "bn")
  -- Errors come back as values: a broken connection is what these programs are about.
  sock:onerror(function(_, _, code) return code end)
  return setmetatable({ sock = sock, received = 0, sent = 0 }, Wire)
end

--- Reads what has arrived, at most `limit` bytes; waits for at least one, `timeout` seconds long.
--- Returns the bytes; or nil and "eof", "closed" or an errno's name.
function Wire:read(limit, timeout)
  local bytes, why = call(self.sock, "xread", -(limit or 65536), "bn", timeout)
  if bytes then
    self.received = self.received + #bytes
    return bytes
  end
  if self.sock then self.sock:clearerr("r") end
  return nil, why
end

--- Writes all of `bytes`; returns true, or nil and an errno's name.
function Wire:write(bytes, timeout)
  local ok, why = call(self.sock, "xwrite", bytes, "bn", timeout)
  if ok then
    self.sent = self.sent + #bytes
    return true
  end
  if self.sock then self.sock:clearerr("w") end
  return nil, why
end

--- Waits until the peer's kernel has all that was written, so that a reset does not overtake it.
function Wire:settle()
  local deadline = cqueues.monotime() + 1
  while self.sock and (sys.unsent(self.sock:pollfd()) or 0) > 0 and cqueues.monotime() < deadline do
    cqueues.sleep(0.0005)
  end
end

--- Ends our half: the peer reads to its end.
function Wire:finish() return call(self.sock, "shutdown", "w") end

--- Closes; without `reset`, orderly, as far as nothing unread is left.
function Wire:close()
  if self.sock then self.sock:close() end
  self.sock = nil
end

--- Closes with a RST.
function Wire:reset()
  if self.sock then self:settle() end
  if self.sock then sys.linger(self.sock:pollfd()) end
  self:close()
end

--- Makes the connection TLS. Returns true, or nil and why.
function Wire:starttls(context, timeout)
  return call(self.sock, "starttls", context, timeout or 5)
end

--- Connects to a port on loopback; returns a wire, or nil and why.
function wire.connect(port, host)
  local sock = socket.connect { host = host or "127.0.0.1", port = port, nodelay = true }
  local made = wrap(sock)
  local ok, code = sock:connect(5)
  if not ok then
    made:close()
    return nil, errno[code] or tostring(code)
  end
  return made
end

local Listener = {}
Listener.__index = Listener

--- Listens on a free port of loopback and runs `serve(wire, number)` in a coroutine of `loop` for
--- each connection. options: host, port, receive_buffer (bytes, inherited by connections).
function wire.listen(loop, serve, options)
  options = options or {}
  local sock = assert(socket.listen { host = options.host or "127.0.0.1",
                                      port = options.port or 0, nodelay = true })
  sock:onerror(function(_, _, code) return code end)
  if options.receive_buffer then
    assert(sock:listen())
    assert(sys.receive_buffer(sock:pollfd(), options.receive_buffer))
  end
  assert(sock:listen())
  local _, host, port = sock:localname()
  local self = setmetatable({ sock = sock, host = host, port = port, accepted = 0, open = {} },
                            Listener)
  loop:wrap(function()
    while self.sock do
      local fine, got = pcall(sock.accept, sock, { nodelay = true })
      if not fine then break end -- closed while it waited
      if not got then
        cqueues.sleep(0.01)
      else
        self.accepted = self.accepted + 1
        local number, conn = self.accepted, wrap(got)
        self.open[conn] = true
        loop:wrap(function()
          local ok, why = xpcall(serve, debug.traceback, conn, number)
          self.open[conn] = nil
          conn:close()
          if not ok then io.stderr:write(why, "\n") end
        end)
      end
    end
  end)
  return self
end

--- Refuses connections from now on; `all` resets the open ones too.
function Listener:close(all)
  local sock = self.sock
  self.sock = nil
  if sock then
    cqueues.cancel(sock:pollfd())
    sock:close()
  end
  if all then
    for conn in pairs(self.open) do
      if conn.sock then cqueues.cancel(conn.sock:pollfd()) end
      conn:reset()
    end
  end
end

return wire
