-- Two chains of edits side by side in coroutines, written as if each were alone. In a coroutine
-- `wait` gives way to the others; kontext.run ends when all have ended.
--   lua examples/coroutine.lua car.jpg .

local kontext = require "kontext"

local input, folder = arg[1], arg[2] or "."
if not input then error("a picture is needed", 0) end

local function chain(name, first, second)
  local image = assert(kontext.edit { prompt = first, input_image = { path = input } }:wait())
  print(name, "is half done")
  image = assert(image:edit { prompt = second }:wait())
  print(name, assert(image:save(("%s/%s.jpg"):format(folder, name))))
end

assert(kontext.run(
  function() chain("winter", "It is now snowing", "Turn the day into night") end,
  function() chain("summer", "It is a bright summer day", "Add a hot-air balloon to the sky") end
))
