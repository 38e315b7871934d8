-- What a host does here: some edits of $KONTEXT_PHOTO at once, while a clock of its own ticks.
local core = require "kontext.core"
local kontext = require "kontext"
local report = require "spec.hosts.report"

local task = {}

-- Seconds that this thread was ready to run and was not let, as Linux counts them.
local function kept_waiting()
  local file = io.open "/proc/thread-self/schedstat"
  local waited = file and file:read "*l":match "^%d+ (%d+)"
  if file then file:close() end
  return (tonumber(waited) or 0) / 1e9
end

local last, waited

--- Counts a tick of the host's clock.
function task.tick()
  local now, waiting = core.now(), kept_waiting()
  if last then report.took(now - last, waiting - waited) end
  last, waited = now, waiting
end

--- Starts three edits, each in what `spawn(fn)` makes of a function, and in the end `finished()`.
---@param spawn fun(fn: fun())
---@param finished nil|fun()
---@param loop any  for kontext.new; nil: found by itself
function task.start(spawn, finished, loop)
  local client = kontext.new { poll_interval = 0.1, loop = loop }
  local left, problems = 3, {}
  for n = 1, 3 do
    spawn(function()
      local image, message = client:edit {
        prompt = "Picture " .. n,
        input_image = { path = os.getenv "KONTEXT_PHOTO" },
        save_as = ("%s/%d.jpg"):format(os.getenv "KONTEXT_OUT", n),
      }:wait()
      if not image then problems[#problems + 1] = message end
      left = left - 1
      if left > 0 then return end
      client:close()
      report.write(table.concat(problems, "; "))
      if finished then finished() end
    end)
  end
end

return task
