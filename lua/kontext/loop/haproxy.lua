-- HAProxy: a task, action or service sleeps, then steps.
local TICK = 5 -- milliseconds

return {
  running = function()
    local core = rawget(_G, "core")
    return core ~= nil and core.msleep ~= nil and core.register_service ~= nil
  end,
  wait = function(client, seconds)
    rawget(_G, "core").msleep(math.max(1, math.min(math.ceil((seconds or 1) * 1000), TICK)))
    client:step()
  end,
}
