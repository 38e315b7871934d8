-- lua serve.lua nginx|haproxy: the example's server edits three pictures that curl posts at once.
-- Meanwhile a kept connection asks for something small every 2 ms: its answers are the ticks.
local socket = require "socket"
local report = require "spec.hosts.report"
local server = require "spec.hosts.server"
local support = require "spec.hosts.support"

local out, photo = os.getenv "KONTEXT_OUT", os.getenv "KONTEXT_PHOTO"

local requests = {
  nginx = "'%s/edit?prompt=Picture+%d'",
  haproxy = "%s/edit -H 'x-prompt: Picture %d'",
}

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

local function post_three(url)
  local curls = {}
  for n = 1, 3 do
    curls[n] = ("curl -s --fail-with-body -o %s/%d.jpg --data-binary @%s -H content-type:image "
      .. requests[arg[1]] .. " || echo %d &"):format(out, n, photo, url, n, n)
  end
  return io.popen(table.concat(curls, "\n") .. "\nwait; touch " .. out .. "/done")
end

-- Where Linux counts the time that our thread, and those of a process and its children, were ready
-- to run and not let.
local function counts_of(pid)
  local paths = { "/proc/thread-self/schedstat" }
  local children = support.shell(("cat /proc/%s/task/*/children"):format(pid))
  for each in (pid .. " " .. children):gmatch "%d+" do
    for path in support.shell(("ls /proc/%s/task/*/schedstat"):format(each)):gmatch "/proc/%S+" do
      paths[#paths + 1] = path
    end
  end
  return paths
end

local function kept_waiting(counts)
  local seconds = 0
  for _, path in ipairs(counts) do
    local file = io.open(path)
    seconds = seconds + (file and file:read "l":match "^%d+ (%d+)" or 0) / 1e9
    if file then file:close() end
  end
  return seconds
end

local function run(running)
  local connection = running:connect()
  ping(connection)
  local counts = counts_of(running.pid)
  local posts = post_three(running.url)
  repeat
    local waited, began = kept_waiting(counts), socket.gettime()
    if ping(connection) then
      local took = socket.gettime() - began
      report.took(took, kept_waiting(counts) - waited)
    else
      connection = running:connect()
    end
    socket.sleep(0.002)
    local done = io.open(out .. "/done")
  until done
  report.write(posts:read "a")
end

local running = server.start(arg[1], out)
local ok, problem = pcall(run, running)
running:stop()
assert(ok, problem)
