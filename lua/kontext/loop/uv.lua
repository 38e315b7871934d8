-- libuv: luv, and Neovim's vim.uv (vim.loop before 0.10).
local callbacks = require "kontext.loop.callbacks"

local function host()
  local vim = rawget(_G, "vim")
  local uv = vim and (vim.uv or vim.loop)
  if uv then return uv, vim.schedule end
  return package.loaded.luv
end

-- Neovim's API may not be called from a libuv callback: there the callback is scheduled, and the
-- handle rests until it has run.
local function watch(descriptor, fn)
  local uv, schedule = host()
  local handle = uv.new_poll(descriptor)
  local start
  local function scheduled()
    if handle then
      start()
      fn()
    end
  end
  function start()
    handle:start("r", not schedule and fn or function()
      handle:stop()
      schedule(scheduled)
    end)
  end
  start()
  return function()
    handle:close()
    handle = nil
  end
end

local function after(seconds, fn)
  local uv, schedule = host()
  local timer = uv.new_timer()
  local function stop()
    if timer then timer:close() end
    timer = nil
  end
  timer:start(math.ceil(seconds * 1000), 0, function()
    stop()
    if schedule then schedule(fn) else fn() end
  end)
  return stop
end

return callbacks {
  running = function() return host() ~= nil end,
  watch = watch,
  after = after,
}
