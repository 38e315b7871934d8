-- What a host's run came to, for the spec to read: problems, its clock's ticks, the largest gap.
local report = {}

local ticks, largest = 0, 0

--- Counts a tick that came this many seconds after the last, or took as many.
function report.took(seconds)
  ticks, largest = ticks + 1, math.max(largest, seconds)
end

--- Writes it to $KONTEXT_OUT/report.
---@param problems string
function report.write(problems)
  local file = assert(io.open(assert(os.getenv "KONTEXT_OUT") .. "/report", "w"))
  file:write(("return { ticks = %d, gap = %.6f, problems = %q }\n")
    :format(ticks, largest, problems))
  file:close()
end

return report
