-- queued.lua URL PICTURE JOBS: what jobs cost that wait for a slot: bytes of Lua's memory and of
-- the process for each; in microseconds of CPU the longest edit, the median step and the longest.
local kontext = require "kontext"
local core = require "kontext.core"

local url, picture, count = arg[1], arg[2], tonumber(arg[3])
local client = kontext.new { base_url = url, api_key = "bench", max_active = 1, poll_interval = 60 }

local function resident()
  for line in io.lines "/proc/self/status" do
    local kib = line:match "^VmRSS:%s*(%d+)"
    if kib then return kib * 1024 end
  end
end

-- Returns what a call takes.
local function timed(fn, ...)
  local from = os.clock()
  fn(...)
  return (os.clock() - from) * 1e6
end

client:edit { prompt = "bench", input_image = picture } -- takes the slot
for _ = 1, 100 do
  client.transport.engine:wait(core.now() + 0.002)
  client:step()
end
collectgarbage()
collectgarbage()
local lua, process = collectgarbage "count", resident()
local longest_edit, steps = 0, {}
for _ = 1, count do -- the client keeps them
  longest_edit = math.max(longest_edit,
    timed(client.edit, client, { prompt = "bench", input_image = picture }))
end
for i = 1, 2000 do steps[i] = timed(client.step, client) end
table.sort(steps)
collectgarbage()
collectgarbage()
print(("jobs=%d lua=%.0f process=%.0f edit=%.0f step=%.1f longest=%.0f"):format(count,
  (collectgarbage "count" - lua) * 1024 / count, math.max(0, resident() - process) / count,
  longest_edit, steps[1000], steps[2000]))
client:close()
