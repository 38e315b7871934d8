-- Edits one picture, and tells how far it is.
--   lua examples/edit.lua car.jpg "Change the car color to red" red-car.jpg

local kontext = require "kontext"

local input, prompt, output = arg[1], arg[2], arg[3] or "edited.jpg"
if not prompt then error("a picture and a prompt are needed", 0) end

local image = assert(kontext.edit {
  prompt = prompt,
  input_image = { path = input }, -- exactly a path, whatever the text looks like
  save_as = output, -- the old file stays whole until the new one is
  on_progress = function(job)
    local percent = job.progress and (" %d %%"):format(job.progress * 100) or ""
    print(job.status .. percent)
  end,
}:wait())

print(("%s: %d x %d, seed %s"):format(output, image.width, image.height, image.seed or "not told"))
