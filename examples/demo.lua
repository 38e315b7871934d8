-- Edits a photograph from end to end against the emulator: no key, no network, no cost.
--   make demo [PHOTO=mine.jpg] [PROMPT="Change …"]
local kontext = require "kontext"
local emulator = require "kontext.emulator"

local photo, prompt = os.getenv "PHOTO", os.getenv "PROMPT"
if not photo then
  photo = "/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg" -- CC0
  prompt = prompt
    or "Change the sunset to a clear night under a full moon, keep the dandelions as they are"
end
prompt = prompt or "Change the season to winter, with fresh snow"

local function fail(message)
  io.stderr:write(message, "\n")
  os.exit(1, true)
end

local function size(bytes)
  return bytes < 1e6 and ("%.0f kB"):format(bytes / 1e3) or ("%.1f MB"):format(bytes / 1e6)
end

-- A line for each stage. In a terminal the last one moves; elsewhere it is written when it is done.
local moving = os.execute "test -t 1"
moving = moving == true or moving == 0

local function draw(stage, share, note, done)
  if not moving and not done then return end
  local filled = math.floor(24 * share + 0.5)
  io.write(moving and "\r\27[K" or "", ("%-12s [%s%s] %3.0f %%  %s"):format(stage,
    ("#"):rep(filled), ("."):rep(24 - filled), 100 * share, note), done and "\n" or "")
  io.flush()
end

-- How far a stage is, and what to say of it.
local function moved(bytes, total) return bytes / (total or math.huge), size(bytes) end
local stages = {
  uploading = function(job) return moved(job.sent, job.total) end,
  pending = function(job) return job.progress or 0, "the service is at work" end,
  downloading = function(job) return moved(job.received, job.total) end,
}
local stage

local function show(job)
  if stage and stage ~= job.status then
    local share, note = stages[stage](job)
    draw(stage, job.error and share or 1, note, true)
  end
  stage = stages[job.status] and job.status
  if stage then draw(stage, stages[stage](job)) end
end

local info, message = kontext.check(photo)
if not info then fail(message) end
print(("photograph   %s: %dx%d %s, %.1f megapixels, %s"):format(photo, info.width, info.height,
  info.format, info.megapixels, size(info.bytes)))
print("prompt       " .. prompt)
print(("will be      %dx%d"):format(kontext.output_size(photo)))

local service, trouble = emulator.start { ready_after = 2 }
if not service then fail(trouble) end
print("service      the emulator, " .. service.url)

local client = kontext.new { base_url = service.url, api_key = "demo", poll_interval = 0.2 }
local image, why = client:edit {
  prompt = prompt,
  input_image = photo,
  save_as = "result.jpg",
  on_progress = show,
}:wait()
if not image then fail(why) end
print(("result.jpg   %dx%d %s, %s"):format(image.width, image.height, image.format,
  size(#image.bytes)))
service:stop()
