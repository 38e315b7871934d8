-- mpv: its scripts have timers and no descriptors.
local callbacks = require "kontext.loop.callbacks"

local function mpv() return rawget(_G, "mp") end

return callbacks {
  running = function() return mpv() ~= nil and mpv().add_timeout ~= nil end,
  after = function(seconds, fn)
    local timer = mpv().add_timeout(seconds, fn)
    return function() timer:kill() end
  end,
}
