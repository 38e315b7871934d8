-- awesome: changes the wallpaper with words. In rc.lua:
--   local wallpaper = require "wallpaper"
--   awful.key({ modkey }, "e", function() wallpaper.ask(beautiful.wallpaper) end)
local awful = require "awful"
local gears = require "gears"
local naughty = require "naughty"
local kontext = require "kontext"

local wallpaper = {}

--- Edits a picture's file and hangs the result on every screen; awesome goes on meanwhile.
function wallpaper.edit(path, prompt)
  coroutine.wrap(function()
    local image, message = kontext.edit {
      prompt = prompt,
      input_image = { path = path },
      save_as = gears.filesystem.get_cache_dir() .. "kontext-wallpaper.jpg",
    }:wait()
    if not image then return naughty.notify { title = "kontext", text = message } end
    gears.wallpaper.maximized(gears.surface.load_uncached(image.path))
  end)()
end

--- Asks what to change.
function wallpaper.ask(path)
  awful.prompt.run {
    prompt = "Wallpaper: ",
    textbox = awful.screen.focused().mypromptbox.widget,
    exe_callback = function(prompt) wallpaper.edit(path, prompt) end,
  }
end

return wallpaper
