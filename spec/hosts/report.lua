-- What a host's run came to, for the spec to read: problems, and its clock's ticks.
local report = {}

local gaps, longest = {}, 0

--- Counts a tick that came this many seconds after the last, or took as many; for some of them the
--- machine gave its processors to others.
---@param seconds number
---@param elsewhere? number
function report.took(seconds, elsewhere)
  gaps[#gaps + 1] = seconds
  longest = math.max(longest, seconds - (elsewhere or 0))
end

--- Writes it to $KONTEXT_OUT/report.
---@param problems string
function report.write(problems)
  table.sort(gaps)
  local file = assert(io.open(assert(os.getenv "KONTEXT_OUT") .. "/report", "w"))
  file:write(("return { ticks = %d, p99 = %.6f, gap = %.6f, own = %.6f, problems = %q }\n"):format(
    #gaps, gaps[math.ceil(#gaps * 0.99)] or 0, gaps[#gaps] or 0, longest, problems))
  file:close()
end

return report
