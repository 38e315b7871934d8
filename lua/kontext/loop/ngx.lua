-- OpenResty, and nginx with its Lua module: a light thread sleeps, then steps.
local TICK = 0.005
local sleeps = { rewrite = true, access = true, content = true, timer = true, ssl_cert = true }

return {
  running = function()
    local ngx = rawget(_G, "ngx")
    return ngx ~= nil and ngx.get_phase ~= nil and sleeps[ngx.get_phase()] == true
  end,
  wait = function(client, seconds)
    rawget(_G, "ngx").sleep(math.min(seconds or TICK, TICK))
    client:step()
  end,
}
