-- Beside examples/mpv/kontext.lua: asks it for an edit, and writes what mpv then shows.
local mp = require "mp"

local out = os.getenv "KONTEXT_OUT"

mp.add_timeout(1, function() mp.commandv("script-message", "kontext", "Make it snow") end)
mp.add_timeout(20, function() mp.commandv "quit" end)

mp.add_periodic_timer(0.05, function()
  local track = mp.get_property_native "current-tracks/video"
  if not (track and track.title) then return end
  local file = assert(io.open(out .. "/shown", "w"))
  file:write(("%s %d %d"):format(track.title, track["demux-w"], track["demux-h"]))
  file:close()
  mp.commandv "quit"
end)
