-- Starts an edit, drives it for a while, says so, and closes its Lua state in the middle of it.
-- Arguments: base URL, key, picture, seconds, certificate bundle or "".

local canary = require "faults.canary"
local core = require "kontext.core"
local kontext = require "kontext"

local base, key, image, seconds, bundle = arg[1], arg[2], arg[3], tonumber(arg[4]), arg[5]
local client = kontext.new { base_url = base, api_key = key, poll_interval = 0.02,
                             ca_file = bundle ~= "" and bundle or nil }
local job = client:edit { prompt = "case", input_image = image, output_format = "png",
                           webhook_secret = canary.secret }
local stop = core.now() + seconds
while core.now() < stop do client:poll(stop - core.now()) end
io.stdout:write(job.status, "\n"):flush()
os.exit(0, true)
