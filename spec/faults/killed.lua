-- A batch over a journal, to be killed at any moment and run again. Arguments: base URL, key,
-- journal, folder for pictures, image, how many, how many at once, and "tree" where edit N takes
-- the result of edit N // 2. One line for each result, then "end".

local canary = require "faults.canary"
local kontext = require "kontext"

local base, key, journal, folder, image, count = arg[1], arg[2], arg[3], arg[4], arg[5], arg[6]
local client = kontext.new { base_url = base, api_key = key, poll_interval = 0.01, timeout = 20,
                             journal = journal }
local list = {}
for i = 1, tonumber(count) do
  local source = arg[8] == "tree" and i > 1 and { result = "edit " .. i // 2 } or image
  list[i] = { key = "edit " .. i, prompt = "edit " .. i, input_image = source,
              output_format = "png", webhook_secret = canary.secret,
              save_as = ("%s/%d.png"):format(folder, i) }
end
for result in client:batch(list, { max_active = tonumber(arg[7]) }):results() do
  local err = result.error
  io.stdout:write(result.index, "\t", err and err.kind or "saved", "\t",
    err and err.job_id and err.polling_url and "recoverable" or "-", "\t",
    err and tostring(err):gsub("%s", " ") or result.saved, "\n"):flush()
end
print "end"
