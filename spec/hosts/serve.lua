-- lua serve.lua nginx|haproxy: the example's server edits three pictures that curl posts at once.
-- Meanwhile a kept connection asks for something small every 2 ms: its answers are the ticks.
local socket = require "socket"
local report = require "spec.hosts.report"

local out, photo = os.getenv "KONTEXT_OUT", os.getenv "KONTEXT_PHOTO"
local unpack = table.unpack -- luacheck: ignore 143
local examples = os.getenv "PWD" .. "/examples/"

-- The example's configuration and where it says its Lua files are; how to run a copy; how to post.
local servers = {
  nginx = {
    "nginx/nginx.conf", "/etc/nginx/kontext/",
    "nginx -c %s/server.conf -g 'daemon off; user root; pid %s/pid; error_log stderr; "
      .. "env BFL_BASE_URL;'",
    "'http://127.0.0.1:%d/edit?prompt=Picture+%d'",
  },
  haproxy = {
    "haproxy/haproxy.cfg", "/etc/haproxy/",
    "haproxy -db -f %s/server.conf",
    "http://127.0.0.1:%d/edit -H 'x-prompt: Picture %d'",
  },
}

local function free_port()
  local probe = assert(socket.bind("127.0.0.1", 0))
  local _, port = probe:getsockname()
  probe:close()
  return port
end

local config, installed, command, request = unpack(servers[arg[1]])
local port = free_port()

local function configure()
  local file = assert(io.open(examples .. config))
  local text = file:read "a"
  file:close()
  text = text:gsub("127.0.0.1:8080", "127.0.0.1:" .. port)
  text = text:gsub(installed, examples .. arg[1] .. "/")
  file = assert(io.open(out .. "/server.conf", "w"))
  file:write(text)
  file:close()
end

-- The shell tells its number and becomes the server.
local function start()
  local pipe = io.popen("echo $$; exec " .. command:gsub("%%s", out))
  return pipe, pipe:read "l"
end

local function connect()
  for _ = 1, 100 do
    local connection = socket.connect("127.0.0.1", port)
    if connection then
      connection:setoption("tcp-nodelay", true)
      return connection
    end
    socket.sleep(0.05)
  end
  error "the server does not listen"
end

-- Asks once; returns nothing when the server closes the connection, as nginx does after 1000.
local function ping(connection)
  connection:send "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
  local length
  repeat
    local line = connection:receive "*l"
    if not line then return end
    length = line:lower():match "^content%-length: *(%d+)" or length
  until line == ""
  return connection:receive(tonumber(length))
end

local function post_three()
  local curls = {}
  for n = 1, 3 do
    curls[n] = ("curl -s --fail-with-body -o %s/%d.jpg --data-binary @%s -H content-type:image "
      .. request .. " || echo %d &"):format(out, n, photo, port, n, n)
  end
  return io.popen(table.concat(curls, "\n") .. "\nwait; touch " .. out .. "/done")
end

local function run()
  local connection, posts = connect(), post_three()
  repeat
    local began = socket.gettime()
    if ping(connection) then report.took(socket.gettime() - began) else connection = connect() end
    socket.sleep(0.002)
    local done = io.open(out .. "/done")
  until done
  report.write(posts:read "a")
end

configure()
local server, pid = start()
local ok, problem = pcall(run)
os.execute("kill " .. pid)
server:close()
assert(ok, problem)
