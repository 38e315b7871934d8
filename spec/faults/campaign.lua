-- Runs a campaign: hands its cases to client processes, many at once, lets the campaign judge each
-- outcome against what its servers saw, watches all output for secrets, and prints the figures.

local canary = require "faults.canary"
local cjson = require "cjson"
local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local sys = require "faults.sys"

local campaign = {}

--- Builds the module with sanitizers; returns the environment that loads it, for a shell.
function campaign.sanitized()
  assert(os.execute "make -s VARIANT=asan all >&2")
  return "LUA_CPATH='" .. os.getenv("LUA_CPATH"):gsub("/build/5%.4/", "/build/asan-5.4/") .. "' "
    .. "LD_PRELOAD=$(cc -print-file-name=libasan.so) "
    .. "ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1 "
end

campaign.key, campaign.secret = canary.key, canary.secret
campaign.signature = canary.signature

campaign.full = os.getenv "FULL" == "1"
campaign.quick = os.getenv "QUICK" == "1" -- the share that `make test` runs
campaign.folder = "build/torture"
campaign.read = require "faults.read"

--- Picks by size: campaign.size(quick, usual, full).
function campaign.size(quick, usual, full)
  return campaign.full and full or campaign.quick and quick or usual
end

local Campaign = {}
Campaign.__index = Campaign

--- Starts a campaign. options: `id`, `title`, `at_once` (how many cases run together),
--- `limit` (seconds an outcome may take), `interpreter` (a list, default lua5.4 itself),
--- `env` (a list of NAME=value for the clients).
function campaign.new(options)
  os.execute("mkdir -p " .. campaign.folder)
  return setmetatable({
    id = options.id, name = arg[0]:match "([%w_]+)%.lua$", title = options.title,
    at_once = options.at_once or 32,
    limit = options.limit or 30, env = options.env, script = options.script,
    interpreter = options.interpreter or { "lua5.4" },
    loop = cqueues.new(), cases = 0, violations = {}, leaks = 0, swept = 0, worst = {}, notes = {},
    waiting = {}, begun = cqueues.monotime(),
    -- In memory where that can be: these campaigns are about order, not about the disk's patience.
    temporary = sys.mkdtemp("/dev/shm/kontext-" .. options.id:lower() .. "-")
      or assert(sys.mkdtemp("/tmp/kontext-" .. options.id:lower() .. "-")),
    options = options,
  }, Campaign)
end

