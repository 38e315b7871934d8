-- calls.lua URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL [CA_FILE]: how long the calls are that a
-- host's loop makes, in microseconds by the wall's clock and by the CPU's, which other programs do
-- not disturb: p99, p99.9, longest. Then the longest cancel, and how many calls there were.
local kontext = require "kontext"
local core = require "kontext.core"

local url, picture, edits, in_flight, interval, ca_file = table.unpack(arg)
local client = kontext.new { base_url = url, api_key = "bench", max_active = tonumber(in_flight),
  poll_interval = tonumber(interval), ca_file = ca_file }
local wall, cpu = {}, {}

local function timed(fn, ...)
  local from, used = core.now(), os.clock()
  local result = fn(...)
  cpu[#cpu + 1], wall[#wall + 1] = os.clock() - used, core.now() - from
  return result
end

-- Waits for the descriptor as a host's loop does.
local function wait_readable()
  client:pollfd()
  client.transport.engine:wait(core.now() + 1)
end

local jobs = {}
for i = 1, tonumber(edits) do
  jobs[i] = timed(client.edit, client, { prompt = "bench", input_image = picture })
end
while timed(client.step, client) > 0 do wait_readable() end
for _, job in ipairs(jobs) do assert(job:wait()) end

local cancels = {}
for i = 1, 50 do
  local job = client:edit { prompt = "bench", input_image = picture }
  for _ = 1, 3 do client:step() end
  local used = os.clock()
  job:cancel()
  cancels[i] = os.clock() - used
end

local function write(name, list)
  table.sort(list)
  for _, share in ipairs { 0.5, 0.99, 0.999, 1 } do
    io.write((" %s_%g=%.0f"):format(name, share * 1000, list[math.ceil(#list * share)] * 1e6))
  end
end

local count = #cpu
write("cpu", cpu)
write("wall", wall)
write("cancel", cancels)
print(" calls=" .. count)
client:close()
