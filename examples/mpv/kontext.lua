-- mpv: the key k sends the frame on the screen with a prompt; the picture that comes back is shown
-- while the sound goes on (the key _ leads back to the film).
--   mpv --script=kontext.lua --script-opts=kontext-prompt="Make it a watercolour" film.mkv
-- From the console or another script: script-message kontext "Make it snow"
local mp = require "mp"
local utils = require "mp.utils"
local kontext = require "kontext"

local options = { prompt = "Make it a watercolour painting" }
require("mp.options").read_options(options, "kontext")

-- A folder of our own for the frames and results: a name in /tmp that others can foresee may be a
-- link of theirs to another file by the time it is written.
local folder

local function place(name)
  if not folder then
    local made = mp.command_native { name = "subprocess", args = { "mktemp", "-d" },
      playback_only = false, capture_stdout = true }
    folder = assert(made.status == 0 and made.stdout:match "[^\n]+", "mktemp -d made no folder")
  end
  return utils.join_path(folder, name)
end

local count = 0

mp.register_event("shutdown", function()
  if not folder then return end
  for n = 1, count do
    os.remove(place(n .. ".png"))
    os.remove(place(n .. ".jpg"))
  end
  os.remove(folder)
end)

local function show(text, seconds) mp.osd_message("kontext: " .. text, seconds or 1) end

local function edit(prompt)
  count = count + 1
  local number = count
  local frame = place(number .. ".png")
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

  local path = assert(image:save(place(number .. ".jpg")))
  show(prompt, 3)
  mp.commandv("video-add", path, "select", prompt, "", "yes")
end

local function start(prompt) coroutine.wrap(edit)(prompt or options.prompt) end

mp.add_key_binding("k", "edit", function() start() end)
mp.register_script_message("kontext", start)
