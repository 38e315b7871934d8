-- S5: hostile pictures. Under the sanitizers the check of every picture ends in a size or in a
-- refusal, soon; of every picture that Pillow decodes it tells the same format and size.

local campaign = require "faults.campaign"

local run = campaign.new { id = "S5", title = "hostile pictures", at_once = 1 }

local ASAN = campaign.sanitized() .. "lua5.4"
local FORMATS = { JPEG = "jpeg", MPO = "jpeg", PNG = "png", WEBP = "webp" }
local SLOW = 0.1 -- under sanitizers, on a machine that others use

-- Runs a command; returns its lines, or reports how it ended.
local function lines(name, command)
  local errors = run.temporary .. "/" .. name
  local pipe = assert(io.popen(command .. " 2>" .. errors))
  local got = {}
  for line in pipe:lines() do got[#got + 1] = line end
  local ok, how, number = pipe:close()
  if not ok then
    local file = assert(io.open(errors))
    run:violation(name, how, tostring(number), file:read(3000) or "")
    file:close()
  end
  return got
end

local function fields(line)
  local out = {}
  for field in (line .. "\t"):gmatch "(.-)\t" do out[#out + 1] = field end
  return out
end

-- Pictures that are lawful and that the service's limits or the walk's caution refuse.
local function excused(told, message)
  return tonumber(told[3]) * tonumber(told[4]) > 20000000 or message:find "cannot be used"
    or message:find "takes up to"
end

local function corpus()
  local list = run.temporary .. "/list"
  os.execute("find build/corpus /usr/share/backgrounds -type f -regextype posix-extended -iregex "
    .. "'.*\\.(png|jpe?g|webp|gif|bmp|tiff?)' 2>/dev/null | sort > " .. list)
  local oracle = {}
  for _, line in ipairs(lines("oracle", "/usr/bin/python3 spec/faults/oracle.py < " .. list)) do
    local told = fields(line)
    oracle[told[1]] = told
  end
  local agreed, seen = 0, 0
  for _, line in ipairs(lines("corpus", ASAN .. " spec/faults/pictures.lua corpus < "
    .. list)) do
    local got = fields(line)
    local told = oracle[got[1]] or {}
    local format = FORMATS[told[2]]
    seen = seen + 1
    -- What is made to be wrong is each decoder's own affair.
    if got[1]:find "/crashers/" then format = nil end
    if format and got[2] == "-" then
      if not excused(told, got[3]) then
        run:violation(got[1], "Pillow:", told[2], told[3], told[4] .. "; refused:", got[3])
      end
    elseif format then
      agreed = agreed + 1
      if got[2] ~= format or got[3] ~= told[3] or got[4] ~= told[4] then
        run:violation(got[1], "Pillow:", table.concat(told, " ", 2), "kontext:",
          table.concat(got, " ", 2))
      end
    end
  end
  run.cases = run.cases + seen
  if agreed == 0 then run:violation(nil, "no picture to compare: is the corpus there?") end
  run.notes[#run.notes + 1] = ("%d corpus files, %d of them valid and agreed upon"):format(seen,
    agreed)
end

local function hostile()
  local got = lines("hostile", ("%s spec/faults/pictures.lua hostile %d"):format(ASAN,
    campaign.size(2000, 100000, 5000000)))
  local told = fields(got[#got] or "")
  if not tonumber(told[2]) then return run:violation("hostile", "it told no figures") end
  run.cases = run.cases + tonumber(told[1])
  run:latency("check", tonumber(told[2]))
  if tonumber(told[2]) > SLOW then run:violation(told[3], "took", told[2], "s") end
end

run:run(function()
  if not campaign.quick then os.execute "spec/faults/corpus.sh" end
  corpus()
  hostile()
end)
