--- main.lua LIVES|0 SECONDS SEED FIRST STEP [FILE]: lives the lives FIRST, FIRST + STEP … of a
--- seed, so many or for so long, and writes the sums where another process reads them. What fails
--- is printed with its seed and the shortest script that still fails.
local chance = require "spec.simulation.chance"
local life = require "spec.simulation.life"

local main = {}

--- Lives one life. Returns its world, the promise that it breaks or nil, and the life.
function main.live(seed, number, script, trace)
  local one = life.new(seed, number, script, trace)
  local done, problem = pcall(one.run, one)
  if not done then return one.world, "the simulation itself raised: " .. tostring(problem), one end
  return one.world, one.world.violation, one
end

local shrinking = 300000 -- steps that finding a shorter script may take: some ten seconds

--- Returns the shortest script that breaks the same promise: parts are left out for as long as it
--- still does.
---@param seed integer
---@param number integer
---@param lines string[]
---@param promise string
---@return string[] lines
function main.shrink(seed, number, lines, promise)
  local steps = 0
  local function fails(some)
    local _, broken, one = main.live(seed, number, chance.read(some))
    steps = steps + one.steps
    return broken == promise
  end
  if not fails(lines) then return lines end
  local size = math.ceil(#lines / 2)
  while size >= 1 and steps < shrinking do
    local at, shorter = 1, false
    while at <= #lines do
      local rest = {}
      for i, line in ipairs(lines) do
        if i < at or i >= at + size then rest[#rest + 1] = line end
      end
      if #rest < #lines and steps < shrinking and fails(rest) then
        lines, shorter = rest, true
      else
        at = at + size
      end
    end
    if size == 1 and not shorter then break end
    if not shorter or size > #lines then size = math.max(1, math.floor(size / 2)) end
  end
  return lines
end

--- Prints a failure as what it takes to see it again.
function main.report(seed, number, one, promise)
  local lines = main.shrink(seed, number, one.chance:script(), promise)
  local again = main.live(seed, number, chance.read(lines))
  print(("BROKEN: %s\n  %s\n  seed %d, life %d: { %s }"):format(promise, tostring(again.detail),
    seed, number, #lines > 0 and '"' .. table.concat(lines, '", "') .. '"' or ""))
end

local most_reports = 5

--- Lives many lives. Returns the sums.
---@param plan { lives: integer, seconds: number, seed: integer, first: integer, step: integer }
---@return table sums
function main.run(plan)
  local sums = { lives = 0, edits = 0, steps = 0, events = 0, failed = 0, first = 0, second = 0,
    processor = 0, faults = {} }
  local number, ends, began = plan.first, os.time() + plan.seconds, os.clock()
  while plan.lives > 0 and number <= plan.lives or plan.lives == 0 and os.time() < ends do
    local the_world, broken, one = main.live(plan.seed, number)
    local first, second = the_world:digest()
    sums.first = (sums.first + first) % 2147483647
    sums.second = (sums.second + second) % 2147483563
    sums.lives, sums.steps = sums.lives + 1, sums.steps + one.steps
    sums.edits, sums.events = sums.edits + #one.ledger.edits, sums.events + the_world.events
    for name, count in pairs(the_world.faults) do
      sums.faults[name] = (sums.faults[name] or 0) + count
    end
    if broken then
      sums.failed = sums.failed + 1
      if sums.failed <= most_reports then main.report(plan.seed, number, one, broken) end
      if plan.stop then return sums end
    end
    number = number + plan.step
  end
  sums.processor = math.ceil((os.clock() - began) * 1000)
  return sums
end

--- Adds the sums of another process.
function main.add(sums, more)
  for _, name in ipairs { "lives", "edits", "steps", "events", "failed", "processor" } do
    sums[name] = sums[name] + more[name]
  end
  sums.first = (sums.first + more.first) % 2147483647
  sums.second = (sums.second + more.second) % 2147483563
  for name, count in pairs(more.faults) do sums.faults[name] = (sums.faults[name] or 0) + count end
end

local numbers = { "lives", "edits", "steps", "events", "failed", "processor", "first", "second" }

--- Writes sums as lines.
function main.write(sums, path)
  local file = assert(io.open(path, "w"))
  for _, name in ipairs(numbers) do file:write(("%s %.0f\n"):format(name, sums[name])) end
  for name, count in pairs(sums.faults) do file:write(("fault %.0f %s\n"):format(count, name)) end
  file:close()
end

--- Reads what main.write wrote, or nil.
function main.read(path)
  local file = io.open(path)
  if not file then return nil end
  local sums = { faults = {} }
  for line in file:lines() do
    local count, fault = line:match "^fault (%d+) (.+)$"
    if fault then sums.faults[fault] = tonumber(count)
    else
      local name, number = line:match "^(%a+) (%d+)$"
      sums[name] = tonumber(number)
    end
  end
  file:close()
  return sums.second and sums or nil
end

-- What counts as no fault: what the life is about, and what went well.
local plain = { delivered = true, life = true, speed = true }

-- Returns the faults by family, in order, and the one that was met least often.
local function by_family(sums)
  local families, order, rarest, least = {}, {}, nil, math.huge
  for name, count in pairs(sums.faults) do
    local family = name:match "^[%a]+"
    if not plain[family] then
      if not families[family] then order[#order + 1] = family end
      families[family] = (families[family] or 0) + count
      if count < least or count == least and name < rarest then rarest, least = name, count end
    end
  end
  table.sort(order)
  return families, order, rarest, least
end

--- Prints the figures.
---@param sums table
---@param seconds integer that passed
function main.figures(sums, seconds)
  local families, order, rarest, least = by_family(sums)
  local told = "%.0f lives, %.0f edits, %.0f steps, %.0f events, %.0f pictures delivered, in %.0f s"
  print(told:format(sums.lives, sums.edits, sums.steps, sums.events, sums.faults.delivered or 0,
    seconds))
  print(("%.1f s of one processor: %.0f edits a minute on two"):format(sums.processor / 1000,
    sums.edits / math.max(1, sums.processor) * 120000))
  local parts = {}
  for _, family in ipairs(order) do
    parts[#parts + 1] = ("%s %.0f"):format(family, families[family])
  end
  print("faults: " .. table.concat(parts, ", "))
  if rarest then print(("rarest: %s, %.0f times"):format(rarest, least)) end
  print(("digest %08x%08x"):format(sums.first, sums.second))
  print(("%.0f passed, %.0f failed"):format(sums.lives - sums.failed, sums.failed))
end

local opens, closes = "<!-- simulation -->\n", "<!-- end of simulation -->\n"

-- What each family of faults is.
local families_are = {
  answer = "answers to a submit that are lost, late, cut, compressed, nested, or without a URL",
  budget = "budgets", callback = "callbacks that raise", chain = "chains",
  clock = "the wall clock jumps", crash = "kills and power failures",
  credits = "the question for the credits", cut = "where an answer breaks off",
  download = "answers in place of a picture, and pictures that are cut, spliced or changed",
  folder = "folders that are full, read-only, gone, broken, denied or taken",
  hook = "webhooks that are lost, early, late or come twice",
  input = "input pictures that change or go", journal = "the journal is removed or replaced",
  link = "links that do not work yet, end early, or say nothing of their end",
  pause = "the host sleeps", picture = "pictures put aside",
  poll = "answers to a poll: pages, lag, strangers' ids, redirects",
  power = "what a power failure leaves of a file", submit = "refusals, gateways, 429",
  sync = "a sync that fails", task = "what becomes of a task, and what it costs",
  upload = "uploads that break off or never connect",
  user = "users who cancel, close, come again, ask twice, save, spoil, change",
  worker = "the worker's thread fails",
}

--- Writes the figures into a page, between its marks.
---@param sums table
---@param path string
---@param seed integer
function main.write_page(sums, path, seed)
  local families, order, rarest, least = by_family(sums)
  local lines = { opens .. ("LuaJIT, seed %d: %.0f lives, %.0f edits, %.0f steps of a client, "
    .. "%.0f events of the world, %.0f pictures delivered, %.0f failed.\n"
    .. "Rarest state reached: %s, %.0f times.\n\n| faults | what | times |\n|---|---|---|")
    :format(seed, sums.lives, sums.edits, sums.steps, sums.events, sums.faults.delivered or 0,
      sums.failed, rarest, least) }
  for _, family in ipairs(order) do
    lines[#lines + 1] = ("| %s | %s | %.0f |"):format(family, families_are[family] or "",
      families[family])
  end
  local file = assert(io.open(path))
  local text = file:read "*a"
  file:close()
  local first, last = text:find(opens, 1, true), select(2, text:find(closes, 1, true))
  file = assert(io.open(path, "w"))
  file:write(text:sub(1, first - 1), table.concat(lines, "\n"), "\n", closes, text:sub(last + 1))
  file:close()
end

return main
