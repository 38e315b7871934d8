-- What a host's run came to, for the spec to read: problems, and its clock's ticks.
local report = {}

local gaps = {}

--- Counts a tick that came this many seconds after the last, or took as many.
function report.took(seconds) gaps[#gaps + 1] = seconds end

--- Writes it to $KONTEXT_OUT/report.
---@param problems string
function report.write(problems)
  table.sort(gaps)
  local file = assert(io.open(assert(os.getenv "KONTEXT_OUT") .. "/report", "w"))
  file:write(("return { ticks = %d, p99 = %.6f, gap = %.6f, problems = %q }\n"):format(
    #gaps, gaps[math.ceil(#gaps * 0.99)] or 0, gaps[#gaps] or 0, problems))
  file:close()
end

return report
