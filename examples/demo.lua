-- Edits a photograph from end to end against the emulator: no key, no network, no cost.
--   make demo [PHOTO=mine.jpg] [PROMPT="Change …"]
local kontext = require "kontext"
local emulator = require "kontext.emulator"

local photo = os.getenv "PHOTO" or "/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg"
local prompt = os.getenv "PROMPT"
  or "Change the sunset to a clear night under a full moon, keep the dandelions as they are"

local function megabytes(bytes) return ("%.1f MB"):format(bytes / 1e6) end

-- A line for each stage; in a terminal the last one moves, elsewhere it is written when it ends.
local moving = os.execute "test -t 1"
moving = moving == true or moving == 0
local line, stage

local function show(status, share, note)
  local filled = math.floor(24 * (share or 0) + 0.5)
  if stage and stage ~= status then io.write(moving and "" or line, "\n") end
  stage = status
  line = ("%-12s [%s%s] %3.0f %%  %s"):format(status, ("#"):rep(filled), ("."):rep(24 - filled),
    100 * (share or 0), note or "")
  if moving then io.write("\r\27[K", line) end
  io.flush()
end

local shares = {
  uploading = function(job) return job.sent / job.total, megabytes(job.sent) end,
  pending = function(job) return job.progress, "the service is at work" end,
  downloading = function(job)
    return job.total and job.total > 0 and job.received / job.total, megabytes(job.received)
  end,
}

local info = assert(kontext.check(photo))
print(("photograph   %s: %dx%d %s, %.1f megapixels, %s"):format(photo, info.width, info.height,
  info.format, info.megapixels, megabytes(info.bytes)))
print(("prompt       %s"):format(prompt))
print(("will be      %dx%d"):format(kontext.output_size(photo)))

local service = assert(emulator.start { ready_after = 2 })
print(("service      the emulator, %s"):format(service.url))

local client = kontext.new { base_url = service.url, api_key = "demo", poll_interval = 0.2 }
local image, message = client:edit {
  prompt = prompt,
  input_image = photo,
  save_as = "result.jpg",
  on_progress = function(job)
    if shares[job.status] then show(job.status, shares[job.status](job)) end
  end,
}:wait()
service:stop()

if not image then
  io.stderr:write("\n", message, "\n")
  os.exit(1)
end
show("ready", 1, ("%.1f s"):format(image.duration or 0))
print(moving and "" or line)
print(("result.jpg: %dx%d %s, %s"):format(image.width, image.height, image.format,
  megabytes(#image.bytes)))
