-- Q1: the C programs, the specs of pictures and the wire, and R5 with every allocation and system
-- call failing in turn reach nearly all lines and branches of src/. Every line that is left out of
-- the count says why beside it, and is listed.

local cjson = require "cjson"
local campaign = require "faults.campaign"

local LINES, BRANCHES = 95, 90 -- per cent
local OBJECTS = "build/coverage-5.4"

-- What runs no process that it kills: the counters of one that dies while it writes them are lost,
-- and others' with them.
local specs = { "check", "fit", "thumbnail", "repaint", "image", "wire", "misuse", "download",
                "submit", "poll", "tls", "origin", "journal", "webhook", "info" }

local run = campaign.new { id = "Q1", title = "coverage of our C by lines and branches" }

local function shell(command)
  local pipe = assert(io.popen(command .. " 2>&1"))
  local text = pipe:read "a"
  return pipe:close(), text
end

-- Runs a part; its own promises are kept too.
local function part(name, command)
  local fine, text = shell(command)
  if not fine then run:violation(name, text:sub(-1500)) end
end

-- The lines of src/ that are not counted, as "file:line: why".
local function ignored()
  local list = {}
  local _, text = shell "grep -n GCOVR_EXCL src/*/*.c"
  for line in text:gmatch "[^\n]+" do
    local where, why = line:match "^src/([^:]+:%d+):.*GCOVR_EXCL_[%u_]+: (.-)%s*%*/"
    if where then list[#list + 1] = where .. ": " .. why
    elseif not line:find "GCOVR_EXCL_STOP" then
      run:violation(line, "is ignored without a reason")
    end
  end
  return list
end

-- Adds up what was reached; returns lines, reached, branches, reached, and what was not.
local function reached(report)
  local lines, seen, branches, taken, missed = 0, 0, 0, 0, {}
  for _, file in ipairs(report.files) do
    for _, line in ipairs(file.lines) do
      if not line["gcovr/noncode"] and not line["gcovr/excluded"] then
        lines = lines + 1
        if line.count > 0 then seen = seen + 1
        else missed[#missed + 1] = ("%s:%d"):format(file.file, line.line_number) end
        for _, branch in ipairs(line.branches) do
          branches = branches + 1
          if branch.count > 0 then taken = taken + 1 end
        end
      end
    end
  end
  return lines, seen, branches, taken, missed
end

run:run(function()
  part("build", "make -s -j2 VARIANT=coverage all starved")
  os.execute(("rm -f %s/*.gcda %s/units/*.gcda"):format(OBJECTS, OBJECTS))
  part("units", "make -s VARIANT=coverage run-units")
  part("R5", "SCENARIOS=all KX_STARVED=" .. OBJECTS .. " lua5.4 spec/faults/c_out_of_memory.lua")
  part("specs", "make -s VARIANT=coverage SPECS='--exclude-tags=once,plain spec/"
    .. table.concat(specs, "_spec.lua spec/") .. "_spec.lua' spec")
  local fine, text = shell("gcovr --root . --filter src/ --exclude src/picture/stb.c "
    .. "--object-directory " .. OBJECTS .. " --json -o " .. run.temporary .. "/report")
  assert(fine, text)
  local file = assert(io.open(run.temporary .. "/report"))
  local lines, seen, branches, taken, missed = reached(cjson.decode(file:read "a"))
  file:close()
  local list = ignored()
  local by_line, by_branch = seen / lines * 100, taken / branches * 100
  if by_line < LINES then
    run:violation("lines", ("%.1f %%; not reached: "):format(by_line), table.concat(missed, " "))
  end
  if by_branch < BRANCHES then run:violation("branches", ("%.1f %%"):format(by_branch)) end
  run.cases = lines + branches
  table.insert(list, 1, "picture/stb.c: it is stb's code")
  run.notes = { ("%.1f %% of %d lines, %.1f %% of %d branches"):format(by_line, lines, by_branch,
    branches), "ignored: " .. table.concat(list, "; ") }
end)
