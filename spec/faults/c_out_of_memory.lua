-- R5: whatever our own objects allocate fails, for every n: the n-th call alone, or it and all
-- after it. Then the n-th system call of theirs fails. No crash, no hang, no leak; an error that
-- says so; nothing paid for twice or lost.

local cjson = require "cjson"
local socket = require "cqueues.socket"
local campaign = require "faults.campaign"
local certs = require "faults.certs"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"

local MASKED = 0.05 -- of the failures that last: a single one may well be made up for
local PATIENCE = 120 -- seconds for one try, on any machine

local only = os.getenv "SCENARIOS" -- "name;name;" or "all": all n of these, without sanitizers

local run = campaign.new { id = only and "R5-part" or "R5", at_once = 2,
                           title = "any allocation and system call of C fails" }

-- Those that allocate most stand first. With sanitizers every 7th n is tried, times the number.
local scenarios = {
  { "batch", 5 }, { "tls", 3 }, { "two", 3 }, { "journal", 2 }, { "again", 3 }, { "fit", 2 },
  { "fit_bytes", 5 }, { "webhook", 3 }, { "save", 2 }, { "path", 1 }, { "bytes", 3 },
  { "url", 3 }, { "proxy", 3 }, { "resume", 1 }, { "cancel", 3 }, { "close", 3 },
  { "close_fit", 1 }, { "notify", 3 }, { "credits", 1 }, { "new", 1 }, { "warm", 1 },
  { "check", 1 }, { "thumbnail", 1 }, { "repaint", 1 }, { "digest", 1 }, { "address", 1 },
  { "file", 1 }, { "log", 1 }, { "thread", 1 },
}

local modes = { "onwards", "once", "EIO", "EINTR", "short" }
local over_tls = { tls = true, warm = true, proxy = true }
local module = os.getenv "KX_STARVED" or "build/5.4" -- another build: build/coverage-5.4
local libasan = io.popen "cc -print-file-name=libasan.so":read "l"
local cjson_so = assert(package.searchpath("cjson", package.cpath))
local image = run.temporary .. "/small.png"

local kinds = { internal = true, file = true, image = true, network = true, tls = true,
                ambiguous = true, cancelled = true, closed = true, protocol = true, http = true }

-- What is wrong with the outcome of one try, whose submits the server has counted.
local function fault(case, outcome, posts)
  local told = outcome.raised or outcome.message or "nothing"
  if outcome.failed == 0 and not outcome.well then return "with all its memory: " .. told end
  if told:find "TIMEOUT" or outcome.kind == "timeout" then return "it hung: " .. told end
  if outcome.leaked ~= 0 then return outcome.leaked .. " blocks are left" end
  if outcome.files > 0 then return outcome.files .. " descriptors are left" end
  if outcome.after and outcome.after ~= "saved" and outcome.after ~= "ambiguous" then
    return "the next run over the journal: " .. outcome.after
  end
  if outcome.raised and not outcome.raised:find "not enough memory" then
    return "it raised: " .. outcome.raised
  end
  if outcome.well or outcome.raised then return nil end
  if case.scenario == "address" and told:find "user" then return told end
  if outcome.kind and not kinds[outcome.kind] and not told:find "not enough memory" then
    return "an odd kind: " .. outcome.kind
  end
  if told == "" or told:find "%f[%w]nil%f[%W]" then return "an odd error: " .. told end
  if posts > 0 and outcome.kind and not outcome.after then
    if outcome.retryable then return "paid for, but told to edit again: " .. told end
    if not outcome.recoverable then return "paid for, and lost: " .. told end
  end
end

