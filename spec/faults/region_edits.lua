-- What a process of P1 does, asked for in one JSON line each: an edit of a region over an emulator,
-- and what it took of the processor and of memory at its peak.
--
-- A request: { id, base, wanted = the edit's parameters }

local cjson = require "cjson"
local kontext = require "kontext"

-- Kilobytes that a line of this process' status tells.
local function memory(name)
  local file = io.open "/proc/self/status"
  if not file then return 0 end
  local text = file:read "a"
  file:close()
  return tonumber(text:match("\n" .. name .. ":%s*(%d+)")) or 0
end

local function forget_peak()
  local file = io.open("/proc/self/clear_refs", "w")
  if not file then return end
  file:write "5"
  file:close()
end

local clients = {}

for line in io.lines() do
  local request = cjson.decode(line)
  local base = request.base
  clients[base] = clients[base] or kontext.new { base_url = base, api_key = "a-key",
    poll_interval = 0.05, timeout = 600 }
  collectgarbage()
  forget_peak()
  local begun = os.clock()
  local job = clients[base]:edit(request.wanted)
  local image, message = job:wait()
  local outcome = { id = request.id, cpu = os.clock() - begun, peak = memory "VmHWM",
    message = message, warnings = job.warnings }
  if image then
    outcome.match, outcome.shift, outcome.path = image.match, image.shift, image.path
    outcome.region, outcome.window = image.region, image.window
  end
  print(cjson.encode(outcome))
  io.stdout:flush()
end
