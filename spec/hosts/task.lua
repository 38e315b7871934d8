-- What a host does here: some edits of $KONTEXT_PHOTO at once, while a clock of its own ticks.
local core = require "kontext.core"
local kontext = require "kontext"
local report = require "spec.hosts.report"

local task = {}

local last

--- Counts a tick of the host's clock.
function task.tick()
  local now = core.now()
  if last then report.took(now - last) end
  last = now
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