-- Takes the lines of one process; returns what is wrong with the first that is.
local function judge(case, pipe, ledger)
  local ended, wrong = false, nil
  while true do
    local line = pipe:xread("*l", "b", PATIENCE)
    if not line then break end
    run:scan(line, "an outcome")
    local outcome = cjson.decode(line)
    if outcome["end"] then ended = true break end
    local posts, most = {}, 0
    for _, entry in ipairs(ledger) do
      local prompt = entry.method == "POST" and entry.complete
        and entry.body:match '"prompt":"([^"]*)"'
      if prompt and prompt:sub(1, #outcome.prompt) == outcome.prompt
        and not prompt:sub(#outcome.prompt + 1):find "^%d" then
        posts[prompt] = (posts[prompt] or 0) + 1
        most = math.max(most, posts[prompt])
      end
    end
    for i = #ledger, 1, -1 do ledger[i] = nil end
    local what = most > 1 and "PAID TWICE" or fault(case, outcome, most)
    if what and not wrong then wrong = ("n=%d: %s"):format(outcome.n, what) end
    if what and what:find "hung" then break end
    run.cases = run.cases + 1
    if outcome.failed > 0 then
      run.felt[case.mode] = run.felt[case.mode] + 1
      if outcome.well then run.masked[case.mode] = run.masked[case.mode] + 1 end
    end
  end
  return ended, wrong
end

local function try(case)
  run.cases = run.cases - 1 -- counted by its tries
  local script, state = service.script { keep = true }
  local back = server.start(run.loop, script,
    { tls = over_tls[case.scenario] and certs.context "good" or nil })
  state.base = (over_tls[case.scenario] and "https" or "http") .. "://127.0.0.1:" .. back.port
  local folder = ("%s/%s-%s-%s"):format(run.temporary, case.scenario, case.mode,
    case.asan and "asan" or "plain")
  os.execute("mkdir " .. folder)
  local build = case.asan and "build/asan-5.4" or module
  local env = { "LUA_CPATH=" .. os.getenv("LUA_CPATH"):gsub("build/5%.4/", build .. "/starved/") }
  if case.asan then
    env[#env + 1] = "LD_PRELOAD=" .. libasan .. " " .. cjson_so
    env[#env + 1] = "LSAN_OPTIONS=print_suppressions=0:suppressions=" .. run.temporary
      .. "/suppressions"
  end
  local said = folder .. ".said"
  local pid, fd = assert(sys.spawn({ "lua5.4", "spec/faults/starving.lua", case.scenario,
    case.mode, "1", tostring(case.stride), state.base, campaign.key, image, folder,
    certs.bundle() }, env, { stderr = said }))
  local pipe = socket.fdopen(fd)
  pipe:setmode("b", "bn")
  pipe:setmaxline(65536)
  pipe:onerror(function(_, _, code) return code end)
  local ended, wrong = judge(case, pipe, back.ledger)
  pipe:close()
  if not ended then sys.kill(pid, 6) end -- a hang leaves a core; one that has died does not mind
  local how, number = sys.wait(pid)
  back:close(true)
  local file = io.open(said)
  local words = file and file:read "a" or ""
  if file then file:close() end
  run:clear(folder)
  if wrong then return wrong end
  if how ~= "exit" or number ~= 0 or not ended then
    return ("%s %d: %s"):format(how, number, words:sub(1, 1500))
  end
end

run:run(function()
  run.felt, run.masked = {}, {}
  for _, mode in ipairs(modes) do run.felt[mode], run.masked[mode] = 0, 0 end
  certs.make()
  local build = module:match "build/(%l+)%-5%.4"
  for _, variant in ipairs { build or "", not (only or campaign.quick) and "asan" or nil } do
    assert(os.execute(("make -s VARIANT=%s starved >&2"):format(variant)))
  end
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  file = assert(io.open(run.temporary .. "/suppressions", "w"))
  file:write "leak:cjson\n" -- it forgets a buffer when Lua throws through it
  file:close()
  local cases = {}
  for _, asan in ipairs { false, not (only or campaign.quick) or nil } do
    for _, one in ipairs(scenarios) do
      for _, mode in ipairs(modes) do
        local stride = only and (tonumber(os.getenv "STRIDE") or 1)
          or campaign.size(7, asan and 7 * one[2] or 1, 1)
        if not only or only == "all" or only:find(one[1] .. ";", 1, true) then
          cases[#cases + 1] = { scenario = one[1], mode = mode, stride = stride, asan = asan,
            name = ("%s, %s%s"):format(one[1], mode, asan and ", sanitized" or "") }
        end
      end
    end
  end
  run:each(cases, function(case) return try(case) end)
  local shares = {}
  for mode, felt in pairs(run.felt) do shares[mode] = run.masked[mode] / math.max(1, felt) end
  if not only and shares.onwards >= MASKED then
    run:violation(nil, "too many failures are masked")
  end
  run.notes = { ("%d scenarios; masked: %.1f %% of allocations' failures that last, %.1f %% of "
    .. "single ones, %.1f %% of system calls'"):format(#scenarios, shares.onwards * 100,
    shares.once * 100, shares.EIO * 100) }
end)
