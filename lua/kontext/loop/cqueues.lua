-- cqueues: the client speaks its duck protocol (pollfd, events, timeout). One coroutine steps a
-- client while others wait, each on a condition of its own.
-- Each controller has its own driver: another may be nested in it, or never be stepped again.
-- controller → client → { waiting = coroutines, idle = condition }
local controllers = setmetatable({}, { __mode = "k" })

-- Raises a callback's error in a coroutine of its own, which ends cq:loop; waiting ones still run.
local function step(cqueues, client)
  local done, problem = pcall(client.step, client)
  if not done then cqueues.running():wrap(error, problem, 0) end
end

local function drive(client, driver)
  while driver.waiting > 0 do
    package.loaded.cqueues.poll(client, driver.idle)
    if driver.waiting > 0 then step(package.loaded.cqueues, client) end
  end
end

local function join(client)
  local controller = package.loaded.cqueues.running()
  local drivers = controllers[controller] or {}
  controllers[controller] = drivers
  local driver = drivers[client]
  if not driver then
    driver = { waiting = 0, idle = require("cqueues.condition").new(), fd = client:pollfd(),
               drivers = drivers }
    drivers[client] = driver
    controller:wrap(drive, client, driver)
  end
  driver.waiting = driver.waiting + 1
  return driver
end

-- The descriptor is given back at once: it may be closed, and its number used for another.
local function leave(client, driver)
  driver.waiting = driver.waiting - 1
  if driver.waiting > 0 then return end
  driver.drivers[client] = nil
  if driver.fd then package.loaded.cqueues.cancel(driver.fd) end
  driver.idle:signal()
end

local function wait(client, seconds, job)
  local ended = require("cqueues.condition").new()
  local driver = join(client)
  client:on_end(job, function()
    if ended then
      leave(client, driver)
      ended:signal()
      ended = nil
    end
  end)
  ended:wait(seconds)
  if ended then leave(client, driver) end
  ended = nil
end

return {
  running = function()
    local cqueues = package.loaded.cqueues
    return cqueues ~= nil and cqueues.running() ~= nil
  end,
  wait = wait,
}
