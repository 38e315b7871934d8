-- Twenty edits at once: the same picture and prompt with twenty seeds. The client keeps as many
-- tasks active as the service allows; one failure does not end the others.
--   lua examples/many.lua car.jpg "Change the car color to red" .

local kontext = require "kontext"

local input, prompt, folder = arg[1], arg[2], arg[3] or "."
if not prompt then error("a picture and a prompt are needed", 0) end

local client = kontext.new { timeout = 120 }
local jobs = {}
for seed = 1, 20 do
  jobs[seed] = client:edit {
    prompt = prompt,
    input_image = { path = input },
    seed = seed,
    save_as = ("%s/seed-%02d.jpg"):format(folder, seed),
  }
end

local made = 0
for seed, job in ipairs(jobs) do -- waiting for one drives them all
  local image, message = job:wait()
  if image then made = made + 1 else print(("seed %d: %s"):format(seed, message)) end
end
client:close()
print(("%d of %d made"):format(made, #jobs))
