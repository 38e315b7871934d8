-- As a configuration of awesome's: the example edits a wallpaper; writes the size of what is hung.
local gears = require "gears"

local out = os.getenv "KONTEXT_OUT"

local hang = gears.wallpaper.maximized
function gears.wallpaper.maximized(surface, ...)
  hang(surface, ...)
  local file = assert(io.open(out .. "/hung", "w"))
  file:write(("%d %d"):format(gears.surface.get_size(surface)))
  file:close()
  awesome.quit()
end

dofile("examples/awesome/wallpaper.lua").edit(out .. "/car.jpg", "Make it snow")
