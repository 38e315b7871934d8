--- The live line: the progress of one edit, or of a whole batch.
local core = require "kontext.core"
local screen = require "kontext.cli.screen"

local progress = {}

local bar_width = 20
local narrow = 60 -- columns: below, the bar and some of a batch's counts are left out

-- Returns a number of bytes in megabytes.
local function megabytes(bytes)
  return ("%.1f MB"):format(bytes / 1e6)
end

-- The library's names of stages → words for people.
local stages = { waiting = "starting", pending = "being made" }

-- Returns a job's progress as a fraction and in words; nothing if it is not known.
local function part_of(job, elapsed)
  local moved = job.status == "uploading" and job.sent
    or job.status == "downloading" and job.received
  if moved then
    if not job.total or job.total <= 0 then return nil end
    local words = ("%s of %s"):format(megabytes(moved), megabytes(job.total))
    if elapsed > 0.5 and moved > 0 then
      words = ("%s, %.1f MB/s"):format(words, moved / 1e6 / elapsed)
    end
    return moved / job.total, words
  end
  if job.progress then return job.progress, ("%.0f %%"):format(job.progress * 100) end
end

--- Returns a function that composes the live line of one edit.
---@param name string what the edit is called
---@param current fun(): kontext.Job?
---@return fun(): string
function progress.of_edit(name, current)
  local began, stage, stage_began = core.now(), nil, core.now()
  return function()
    local job, now = current(), core.now()
    local status = job and job.status or "waiting"
    if status ~= stage then stage, stage_began = status, now end
    local words = stages[status] or status
    if job and status == "uploading" and job.sent == job.total and (job.total or 0) > 0 then
      words = "sent, waiting for the answer"
    end
    local part, more = nil, nil
    if job then part, more = part_of(job, now - stage_began) end
    local columns = core.terminal(2) or 80
    return table.concat({ name .. ":", words,
      part and columns >= narrow and screen.bar(part, bar_width) or nil or "",
      more or "", screen.time(now - began) }, "  "):gsub("   +", "  ")
  end
end

--- Returns a function that composes the live line of a batch.
---@param batch fun(): kontext.Batch?
---@param jobs table<integer, kontext.Job> those that are under way
---@param spent fun(): number credits so far
---@return fun(): string
function progress.of_batch(batch, jobs, spent)
  local began = core.now()
  return function()
    local running = batch()
    if not running then return "starting" end
    local uploading, active = 0, 0
    for _, job in pairs(jobs) do
      if not job:ended() then
        if job.status == "uploading" then uploading = uploading + 1
        elseif job.status ~= "waiting" then active = active + 1 end
      end
    end
    local left = running.total - running.done
    local elapsed = core.now() - began
    local wide = (core.terminal(2) or 80) >= narrow
    local parts = { ("%d of %d done"):format(running.done, running.total) }
    local function count(number, words)
      if number > 0 then parts[#parts + 1] = words:format(number) end
    end
    count(running.failed, "%d failed")
    if wide then count(uploading, "%d uploading") end
    count(active, "%d being made")
    if wide then count(left - uploading - active, "%d waiting") end
    parts[#parts + 1] = screen.time(elapsed)
    if running.done > 0 and left > 0 then
      parts[#parts + 1] = "about " .. screen.time(elapsed / running.done * left) .. " left"
    end
    if wide then count(spent(), "%.14g credits") end
    return table.concat(parts, ", ")
  end
end

--- Returns the summary of an image: its size, seed, price and time.
---@param image kontext.Image
---@param seconds number
---@return string
function progress.summary(image, seconds)
  local parts = { ("%s x %s"):format(image.width, image.height) }
  if image.seed then parts[#parts + 1] = "seed " .. tostring(image.seed) end
  if image.cost then
    parts[#parts + 1] = ("%.14g credits (%.2f USD)"):format(image.cost, image.cost / 100)
  end
  parts[#parts + 1] = ("%.1f s"):format(seconds)
  return table.concat(parts, ", ")
end

return progress
