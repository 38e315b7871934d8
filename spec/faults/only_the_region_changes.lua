-- P1: an edit of a region changes nothing else. Photographs of 12 to 24 megapixels, coded in every
-- way that cameras and programs code them, and random regions of each, through the whole of an edit
-- over the emulator, which moves and tints its answers. Pillow, ImageMagick and libjpeg's jpegtran
-- say what differs outside of the window, exiftool what was kept, littlecms whether the colours are
-- the same.

package.path = "./?.lua;" .. package.path
local campaign = require "faults.campaign"
local emulators = require "spec.support.emulator"

local run = campaign.new { id = "P1", title = "an edit of a region changes nothing else",
  at_once = 1, limit = 900, script = "spec/faults/region_edits.lua" }

local PHOTOGRAPHS = campaign.size(3, 12, 12)
local REGIONS = tonumber(os.getenv "REGIONS") or campaign.size(1, 2, 40) -- of each photograph
local SEAM = 1.5 -- levels
local MOST_MEMORY = 150 * 1024 -- KiB, of a process that edits up to 20 megapixels
local HOWS = { "shifted 3.5", "tinted", "shifted 0", "scaled 0.5" }

math.randomseed(11, 4)

local function any(from, to) return math.random(from, math.max(from, to)) end

-- A region anywhere, also at the picture's edges; small, of a window's size, and larger.
local function any_region(photo)
  local most = ({ 300, 1000, 1600 })[any(1, 3)]
  local width, height = any(40, most), any(40, most)
  return { x = any(0, photo.width - width), y = any(0, photo.height - height), width = width,
    height = height }
end

-- The middle third of a window, which the emulator paints.
local function middle(window)
  return { x = window.x + window.width // 3, y = window.y + window.height // 3,
    width = window.width // 3, height = window.height // 3 }
end

-- Where a rectangle of the upright picture lies in the stored one.
local function stored(rect, photo)
  local x, y, w, h = rect.x, rect.y, rect.width, rect.height
  if photo.what == "420-turned" then -- 6: the stored columns are the upright rows
    return { x = y, y = photo.width - x - w, width = h, height = w }
  elseif photo.what == "420-progressive" then -- 3
    return { x = photo.width - x - w, y = photo.height - y - h, width = w, height = h }
  elseif photo.what == "444-progressive" then -- 8
    return { x = photo.height - y - h, y = x, width = h, height = w }
  end
  return rect
end

local worst = { seam = 0, lab = 0, peak = 0, cpu = 0 }
local counts = { edits = 0, seams = 0, strips = 0 }
local oracle

local function ask(what, with)
  with.what = what
  local answer = oracle:run(with) or { failed = "no word" }
  if answer.failed then run:violation(what, answer.failed) end
  return answer
end

local function wrong(photo, region, ...)
  run:violation(("%s %d,%d,%d,%d"):format(photo.what, region.x, region.y, region.width,
    region.height), ...)
  if os.getenv "VERBOSE" then io.stderr:write(run.violations[#run.violations], "\n") end
end

local function edit(client, base, photo, nth, to)
  local region, how = any_region(photo), HOWS[nth % #HOWS + 1]
  local outcome = client:run { base = base, wanted = { input_image = photo.path, save_as = to,
    prompt = "Make it red [emulate: " .. how .. "]", region = region,
    strip = photo.format == "jpeg" and nth % 8 == 5 or nil } }
  counts.edits = counts.edits + 1
  run.cases = run.cases + 1
  if not outcome or not outcome.path then
    return wrong(photo, region, "no picture:", outcome and outcome.message or "no word")
  end
  worst.cpu = math.max(worst.cpu, outcome.cpu)
  if photo.width * photo.height <= 20.1e6 then worst.peak = math.max(worst.peak, outcome.peak) end
  local changed = middle(outcome.window)
  local seen = ask("compare", { before = photo.path, after = to, window = outcome.window,
    region = region, changed = changed })
  if seen.outside ~= 0 then
    wrong(photo, region, tostring(seen.outside), "pixels differ outside")
  end
  if seen.inside == 0 then wrong(photo, region, "nothing differs inside") end
  local is_exact = how ~= "scaled 0.5" and outcome.match
    and outcome.window.width * outcome.window.height < 1100000
  if seen.seam and seen.seam >= 0 and is_exact then
    counts.seams = counts.seams + 1
    worst.seam = math.max(worst.seam, seen.seam)
    if seen.seam >= SEAM then
      wrong(photo, region, how, ("the seam differs by %.2f, match %.3f"):format(seen.seam,
        outcome.match))
    end
  end
  if photo.format == "jpeg" and nth % 4 == 0 then
    local same = ask("strips", { before = photo.path, after = to,
      window = stored(outcome.window, photo) })
    counts.strips = counts.strips + (same.of or 0)
    if same.same ~= same.of then wrong(photo, region, "coefficients differ beside the window") end
  end
  if nth % 8 == 0 or nth % 8 == 5 then
    local stripped = photo.format == "jpeg" and nth % 8 == 5
    local told = ask("kept", { before = photo.path, after = to, stripped = stripped })
    if told.count == 0 then wrong(photo, region, "there is no metadata") end
    for _, tag in ipairs(told.wrong or {}) do
      wrong(photo, region, tag, stripped and "is still there" or "is not the same")
    end
  end
  if photo.profile ~= "" and how == "shifted 0" then
    local told = ask("colours", { before = photo.path, after = to, window = outcome.window,
      changed = changed })
    worst.lab = math.max(worst.lab, told.lab or 0)
    if not told.same or told.lab > 1 then
      wrong(photo, region, "the colours differ by", tostring(told.lab))
    end
  end
end

run:run(function()
  if not io.open("/usr/bin/python3") then return run:violation(nil, "there is no Python") end
  local emulator = emulators.start { ready_after = 0.05 }
  oracle = run:client { interpreter = { "/usr/bin/python3" }, script = "spec/faults/regions.py" }
  local client = run:client()
  local folder = os.getenv "PHOTOGRAPHS" or run.temporary .. "/photographs" -- one of before
  os.execute("mkdir -p " .. folder)
  local photographs = ask("photographs", { folder = folder, most = PHOTOGRAPHS }).list or {}
  local passes = math.min(REGIONS, 40) -- so that what is ended early has seen a bit of all
  for pass = 1, passes do
    for _, photo in ipairs(photographs) do
      for nth = (pass - 1) * REGIONS // passes, pass * REGIONS // passes - 1 do
        local to = folder .. "/made." .. (photo.format == "png" and "png" or "jpg")
        edit(client, emulator.url, photo, nth, to)
        os.remove(to)
        os.remove((to:gsub("made", "made-answer"):gsub("%.%a+$", ".png")))
      end
      if os.getenv "VERBOSE" then
        io.stderr:write(("%s %d edits, %d violations, seam %.2f, lab %.2f, %.0f MiB, %.1f s\n")
          :format(photo.what, counts.edits, #run.violations, worst.seam, worst.lab,
          worst.peak / 1024, worst.cpu))
      end
    end
  end
  client:stop()
  oracle:stop()
  emulator:stop()
  if worst.peak > MOST_MEMORY then
    run:violation(nil, ("an edit took %.0f MiB of memory"):format(worst.peak / 1024))
  end
  run.notes = { ("%d photographs; seams of at most %.2f levels in %d; %d strips of coefficients; "
    .. "colours within %.2f of Lab; at most %.0f MiB up to 20 MP, %.1f s of CPU an edit"):format(
    #photographs, worst.seam, counts.seams, counts.strips, worst.lab, worst.peak / 1024,
    worst.cpu) }
end)
