-- copas: its loop asks luasocket's select about objects with `getfd` and `dirty`. One of ours has
-- the client's descriptor, and steps the client. Those that wait have none until their job has
-- ended; then they are "dirty", which select reports at once.
local core = require "kontext.core"

local drivers = {} -- client → { waiting = coroutines }

local function ignore() end -- copas closes what woke a coroutine that has finished

-- Suspends the running coroutine until `ready()`, which is asked when select finds the object
-- ready.
local function receive(object, ready)
  object.close, object.settimeout = ignore, ignore
  object.receive = function()
    if ready() then return true end
    return nil, "timeout"
  end
  return package.loaded.copas.receive(object)
end

-- Raises a callback's error in a thread of its own, so that the waiting ones are still stepped.
local function step(client)
  local done, problem = pcall(client.step, client)
  if not done then package.loaded.copas.addthread(function() error(problem, 0) end) end
end

local function drive(client, driver, descriptor)
  local function idle() return driver.waiting == 0 end
  receive({ getfd = function() return descriptor end, dirty = idle }, function()
    if not idle() then step(client) end
    return idle()
  end)
end

local function wait(client, seconds, job)
  local descriptor = client:getfd()
  if not descriptor then return client:poll(seconds or 1) end -- select has nothing to watch

  local deadline = seconds and core.now() + seconds
  local ended = false
  client:on_end(job, function() ended = true end)
  local function woken() return ended or (deadline ~= nil and core.now() >= deadline) end

  local driver = drivers[client] or { waiting = 0 }
  drivers[client] = driver
  driver.waiting = driver.waiting + 1
  if driver.waiting == 1 then
    package.loaded.copas.addthread(function() drive(client, driver, descriptor) end)
  end
  receive({ getfd = function() return woken() and descriptor or -1 end, dirty = woken }, woken)
  driver.waiting = driver.waiting - 1
  if driver.waiting == 0 then drivers[client] = nil end
end

return {
  running = function()
    local copas = package.loaded.copas
    return copas ~= nil and copas.running ~= false -- older ones do not tell
  end,
  wait = wait,
}
