-- The examples' servers, each with its example's configuration, on a port of ours.
local socket = require "socket"
local support = require "spec.hosts.support"

local server = {}
server.__index = server

-- The example's configuration, where it says that its Lua files are, and how to run a copy.
local servers = {
  nginx = {
    "nginx/nginx.conf", "/etc/nginx/kontext/",
    "nginx -c %s/server.conf -g 'daemon off; user root; pid %s/pid; error_log stderr; "
      .. "env BFL_BASE_URL;'",
  },
  haproxy = { "haproxy/haproxy.cfg", "/etc/haproxy/", "haproxy -db -f %s/server.conf" },
}

local function configure(self, config, installed)
  local examples = support.root .. "/examples/"
  local file = assert(io.open(examples .. config))
  local text = file:read "a"
  file:close()
  text = text:gsub("127.0.0.1:8080", "127.0.0.1:" .. self.port)
  text = text:gsub(installed, examples .. config:match "^.*/")
  file = assert(io.open(self.out .. "/server.conf", "w"))
  file:write(text)
  file:close()
end

--- Connects to the server, once it listens.
function server:connect()
  for _ = 1, 100 do
    local connection = socket.connect("127.0.0.1", self.port)
    if connection then
      connection:setoption("tcp-nodelay", true)
      return connection
    end
    socket.sleep(0.05)
  end
  error "the server does not listen"
end

--- Ends the server.
function server:stop()
  os.execute("kill " .. self.pid)
  self.pipe:close()
end

--- Starts "nginx" or "haproxy" with its files in the folder `out`; `url` is its address.
---@param name string
---@param out string
---@return table
function server.start(name, out)
  local self = setmetatable({ out = out, port = support.free_port() }, server)
  local command = servers[name][3]:gsub("%%s", out)
  configure(self, servers[name][1], servers[name][2])
  self.url = "http://127.0.0.1:" .. self.port
  -- The shell tells its number and becomes the server.
  self.pipe = assert(io.popen("echo $$; exec " .. command))
  self.pid = self.pipe:read "l"
  return self
end

return server
