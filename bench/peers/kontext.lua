-- kontext.lua URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL [CA_FILE]
-- With $SAVE the pictures go to files of that name instead of into memory.
local kontext = require "kontext"

local url, picture, edits, in_flight, interval, ca_file = (unpack or table.unpack)(arg)
local client = kontext.new { base_url = url, api_key = "bench", max_active = tonumber(in_flight),
  poll_interval = tonumber(interval), ca_file = ca_file }
local save = os.getenv "SAVE"
local jobs = {}

-- Waits for an edit, and looks at its picture no longer.
local function collect(i)
  assert(jobs[i]:wait())
  jobs[i] = false
end

for i = 1, tonumber(edits) do
  jobs[i] = client:edit { prompt = "bench", input_image = picture,
    save_as = save and save .. i .. ".jpg" }
  if in_flight == "1" then collect(i) end
end
if in_flight ~= "1" then
  for i = 1, #jobs do collect(i) end
end
client:close()
