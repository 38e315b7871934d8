-- S6: fuzzing. Any bytes as a picture, as base64's input, as the answers to an edit, its polls and
-- its download, as headers, JSON, a URL, a webhook's call, a journal: under the sanitizers nothing
-- crashes, raises or leaks, and what each file of fuzz/ promises holds for every input.

local campaign = require "faults.campaign"

local run = campaign.new { id = "S6", title = "fuzzing", at_once = 2 }

run:run(function()
  assert(os.execute "make -s fuzzers >&2")
  local seconds = tonumber(os.getenv "FUZZ_SECONDS") or campaign.size(2, 60, 3600)
  local errors = run.temporary .. "/said"
  local pipe = assert(io.popen(("fuzz/run %d 2>%s"):format(seconds, errors)))
  local broken = {}
  for line in pipe:lines() do
    local name, tried = line:match "^(%w+): (%d+) inputs"
    if name then
      run.cases = run.cases + tonumber(tried)
      run.notes[#run.notes + 1] = name .. " " .. tried
      if line:find "BROKEN$" then broken[#broken + 1] = name end
      if tonumber(tried) == 0 then broken[#broken + 1] = name .. " (tried nothing)" end
    end
  end
  pipe:close()
  table.sort(run.notes)
  if #run.notes == 0 then run:violation(nil, "no fuzzer ran") end
  if #broken > 0 then
    run:violation(table.concat(broken, ", "), assert(io.open(errors)):read "a")
  end
end)
