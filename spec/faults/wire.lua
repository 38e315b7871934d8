-- Connections of the fault programs: sockets without buffers, so that what is sent is what was
-- said, byte for byte; a close that is a FIN, or a RST. Everything runs in a cqueues controller.

local cqueues = require "cqueues"
local errno = require "cqueues.errno"
local socket = require "cqueues.socket"
local sys = require "faults.sys"

local Wire = {}
Wire.__index = Wire

local wire = {}

local function named(code) return errno[code] or tostring(code) end

local function wrap(sock)
  sock:setmode("bn", "bn")
  -- Errors come back as values: a broken connection is what these programs are about.
  sock:onerror(function(_, _, code) return code end)
  return setmetatable({ sock = sock, received = 0, sent = 0 }, Wire)
end

--- Reads what has arrived, at most `limit` bytes; waits for at least one, `timeout` seconds long.
--- Returns the bytes; or nil and "eof", "timeout", "closed" (by another coroutine of ours), or an
--- errno's name.
function Wire:read(limit, timeout)
  local deadline = timeout and cqueues.monotime() + timeout
  while self.sock do
    local bytes, code = self.sock:recv(-(limit or 65536), "bn")
    if bytes then
      self.received = self.received + #bytes
      return bytes
    elseif code ~= errno.EAGAIN then
      return nil, (code == nil or code == errno.EPIPE) and "eof" or named(code)
    end
    local left = deadline and deadline - cqueues.monotime()
    if left and left <= 0 then return nil, "timeout" end
    local readable = { pollfd = self.sock:pollfd(), events = "r" }
    if left then cqueues.poll(readable, left) else cqueues.poll(readable) end
  end
  return nil, "closed"
end

--- Writes all of `bytes`; returns true, or nil and why.
function Wire:write(bytes, timeout)
  if not self.sock then return nil, "closed" end
  local fine, ok, code = pcall(self.sock.xwrite, self.sock, bytes, "bn", timeout)
  if not fine then return nil, "closed" end
  if not ok then return nil, named(code) end
  self.sent = self.sent + #bytes
  return true
end

--- Waits until the peer's kernel has all that was written, so that a reset does not overtake it.
function Wire:settle()
  local deadline = cqueues.monotime() + 1
  while self.sock and (sys.unsent(self.sock:pollfd()) or 0) > 0 and cqueues.monotime() < deadline do
    cqueues.sleep(0.0005)
  end
end

--- Ends our half: the peer reads to its end.
function Wire:finish()
  if self.sock then self.sock:shutdown "w" end
end

--- Closes; without `reset`, orderly, as far as nothing unread is left.
function Wire:close()
  local sock = self.sock
  self.sock = nil
  if not sock then return end
  -- A reader wakes up and looks away before it is gone: the loop cannot bear that two coroutines,
  -- a reader and a writer, watch a descriptor that is closed.
  cqueues.cancel(sock:pollfd())
  cqueues.sleep(0)
  sock:close()
end

--- Closes with a RST.
function Wire:reset()
  if self.sock then self:settle() end
  if self.sock then sys.linger(self.sock:pollfd()) end
  self:close()
end

--- Makes the connection TLS. Returns true, or nil and why.
function Wire:starttls(context, timeout)
  if not self.sock then return nil, "closed" end
  local fine, ok, code = pcall(self.sock.starttls, self.sock, context, timeout or 5)
  if fine and ok then return true end
  return nil, fine and named(code) or "closed"
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
    local open = {}
    for conn in pairs(self.open) do open[#open + 1] = conn end
    for _, conn in ipairs(open) do conn:reset() end
  end
end

return wire
