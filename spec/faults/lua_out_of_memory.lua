-- R4: Lua's allocator fails at the n-th call and all after it, for every n, in every scenario,
-- under three Luas: no crash, no leak, nothing paid for twice; and the failure shows.

local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"

local MASKED = 0.05
local LEAK = 64 -- bytes a try, on average: what allocators and caches keep is less

local run = campaign.new { id = "R4", title = "Lua's memory runs out at any allocation",
                           at_once = 2 }

local scenarios = { "control", "require", "new", "check", "size", "replace", "refuse", "edit",
                    "save", "journal", "batch", "cancel", "resume", "run", "credits", "webhook",
                    "progress" }

-- What allocates by the thousand is tried at some n only, but at full size.
local strides = { require = campaign.size(997, 23, 1) }

-- The same Lua once more, with sanitizers, for what no count of bytes tells.
local luas = { "5.4", "5.1", "jit", "asan-5.4" }

local libasan = io.popen "cc -print-file-name=libasan.so":read "l"
local cjson_so = assert(package.searchpath("cjson", package.cpath))
local image = run.temporary .. "/small.png"

local function try(case)
  local paid, twice = {}, nil
  local script, state = service.script {
    keep = true,
    spoil = function(_, entry, route)
      if route ~= "submit" then return nil end
      local prompt = entry.body:match '"prompt":"([^"]*)"'
      paid[prompt] = (paid[prompt] or 0) + 1
      -- The resume scenario makes an edit beforehand; the host's three first rounds are one n.
      if paid[prompt] > 1 and not prompt:find " 1000000000$" and not prompt:find "b1000000000$" then
        twice = prompt
      end
    end,
  }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  local folder = ("%s/%s-%s"):format(run.temporary, case.lua, case.scenario)
  os.execute("mkdir " .. folder)
  local stride = strides[case.scenario] or campaign.size(11, 1, 1)
  local env = { "LUA_CPATH=" .. os.getenv("LUA_CPATH"):gsub("build/5%.4/",
    "build/" .. case.lua .. "/") }
  if case.lua ~= "5.4" then stride = stride * campaign.size(5, 5, 1) end
  if case.lua:find "asan" then
    -- lua-cjson forgets a buffer when Lua throws through it; mapped, it can be told from ours.
    env[#env + 1] = "LD_PRELOAD=" .. libasan .. " " .. cjson_so
    env[#env + 1] = "LSAN_OPTIONS=print_suppressions=0:suppressions=" .. run.temporary
      .. "/suppressions"
  end
  local said = folder .. ".said"
  local pid, fd = assert(sys.spawn({ "build/faults/oom-" .. case.lua:gsub("asan%-", ""),
    "spec/faults/starved.lua", "1", tostring(stride), case.scenario, state.base, campaign.key,
    image, folder }, env, { stderr = said }))
  local pipe = socket.fdopen(fd)
  pipe:setmode("b", "bn")
  local line = pipe:xread("*l", "b", 1500)
  pipe:close()
  local how, number = sys.wait(pid)
  back:close(true)
  local file = io.open(said)
  local words = file and file:read "a" or ""
  if file then file:close() end
  run:clear(folder)
  if how ~= "exit" or number ~= 0 then return ("%s %d: %s"):format(how, number, words:sub(-500)) end
  local tried, masked, bad, leaked, fds, sources = (line or ""):match
    "^tried=(%d+) masked=(%d+) bad=(%d+) leaked=(%-?%d+) fds=(%-?%d+) sources=(%-?%d+)"
  if not tried or bad ~= "0" then return "it went wrong: " .. words:sub(1, 800) end
  tried, masked, leaked = tonumber(tried), tonumber(masked), tonumber(leaked)
  run.tried, run.masked = run.tried + tried, run.masked + masked
  if twice then return "PAID TWICE: " .. twice end
  case.sources = tonumber(sources)
  if tonumber(fds) > 0 then return fds .. " descriptors are left" end
  if leaked > math.max(131072, LEAK * tried) then
    return ("%d bytes are left after %d tries"):format(leaked, tried)
  end
end

-- LuaJIT opens a source before it pushes its name, and forgets the file when memory runs out there.
-- Only what leaves sources open without kontext too, in "control", may do so.
local function judge_sources(cases)
  local own = {}
  for _, case in ipairs(cases) do
    if case.scenario == "control" then own[case.lua] = case.sources or 0 end
  end
  run.sources = 0
  for _, case in ipairs(cases) do
    local left = case.sources or 0
    run.sources = run.sources + left
    if left > 0 and own[case.lua] == 0 then
      run:violation(case.name, left, "Lua files are left open")
    end
  end
end

run:run(function()
  run.tried, run.masked = 0, 0
  for _, what in ipairs { "LUA_VERSION=5.1", "LUA_VERSION=jit", "VARIANT=asan" } do
    assert(os.execute("make -s " .. what .. " all >&2"))
  end
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  file = assert(io.open(run.temporary .. "/suppressions", "w"))
  file:write "leak:cjson\n"
  file:close()
  local cases = {}
  for _, lua in ipairs(luas) do
    for _, scenario in ipairs(scenarios) do
      cases[#cases + 1] = { lua = lua, scenario = scenario, name = lua .. " " .. scenario }
    end
  end
  run:each(cases, function(case) return try(case) end)
  judge_sources(cases)
  local share = run.masked / math.max(1, run.tried)
  if share >= MASKED then run:violation(nil, "too many failures are masked") end
  run.cases = run.tried
  run.notes = { ("%d scenarios under 3 Luas and sanitizers, %.2f %% masked; %d Lua files left open"
    .. " by LuaJIT itself"):format(#scenarios, share * 100, run.sources) }
end)