--- Notes what broke a promise.
function Campaign:violation(case, ...)
  local text = (case and (tostring(case) .. ": ") or "") .. table.concat({ ... }, " ")
  self.violations[#self.violations + 1] = text
end

--- Remembers the longest time seen under a name, in seconds.
function Campaign:latency(name, seconds)
  if seconds and seconds > (self.worst[name] or 0) then self.worst[name] = seconds end
end

--- Looks for secrets in `text`; what signs the polling URL may stand in a journal.
function Campaign:scan(text, where, journal)
  for name, secret in pairs(canary) do
    local at = not (journal and name == "poll") and text:find(secret, 1, true)
    if at then
      self.leaks = self.leaks + 1
      self:violation(where, "S2: it shows the", name, "in:",
        text:sub(math.max(1, at - 200), at + 99))
    end
  end
end

--- Looks for secrets in every file below a folder, hidden and left over ones too, or in one file.
function Campaign:sweep(path)
  local kind = (sys.stat(path) or {}).kind
  if kind == "directory" then
    for _, name in ipairs(sys.list(path) or {}) do self:sweep(path .. "/" .. name) end
  end
  local file = kind == "file" and io.open(path, "rb")
  if not file then return end
  local bytes = file:read "a"
  file:close()
  self.swept = self.swept + 1
  self:scan(bytes, path, bytes:find "^%x%x%x%x%x%x%x%x %u+ %d+ ")
end

--- Sweeps and removes what has this path, and all that has it with an extension.
function Campaign:clear(path)
  local folder, name = path:match "^(.*)/([^/]+)$"
  for _, found in ipairs(sys.list(folder) or {}) do
    if found == name or found:sub(1, #name + 1) == name .. "." then
      self:sweep(folder .. "/" .. found)
      os.execute(("rm -rf '%s/%s'"):format(folder, found))
    end
  end
end

-- Plants every canary where a client might leave it; the sweep has to find them all, and no more.
local function prove_sweep(self)
  local folder, planted = self.temporary .. "/planted", 0
  os.execute(("mkdir -p '%s/deep/.hidden'"):format(folder))
  for name, secret in pairs(canary) do
    for _, path in ipairs { "/" .. name, "/deep/.hidden/.kontext-" .. name } do
      local file = assert(io.open(folder .. path, "wb"))
      file:write(("\0\255"):rep(40000), secret, ("\0\n"):rep(40000))
      file:close()
      planted = planted + 1
    end
  end
  local journal = assert(io.open(folder .. "/journal", "wb"))
  journal:write("01234567 ACCEPTED 1 polling_url=", canary.poll, "\n")
  journal:close()
  local probe = setmetatable({ leaks = 0, swept = 0, violations = {} }, Campaign)
  probe:sweep(folder)
  if probe.leaks ~= planted then
    self:violation(nil, ("S2: the sweep found %d of %d canaries"):format(probe.leaks, planted))
  end
  os.execute(("rm -rf '%s'"):format(folder))
end

--- An outcome in words.
function campaign.told(outcome)
  if not outcome then return "nothing" end
  return (outcome.status or "?") .. (outcome.error and " (" .. outcome.error.text .. ")" or "")
end

-- All of an outcome but what may tell the polling URL.
local function said(outcome)
  local token, url = outcome.token, outcome.error and outcome.error.polling_url
  outcome.token = nil
  if url then outcome.error.polling_url = nil end
  local text = cjson.encode(outcome)
  outcome.token = token
  if url then outcome.error.polling_url = url end
  return text
end

-- One client process and the cases that wait for its word.
local Client = {}
Client.__index = Client

function Campaign:client(options)
  options = options or {}
  local argv = {}
  for _, word in ipairs(options.interpreter or self.interpreter) do argv[#argv + 1] = word end
  argv[#argv + 1] = options.script or self.script or "spec/faults/client.lua"
  local errors = self.temporary .. "/stderr"
  local pid, fd = assert(sys.spawn(argv, options.env or self.env,
    { stderr = errors, nofile = options.nofile }))
  local pipe = socket.fdopen(fd)
  pipe:setmode("b", "bn")
  pipe:setmaxline(1048576)
  pipe:onerror(function(_, _, code) return code end)
  local made = setmetatable({ pid = pid, pipe = pipe, pending = {}, campaign = self }, Client)
  self.loop:wrap(function()
    for line in pipe:lines "*l" do
      local fine, outcome = pcall(cjson.decode, line)
      self:scan(fine and said(outcome) or line, "client's word")
      local waiting = fine and made.pending[outcome.id]
      if waiting then
        waiting.outcome = outcome
        waiting.ready:signal()
      else
        self:violation(nil, "the client says nonsense:", line:sub(1, 200))
      end
    end
    made.gone = true
    cqueues.cancel(pipe:pollfd())
    pipe:close()
    if not made.stopped then
      local how, number = sys.wait(pid)
      made.reaped = true
      self:violation(nil, "a client died:", tostring(how), tostring(number), "see", errors)
    end
    for _, waiting in pairs(made.pending) do waiting.ready:signal() end
  end)
  return made
end

--- Sends a request and waits for its outcome; nil when none came.
function Client:run(request)
  local waiting = { ready = condition.new() }
  self.campaign.serial = (self.campaign.serial or 0) + 1
  request.id = self.campaign.serial
  if request.edit then
    request.edit.webhook_secret = request.edit.webhook_secret or canary.secret
  end
  self.pending[request.id] = waiting
  if self.gone then return nil end
  self.pipe:write(cjson.encode(request), "\n")
  waiting.ready:wait(self.campaign.limit)
  self.pending[request.id] = nil
  return waiting.outcome
end

--- Kilobytes that a line of /proc/PID/status tells, such as VmHWM.
function Client:memory(line)
  local file = io.open("/proc/" .. self.pid .. "/status")
  if not file then return 0 end
  local kilobytes = tonumber(file:read "a":match("\n" .. line .. ":%s*(%d+)")) or 0
  file:close()
  return kilobytes
end

--- Seconds of processor time that the process has used: a busy machine adds nothing to them.
function Client:cpu()
  local file = io.open("/proc/" .. self.pid .. "/stat")
  if not file then return 0 end
  local user, kernel = file:read "a":match("%)" .. (" %S+"):rep(11) .. " (%d+) (%d+)")
  file:close()
  return (tonumber(user) + tonumber(kernel)) / 100
end

--- Ends a client process; returns how it ended. It has `seconds` to go by itself.
function Client:stop(seconds)
  self.stopped = true
  if self.reaped then return end
  if not self.gone then self.pipe:shutdown "w" end
  local deadline = cqueues.monotime() + (seconds or 2)
  while true do
    local how, number = sys.wait(self.pid, true)
    if how then return how, number end
    if cqueues.monotime() > deadline then
      sys.kill(self.pid, 9)
      sys.wait(self.pid)
      return "hung"
    end
    cqueues.sleep(0.005)
  end
end

--- Runs `try(case, client)` for every case of a list, `at_once` at a time, over one client process
--- that is replaced if it dies. `try` returns nothing, or what the violation is.
function Campaign:each(cases, try)
  local next_case, running, changed = 1, 0, condition.new()
  self.shared = self.shared or self:client()
  for _ = 1, math.min(self.at_once, #cases) do
    running = running + 1
    self.loop:wrap(function()
      while next_case <= #cases do
        local case = cases[next_case]
        next_case = next_case + 1
        if self.shared.gone then self.shared = self:client() end
        local fine, broken = xpcall(try, debug.traceback, case, self.shared)
        self.cases = self.cases + 1
        if not fine then broken = "the harness failed: " .. tostring(broken) end
        if broken then self:violation(case.name or self.cases, broken) end
      end
      running = running - 1
      changed:signal()
    end)
  end
  while running > 0 do changed:wait() end
end

--- The verdict that every outcome is put to first: nil, or what is wrong with it.
function Campaign:sane(outcome)
  if not outcome then return "no outcome within " .. self.limit .. " s" end
  if outcome.raised then return "it raised: " .. outcome.raised end
  for name, seconds in pairs(outcome.worst) do self:latency(name, seconds) end
end

-- The longest calls, as "step 1.2 ms, cancel 0.1 ms".
local function latencies(worst)
  local names, parts = {}, {}
  for name in pairs(worst) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = ("%s %.1f ms"):format(name, worst[name] * 1000) end
  return table.concat(parts, ", ")
end

--- Runs `main(self)` in the loop, prints the figures as one line, keeps them for the report, and
--- exits: 0, or 1 when a promise was broken.
function Campaign:run(main)
  self.loop:wrap(function()
    local fine, why = xpcall(main, debug.traceback, self)
    if not fine then self:violation(nil, "the harness failed:", why) end
    if self.shared then
      local how, number = self.shared:stop()
      if how ~= "exit" or number ~= 0 then
        self:violation(nil, "the client ended badly:", tostring(how), tostring(number))
      end
    end
    self:finish()
  end)
  assert(self.loop:loop())
end

function Campaign:finish()
  local stderr = io.open(self.temporary .. "/stderr")
  if stderr then
    local text = stderr:read "a"
    stderr:close()
    if #text > 0 then io.stderr:write(text:sub(1, 4000), "\n") end
  end
  prove_sweep(self)
  self:sweep(self.temporary)
  local seconds = cqueues.monotime() - self.begun
  local longest = latencies(self.worst)
  local line = ("%-3s %-20s %6d cases, %d violations%s%s, %.0f s"):format(self.id, self.name,
    self.cases, #self.violations, longest ~= "" and "; longest: " .. longest or "",
    #self.notes > 0 and "; " .. table.concat(self.notes, ", ") or "", seconds)
  local report = assert(io.open(campaign.folder .. "/" .. self.id .. ".json", "w"))
  report:write(cjson.encode { id = self.id, name = self.name, title = self.title,
    cases = self.cases, line = line,
    violations = #self.violations, leaks = self.leaks, swept = self.swept, worst = longest,
    seconds = seconds, notes = table.concat(self.notes, "; "),
    size = campaign.size("quick", "CI", "full") }, "\n")
  report:close()
  for i = 1, math.min(20, #self.violations) do io.stderr:write("  ", self.violations[i], "\n") end
  io.stdout:write(line, "\n"):flush()
  os.execute("rm -rf " .. self.temporary)
  os.exit(#self.violations == 0 and 0 or 1, false)
end

return campaign
