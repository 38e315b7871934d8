-- What stands between workers and their database and cuts connections, for campaign D1:
--   lua5.4 spec/scale/proxy.lua TARGET_PORT SECONDS SEED
-- It prints its port. For SECONDS each connection ends after a while, in one of three ways: at
-- once; after a second in which the database's answers are swallowed, so that nobody learns of a
-- commit; after three seconds in which nothing passes.
local cqueues = require "cqueues"
local socket = require "cqueues.socket"

local target, seconds = tonumber(arg[1]), tonumber(arg[2])
math.randomseed(tonumber(arg[3]))
local calm = cqueues.monotime() + seconds
local ways = { "at once", "unheard", "silent" }

local function quiet(connection)
  connection:setmode("b", "bn")
  connection:onerror(function(_, _, code) return code end)
end

local function serve(client, loop)
  local server = socket.connect("127.0.0.1", target)
  quiet(client)
  quiet(server)
  local over, lost
  local way = ways[math.random(#ways)]
  local cut_at = cqueues.monotime() + 2 + 20 * math.random()
  local function pass(from, to, is_answer)
    while not over do
      local bytes = from:read(-65536)
      while bytes and lost == "silent" and not over do cqueues.sleep(0.05) end
      if not bytes or over then break end
      if not (is_answer and lost) and not to:write(bytes) then break end
    end
    over = true
  end
  loop:wrap(pass, client, server, false)
  loop:wrap(pass, server, client, true)
  while not over do
    cqueues.sleep(0.1)
    local now = cqueues.monotime()
    if now >= cut_at and cut_at < calm then
      lost = way
      cqueues.sleep(way == "unheard" and 1 or way == "silent" and 3 or 0)
      over = true
    end
  end
  for _, connection in ipairs { client, server } do
    pcall(connection.shutdown, connection, "rw")
    local fd = connection:pollfd()
    if fd then cqueues.cancel(fd) end
    connection:close()
  end
end

local loop = cqueues.new()
local listener = socket.listen("127.0.0.1", 0)
listener:listen()
print((select(3, listener:localname())))
io.stdout:flush()
loop:wrap(function()
  for client in listener:clients() do loop:wrap(serve, client, loop) end
end)
while true do
  local done, problem = loop:loop() -- a connection's trouble is its own
  if not done then io.stderr:write(tostring(problem), "\n") end
end
