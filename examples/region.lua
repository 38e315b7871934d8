-- Changes one part of a photograph, and nothing else in it.
--   lua examples/region.lua car.jpg "Make the door red" 25%,40%,20%,30% car-door.jpg

local kontext = require "kontext"

local input, prompt, region, output = arg[1], arg[2], arg[3], arg[4]
if not region then error("a picture, a prompt and a region X,Y,W,H are needed", 0) end

local plan = assert(kontext.region({ path = input }, region))
print(("sent: %d x %d pixels at %d, %d, at %.0f %% of their size"):format(plan.window.width,
  plan.window.height, plan.window.x, plan.window.y, plan.scale * 100))

local job = kontext.edit {
  prompt = prompt,
  input_image = { path = input },
  region = region,
  save_as = output,
}
local image = assert(job:wait())

for _, warning in ipairs(job.warnings or {}) do print("warning: " .. warning) end
print(("%s: %d x %d, match %s"):format(image.path or "in memory", image.width, image.height,
  image.match and ("%.2f"):format(image.match) or "unknown, for want of a margin"))
