-- mpv: the key k sends the frame on the screen with a prompt; the picture that comes back is shown
-- while the sound goes on (the key _ leads back to the film).
--   mpv --script=kontext.lua --script-opts=kontext-prompt="Make it a watercolour" film.mkv
-- From the console or another script: script-message kontext "Make it snow"
local mp = require "mp"
local kontext = require "kontext"

local options = { prompt = "Make it a watercolour painting" }
require("mp.options").read_options(options, "kontext")

local function show(text, seconds) mp.osd_message("kontext: " .. text, seconds or 1) end

local function edit(prompt)
  local frame = os.tmpname() .. ".png"
  local taken, message = mp.commandv("screenshot-to-file", frame, "video")
  if not taken then return show(message, 5) end

  local job = kontext.edit { prompt = prompt, input_image = { path = frame } }
  local progress = mp.add_periodic_timer(0.2, function()
    show(job.progress and ("%s %d %%"):format(job.status, job.progress * 100) or job.status)
  end)
  local image, problem = job:wait()
  progress:kill()
  os.remove(frame)
  if not image then return show(problem, 5) end

  local path = assert(image:save(os.tmpname() .. ".jpg"))
  show(prompt, 3)
  mp.commandv("video-add", path, "select", prompt, "", "yes")
end

local function start(prompt) coroutine.wrap(edit)(prompt or options.prompt) end

mp.add_key_binding("k", "edit", function() start() end)
mp.register_script_message("kontext", start)
