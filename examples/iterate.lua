-- One character through three edits: each starts from the picture that the one before has made,
-- and no file lies in between. A subject that is named stays the same person.
--   lua examples/iterate.lua portrait.jpg step

local kontext = require "kontext"

local input, stem = arg[1], arg[2] or "step"
if not input then error("a picture is needed", 0) end

local steps = {
  "Remove the object from the face of the woman with short black hair",
  "The woman with short black hair is now taking a selfie in the streets of Freiburg",
  "It is now snowing, everything is covered in snow; keep the woman's face as it is",
}

local image
for i, prompt in ipairs(steps) do
  local job = image and image:edit { prompt = prompt }
    or kontext.edit { prompt = prompt, input_image = { path = input } }
  image = assert(job:wait())
  print(assert(image:save(("%s-%d.jpg"):format(stem, i))))
end
