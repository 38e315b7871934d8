-- Replaces a text in a picture; quotation marks in either text are minded.
--   lua examples/text.lua sign.jpg "joy" "BFL" sign-bfl.jpg

local kontext = require "kontext"

local input, old, new, output = arg[1], arg[2], arg[3], arg[4] or "text.jpg"
if not new then error("a picture, the old text and the new one are needed", 0) end

local prompt = kontext.replace_text(old, new)
print(prompt)
local image = assert(kontext.edit { prompt = prompt, input_image = { path = input } }:wait())
print(assert(image:save(output)))
