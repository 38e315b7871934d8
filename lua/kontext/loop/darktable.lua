-- darktable: sleeping lets its other Lua code, and its window, go on.
local TICK = 10 -- milliseconds

return {
  running = function() return package.loaded.darktable ~= nil end,
  wait = function(client)
    package.loaded.darktable.control.sleep(TICK)
    client:step()
  end,
}
