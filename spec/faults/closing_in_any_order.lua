-- R9: lifecycle. Every order of closing, dropping and using, in every state of an edit, the Lua
-- state's end last of all, with the collector at pause 0 in every other case; coroutines collected
-- while they wait; callbacks that raise, close, cancel or step; forks, whose child refuses and
-- leaves the parent's edit alone; two Lua states in two threads. The sanitizers and valgrind have
-- nothing to say.

local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local certs = require "faults.certs"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"

local run = campaign.new { id = "R9", title = "closed, dropped and forked in any order",
                           at_once = 2, limit = 600 }

-- The edit's prompt tells where the service stalls.
local function asked(entry) return entry.body:match '"prompt":"([^"]*)"' end

local function gone(conn)
  repeat until not conn.wire:read(4096, 30)
end

local function start_service(tls)
  local polls = {}
  local script, state
  local function prompt_of(id) return asked(state.ids[id]) end
  script, state = service.script {
    keep = true,
    pace = function(entry)
      if asked(entry) == "slow upload" then cqueues.sleep(0.01) end
    end,
    spoil = function(conn, entry, route, bytes)
      if route ~= "sample" then return nil end
      local prompt = prompt_of(entry.id)
      if prompt == "half a picture" or prompt == "slow picture" then
        conn:send(bytes:sub(1, #bytes // 2))
        if prompt == "half a picture" then
          gone(conn)
          return false
        end
        cqueues.sleep(0.05)
        conn:send(bytes:sub(#bytes // 2 + 1))
        return true
      end
    end,
    answers = {
      submit = function(of, id)
        if prompt_of(id) == "refuse" then
          return "422 Unprocessable Entity", {}, '{"detail":"no"}'
        end
        return service.answers.submit(of, id)
      end,
      poll = function(of, id)
        local prompt = prompt_of(id)
        polls[id] = (polls[id] or 0) + 1
        if prompt == "never ready" or prompt == "ready later" and polls[id] < 6 then
          return "200 OK", {}, ('{"id":"%s","status":"Pending","progress":0.5}'):format(id)
        end
        return service.answers.poll(of, id)
      end,
    },
  }
  local back = server.start(run.loop, script, { tls = tls and certs.context "good",
                                                receive_buffer = 4096 })
  state.base = (tls and "https" or "http") .. "://127.0.0.1:" .. back.port
  return back, state.base
end

local SILENT = "ASAN_OPTIONS=detect_leaks=%d:abort_on_error=0"

-- One process, or two threads of one, over a share of a group's cases.
local function try(case)
  local back, base = start_service(case.tls)
  run.serial = (run.serial or 0) + 1
  local folder = ("%s/%d"):format(run.temporary, run.serial)
  assert(os.execute(("mkdir %s && cp %s/*.png %s"):format(folder, run.temporary, folder)))
  local build = (case.plain and "" or case.valgrind and "valgrind-" or "asan-") .. case.lua
  local forks = case.group:find "^fork" ~= nil
  local argv = { "build/" .. build .. "/threads", tostring(case.threads or 1),
    "spec/faults/lifecycle.lua", case.group, base, campaign.key .. run.serial, folder,
    case.tls and certs.bundle() or "", tostring(case.first), tostring(case.stride) }
  if case.valgrind then
    for i, word in ipairs { "valgrind", "-q", "--error-exitcode=99", "--leak-check=full",
                            "--child-silent-after-fork=yes",
                            "--errors-for-leak-kinds=" .. (forks and "none" or "definite") } do
      table.insert(argv, i, word)
    end
  end
  local said = folder .. ".said"
  local env = { "LUA_CPATH=" .. os.getenv("LUA_CPATH"):gsub("build/5%.4/",
    "build/" .. build .. "/"),
    -- A forked child leaves the parent's engine where it is, which looks like a leak.
    SILENT:format(forks and 0 or 1), "UBSAN_OPTIONS=print_stacktrace=1" }
  local pid, fd = assert(sys.spawn(argv, env, { stderr = said }))
  local pipe = socket.fdopen(fd)
  pipe:setmode("b", "bn")
  pipe:onerror(function(_, _, code) return code end)
  local cases = 0
  for line in pipe:lines "*l" do
    run:scan(line, "a case")
    cases = cases + (tonumber(line:match "^cases=(%d+)$") or 0)
  end
  pipe:close()
  local how, code = sys.wait(pid)
  local ledger = back.ledger
  back:close(true)
  local file = io.open(said)
  local words = file and file:read "a" or ""
  if file then file:close() end
  run:clear(folder)
  run.tried = run.tried + cases
  if how ~= "exit" or code ~= 0 or words ~= "" then
    return ("%s %s: %s"):format(tostring(how), tostring(code), words:sub(1, 3000))
  end
  if cases < (case.threads or 1) then return "it ended before its end" end
  local whole = server.submits(ledger)
  run.submits = run.submits + whole
end

run:run(function()
  run.tried, run.submits = 0, 0
  certs.make()
  for name, bytes in pairs { large = picture.png(24, 16, 600000), result = service.result,
                             wide = picture.png(1600, 1200) } do
    local file = assert(io.open(("%s/%s.png"):format(run.temporary, name), "wb"))
    file:write(bytes)
    file:close()
  end
  local builds = { { "", "5.4" }, { "asan", "5.4" } }
  if not campaign.quick then
    builds = { { "", "5.4" }, { "asan", "5.4" }, { "asan", "5.1" }, { "asan", "jit" },
               { "valgrind", "5.4" } }
  end
  for _, build in ipairs(builds) do
    local made = build[1] == "" and build[2] or table.concat(build, "-")
    assert(os.execute(("make -s VARIANT=%s LUA_VERSION=%s all build/%s/threads >&2"):format(
      build[1], build[2], made)))
  end
  local cases = {}
  -- Shares of a group: `parts` processes that together try every `stride`th case.
  local function share(options, parts, stride)
    for part = 1, parts do
      local case = { first = (part - 1) * stride + 1, stride = parts * stride }
      for name, value in pairs(options) do case[name] = value end
      case.name = ("%s under %s%s, part %d of %d"):format(case.group, case.lua,
        case.valgrind and " and valgrind" or "", part, parts)
      cases[#cases + 1] = case
    end
  end
  local size = campaign.size
  share({ group = "orders", lua = "5.4" }, size(1, 6, 6), size(67, 7, 1))
  share({ group = "callbacks", lua = "5.4" }, 1, size(5, 1, 1))
  share({ group = "forgotten", lua = "5.4" }, size(1, 2, 2), size(13, 2, 1))
  share({ group = "fork", lua = "5.4" }, size(1, 2, 2), size(11, 2, 1))
  share({ group = "fork", lua = "5.4", tls = true }, 1, size(23, 3, 1))
  -- Not under ASan: in the child its allocator waits for a lock that the other thread held.
  share({ group = "fork_fitting", lua = "5.4", plain = true }, 1, size(7, 2, 1))
  share({ group = "orders", lua = "5.4", threads = 2 }, 1, size(211, 31, 3))
  if not campaign.quick then
    for _, lua in ipairs { "5.1", "jit" } do
      share({ group = "orders", lua = lua }, 1, size(0, 41, 1))
      share({ group = "callbacks", lua = lua }, 1, size(0, 3, 1))
      share({ group = "forgotten", lua = lua }, 1, size(0, 11, 1))
    end
    share({ group = "orders", lua = "5.4", tls = true }, 1, size(0, 61, 1))
    share({ group = "orders", lua = "5.4", valgrind = true }, 1, size(0, 199, 11))
    share({ group = "callbacks", lua = "5.4", valgrind = true }, 1, size(0, 13, 3))
    share({ group = "forgotten", lua = "5.4", valgrind = true }, 1, size(0, 17, 3))
    share({ group = "fork", lua = "5.4", valgrind = true }, 1, size(0, 41, 3))
  end
  run:each(cases, function(case) return try(case) end)
  run.notes = { ("%d submits, of processes %d"):format(run.submits, #cases) }
  run.cases = run.tried
end)
