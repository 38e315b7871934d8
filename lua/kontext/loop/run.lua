--- kontext.run: a scheduler of a few lines, for scripts that have no loop of their own.
local core = require "kontext.core"
local errors = require "kontext.errors"

local run = {}

-- By coroutine, the run that drives it: its coroutines that are `ready`, by coroutine the `waits`
-- of the others, with how many wait for a `clients`' job and which have a `deadlines`.
local runs = setmetatable({}, { __mode = "k" })

--- Returns whether a kontext.run drives the running coroutine.
---@return boolean
function run.running()
  local co = coroutine.running()
  return co ~= nil and runs[co] ~= nil
end

-- Ends a wait, once: the coroutine goes on in the next round.
local function wake(this, co, wait)
  if this.waits[co] ~= wait then return end
  this.waits[co], this.deadlines[co] = nil, nil
  local others = this.clients[wait.client] - 1
  this.clients[wait.client] = others > 0 and others or nil
  this.ready[#this.ready + 1] = co
end

--- Suspends the running coroutine until the job has ended or the time is over.
---@param client table
---@param seconds number?
---@param job table
function run.wait(client, seconds, job)
  local co = coroutine.running()
  local this, wait = runs[co], { client = client }
  this.waits[co] = wait
  this.clients[client] = (this.clients[client] or 0) + 1
  this.deadlines[co] = seconds and core.now() + seconds
  client:on_end(job, function() wake(this, co, wait) end)
  coroutine.yield()
end

-- Returns nil if the coroutine succeeded, else message, error and where it was raised.
local function failure(co, done, result, message, err)
  if not done then
    return tostring(result), errors.is(result) and result or nil, co and debug.traceback(co)
  end
  if result == nil and type(message) == "string" then return message, err end
end

-- Waits for something to do, and does it. Returns the error of a host's callback, which ends no
-- wait.
local function drive(this)
  local message, err
  local deadline = math.huge
  for _, one in pairs(this.deadlines) do deadline = math.min(deadline, one) end
  local clients = {}
  for client in pairs(this.clients) do clients[#clients + 1] = client end
  for _, client in ipairs(clients) do
    local seconds = math.max(0, math.min(deadline - core.now(), #clients == 1 and 60 or 0.01))
    local done, problem = pcall(client.poll, client, seconds)
    if not done then message, err = failure(nil, false, problem) end
  end
  for co, one in pairs(this.deadlines) do
    if one <= core.now() then wake(this, co, this.waits[co]) end
  end
  return message, err
end

--- Runs functions as coroutines until all have ended; `job:wait()` in one lets the others go on.
---@param ... function
---@return true? done nil when one raised, or returned nil and a message
---@return string? message of the first that did
---@return kontext.Error? err
---@return string? trace where it was raised
function run.all(...)
  local this = { ready = {}, waits = {}, clients = {}, deadlines = {} }
  local message, err, trace
  local function note(first, first_err, first_trace)
    if not message then message, err, trace = first, first_err, first_trace end
  end
  for i = 1, select("#", ...) do
    local fn = select(i, ...)
    if type(fn) ~= "function" then error("run takes functions, not " .. type(fn), 2) end
    this.ready[i] = coroutine.create(fn)
    runs[this.ready[i]] = this
  end
  while this.ready[1] or next(this.waits) do
    local round = this.ready
    this.ready = {}
    for _, co in ipairs(round) do
      note(failure(co, coroutine.resume(co)))
      if coroutine.status(co) == "suspended" and not this.waits[co] then
        this.ready[#this.ready + 1] = co -- it yielded for a reason of its own
      end
    end
    if not this.ready[1] and next(this.waits) then note(drive(this)) end
  end
  if message then return nil, message, err, trace end
  return true
end

return run
