-- The side under test: a process of its own that carries out what a campaign asks for, many cases
-- at once, and says what it believes happened. One JSON line in, one out.
--
-- A request: { id, new = options of kontext.new, warm = how many idle connections to make first,
--   edit = params | resume = token | credits = true, again = params (an edit of the first's image),
--   cancel_after, close_after (seconds), wait_for = status to cancel or close at,
--   keep = name (the client is kept for later requests of that name) }
-- An outcome: { id, status, error = {…}, bytes, md5, sent, total, token, raised, seconds,
--   warnings = how many, worst =
--   {step =, edit =, cancel =, close =} seconds of the longest single call }

local cqueues = require "cqueues"
local socket = require "cqueues.socket"
local cjson = require "cjson"
local core = require "kontext.core"
local kontext = require "kontext"

local unpack = table.unpack or unpack -- luacheck: ignore

local loop = cqueues.new()
local stdin = socket.fdopen(0)
local stdout = socket.fdopen { fd = 1 }
stdin:setmode("b", "bn")
stdout:setmode("b", "bn")
stdin:setmaxline(1048576)

local function timed(worst, name, object, ...)
  local begun = core.now()
  local results = { object[name](object, ...) }
  local took = core.now() - begun
  if took > (worst[name] or 0) then worst[name] = took end
  return unpack(results)
end

-- Drives a client until `done()`; returns false when `limit` (a time) came first.
local function drive(client, worst, done, limit)
  while true do
    timed(worst, "step", client)
    if done() then return true end
    if limit and core.now() >= limit then return false end
    if limit then cqueues.poll(client, limit - core.now()) else cqueues.poll(client) end
  end
end

local ENDED = { ready = true, failed = true, cancelled = true }

local function ended(job)
  return function() return ENDED[job.status] end
end

local function hex(bytes)
  return (bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

local function plain(err)
  if err == nil then return nil end
  local out = { text = tostring(err) }
  for _, name in ipairs { "kind", "message", "stage", "status", "code", "retryable", "charged",
                          "job_id", "polling_url" } do
    out[name] = err[name]
  end
  if err.body ~= nil then out.body = tostring(err.body):sub(1, 2000) end
  return out
end

local kept = {}

local function carry_out(request, outcome)
  local worst = outcome.worst
  local client = request.keep and kept[request.keep]
  if not client then client = kontext.new(request.new) end
  if request.keep then kept[request.keep] = client end
  if request.warm then
    local warm = {}
    for i = 1, request.warm do warm[i] = client:credits() end
    drive(client, worst, function()
      for _, job in ipairs(warm) do
        if not ENDED[job.status] then return false end
      end
      return true
    end)
    for _, job in ipairs(warm) do
      if job.status ~= "ready" then outcome.warm = tostring(job.error) end
    end
  end
  local begun = core.now()
  local job
  if request.resume then job = client:resume(request.resume)
  elseif request.credits then job = client:credits()
  else job = timed(worst, "edit", client, request.edit) end
  outcome.edit_seconds = core.now() - begun
  local stop = request.cancel_after or request.close_after
  local finished = request.wait_for and function()
    return job.status == request.wait_for or ENDED[job.status]
  end or ended(job)
  local limit = stop and not request.wait_for and begun + stop or nil
  drive(client, worst, finished, limit)
  outcome.token = job.id and job:token() or nil
  if request.cancel_after then
    outcome.at_cancel = job.status
    timed(worst, "cancel", job)
    drive(client, worst, ended(job))
  end
  if not request.close_after and request.again and job.status == "ready" then
    job = job.image:edit(request.again)
    drive(client, worst, ended(job))
  end
  outcome.seconds = core.now() - begun
  outcome.status, outcome.sent, outcome.total = job.status, job.sent, job.total
  outcome.job_id, outcome.error = job.id, plain(job.error)
  outcome.warnings = #(job.warnings or {})
  if job.status == "ready" and type(job.image) == "table" and job.image.bytes then
    outcome.bytes, outcome.md5 = #job.image.bytes, hex(core.md5(job.image.bytes))
  end
  outcome.job_text = tostring(job)
  if not request.keep then
    cqueues.cancel(client:pollfd()) -- the loop is not to watch what is about to be closed
    timed(worst, "close", client)
  end
end

loop:wrap(function()
  for line in stdin:lines "*l" do
    local request = cjson.decode(line)
    loop:wrap(function()
      local outcome = { id = request.id, worst = {} }
      local ok, why = xpcall(carry_out, debug.traceback, request, outcome)
      if not ok then outcome.raised = tostring(why) end
      stdout:write(cjson.encode(outcome), "\n")
    end)
  end
end)

assert(loop:loop())
