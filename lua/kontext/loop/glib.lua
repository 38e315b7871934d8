-- GLib's main loop through lgi: awesome, GTK programs.
local callbacks = require "kontext.loop.callbacks"

local function glib() return package.loaded.lgi.GLib end

-- GLib complains when a source is removed that has gone.
local function remover(source)
  return function()
    if source.id then glib().source_remove(source.id) end
    source.id = nil
  end
end

local function watch(descriptor, fn)
  local GLib = glib()
  local channel = GLib.IOChannel.unix_new(descriptor)
  local source = {}
  source.id = GLib.io_add_watch(channel, GLib.PRIORITY_DEFAULT, GLib.IOCondition.IN, function()
    fn()
    return source.id ~= nil
  end)
  return remover(source)
end

local function after(seconds, fn)
  local GLib = glib()
  local source = {}
  source.id = GLib.timeout_add(GLib.PRIORITY_DEFAULT, math.ceil(seconds * 1000), function()
    source.id = nil
    fn()
    return false
  end)
  return remover(source)
end

return callbacks {
  running = function() return package.loaded.lgi ~= nil end,
  watch = watch,
  after = after,
}
