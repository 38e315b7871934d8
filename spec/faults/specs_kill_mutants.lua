-- Q2: the specs bite. Each mutant of mutants.lua breaks one promise of the product in a copy of the
-- tree; the specs that it names pass there before, and fail there after: by an assertion, not for a
-- file that no longer compiles. FULL=1: all core specs have a look at each besides. MUTANT=WORDS:
-- only those whose names or files have these words.

local condition = require "cqueues.condition"
local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local mutants = require "faults.mutants"
local sys = require "faults.sys"

local LIMIT = 300 -- seconds: a mutant may hang what it breaks

local run = campaign.new { id = "Q2", title = "the specs kill every mutant of the policies",
                           at_once = 3 }

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "a"
  file:close()
  return text
end

local function write(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  file:close()
end

-- Runs a shell's command in a folder; returns what it said and whether it ended well.
local function shell(folder, command)
  local pid, fd = assert(sys.spawn { "sh", "-c", ("cd '%s' && unset MAKEFLAGS MAKELEVEL MFLAGS "
    .. "LUA_PATH LUA_CPATH QUICK && exec timeout -k 5 %d sh -c \"$0\" 2>&1"):format(folder, LIMIT),
    command })
  local pipe = socket.fdopen(fd)
  pipe:setmode("bn", "bn")
  pipe:onerror(function(_, _, code) return code end)
  local said = pipe:read "*a" or ""
  pipe:close()
  local how, number = sys.wait(pid)
  return said, how == "exit" and number == 0
end

-- How what may kill a mutant is run, and what its words count: how many promises were broken. After
-- a spec's name may stand variables for make.
local judges = {
  { name = "^spec/c/(%w+)%.c$",
    command = "make -s WERROR= build/5.4/units/%1 && build/5.4/units/%1",
    broken = "passed, (%d+) failed" },
  { name = "^(%u%d)$", command = "QUICK=1 spec/faults/run %1", broken = "cases, (%d+) violations" },
  { name = "^(spec/%S+)(.*)$", command = "make -s WERROR= spec SPECS='--no-keep-going %1'%2",
    broken = "success%a* / (%d+) failure",
    raised = "[1-9]%d* success%a* / %d+ failure%a* / (%d+) error" },
}

-- Runs the judge of that name in a tree; returns how many promises it found broken, or nil where it
-- did not come to a verdict, and what it said.
local function judge(folder, name)
  for _, one in ipairs(judges) do
    if name:find(one.name) then
      local said, fine = shell(folder, (name:gsub(one.name, one.command)))
      local broken = tonumber(said:match(one.broken))
      -- A spec may also meet what it does not expect, once others of its file have passed.
      local raised = one.raised and tonumber(said:match(one.raised))
      if raised then broken = broken + raised end
      if broken == 0 and not fine then broken = nil end -- an error, not an assertion
      return broken, said
    end
  end
  error("nobody judges " .. name)
end

-- Copies the tree, with what is built of it for two Luas.
local whole = run.temporary .. "/whole"
local function copy_tree()
  assert(os.execute(("mkdir -p %s/build && cp -a build/5.4 build/faults %s/build && "
    .. "tar -c --exclude=./build --exclude=./.git . | tar -x -C %s"):format(whole, whole, whole)))
  local said, built = shell(whole, "make -s -j2 all && make -s -j2 all LUA_VERSION=5.1")
  assert(built, said)
end

-- Where a text stands in another, if it does so once.
local function only(text, part)
  local first, last = text:find(part, 1, true)
  if first and not text:find(part, first + 1, true) then return first, last end
end

-- Breaks the copy; returns what hinders it.
local function mutate(folder, mutant)
  local path = folder .. "/" .. mutant.file
  local text = read(path)
  local first, last = only(text, mutant.old)
  if not first then return "stale: its text is not in " .. mutant.file .. " once" end
  text = text:sub(1, first - 1) .. mutant.new .. text:sub(last + 1)
  if mutant.file:find "%.lua$" then
    local chunk, why = load(text, "=" .. mutant.file)
    if not chunk then return "it does not compile: " .. why end
  end
  write(path, text)
  local said, built = shell(folder, "make -s WERROR= all")
  if not built then return "it does not compile: " .. said end
end

local function try(mutant)
  local folder = run.temporary .. "/" .. mutant.number
  assert(os.execute(("cp -a %s %s"):format(whole, folder)))
  local wrong = mutate(folder, mutant)
  if not wrong then
    local broken, said = judge(folder, mutant.by)
    if not broken then
      wrong = ("%s ends without a verdict: %s"):format(mutant.by, said:sub(-1000))
    elseif broken == 0 then
      wrong = mutant.by .. " lets it live"
    end
    if campaign.full and (judge(folder, "spec/*_spec.lua") or 0) > 0 then
      run.by_core = run.by_core + 1
    end
  end
  os.execute("rm -rf " .. folder)
  return wrong
end

-- Does `work` for each item, some at a time: most of them wait most of their time.
local function each(items, work)
  local next_item, running, changed = 1, 0, condition.new()
  for _ = 1, run.at_once do
    running = running + 1
    run.loop:wrap(function()
      while next_item <= #items do
        local item = items[next_item]
        next_item = next_item + 1
        local fine, wrong = xpcall(work, debug.traceback, item)
        if not fine or wrong then run:violation(item.name, wrong) end
      end
      running = running - 1
      changed:signal()
    end)
  end
  while running > 0 do changed:wait() end
end

run:run(function()
  run.by_core = 0
  local chosen, judging, seen = {}, {}, {}
  for i, mutant in ipairs(mutants) do
    mutant.number = i
    if (mutant.name .. " " .. mutant.file):find(os.getenv "MUTANT" or "", 1, true) then
      chosen[#chosen + 1] = mutant
      if not seen[mutant.by] then judging[#judging + 1] = { name = mutant.by } end
      seen[mutant.by] = true
    end
  end
  assert(#chosen > 0, "no mutant has such a name")
  copy_tree()
  local fails = {} -- what fails by itself is no judge
  each(judging, function(item)
    local broken, said = judge(whole, item.name)
    fails[item.name] = broken ~= 0
    if broken ~= 0 then return "it fails without a mutant: " .. said:sub(-2000) end
  end)
  local killed = 0
  each(chosen, function(mutant)
    if fails[mutant.by] then return end
    run.cases = run.cases + 1
    local wrong = try(mutant)
    killed = killed + (wrong and 0 or 1)
    return wrong
  end)
  os.execute("rm -rf " .. whole) -- before the sweep for secrets: the sources have those of tests
  run.notes = { ("%d killed"):format(killed),
    campaign.full and run.by_core .. " by the core specs alone" or nil }
end)
