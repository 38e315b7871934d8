-- The common part of loops with callbacks (uv, GLib, Prosody, mpv): one watcher per client serves
-- all coroutines that wait for it, and wakes only those whose job has ended.
local TICK = 0.01 -- seconds between steps, where a loop cannot watch a descriptor

local watchers = {} -- client → { waiting = coroutines, stop = function }

---@class kontext.CallbackLoop
---@field running fun(): boolean  is the coroutine that asks driven by this loop?
---@field watch nil|fun(descriptor: integer, fn: fun()): fun()  calls `fn` when it is readable
---@field after fun(seconds: number, fn: fun()): fun()  calls `fn` once; both return what stops them
---@field waiter nil|fun(): fun(), fun()  what suspends the running coroutine, and what resumes it

local function waiter()
  local thread = coroutine.running()
  return coroutine.yield, function()
    local ok, problem = coroutine.resume(thread)
    if not ok then error(debug.traceback(thread, tostring(problem)), 0) end
  end
end

-- Raises the error of a program's callback from a callback of its own, because some loops forget a
-- watcher that fails.
local function step(loop, client)
  local done, problem = pcall(client.step, client)
  if not done then loop.after(0, function() error(problem, 0) end) end
end

local function watch(loop, client)
  local watcher = { waiting = 0 }
  local descriptor = loop.watch and client:pollfd()
  if descriptor then
    watcher.stop = loop.watch(descriptor, function() step(loop, client) end)
  else
    local function tick()
      watcher.stop = loop.after(math.min(client:timeout() or TICK, TICK), tick)
      step(loop, client)
    end
    watcher.stop = loop.after(0, tick)
  end
  watchers[client] = watcher
  return watcher
end

--- Makes a loop's adapter of what the loop can do.
---@param loop kontext.CallbackLoop
return function(loop)
  local function wait(client, seconds, job)
    local watcher = watchers[client] or watch(loop, client)
    local suspend, resume = (loop.waiter or waiter)()
    local waiting = true
    watcher.waiting = watcher.waiting + 1

    local function leave()
      waiting = false
      watcher.waiting = watcher.waiting - 1
      if watcher.waiting == 0 then
        watchers[client] = nil
        watcher.stop()
      end
    end

    -- Resumes from the loop and not within step, so that the loop reports an error as for any
    -- callback.
    local function wake()
      if not waiting then return end
      leave()
      loop.after(0, resume)
    end

    client:on_end(job, wake)
    local forget = seconds and loop.after(seconds, wake)
    suspend()
    if waiting then leave() end
    if forget then forget() end
  end

  return { running = loop.running, wait = wait }
end
