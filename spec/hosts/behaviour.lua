-- lua behaviour.lua LOOP: what waiting in a loop promises. Prints "ok" when all of it holds.
local core = require "kontext.core"
local kontext = require "kontext"

local photo = os.getenv "KONTEXT_PHOTO"

-- How a loop starts a coroutine, and how it runs until `done()`.
local loops = {}

function loops.luv()
  local uv = require "luv"
  return function(fn) coroutine.wrap(fn)() end, function(done)
    repeat uv.run "once" until done()
    uv.run() -- luv 1.44 crashes at exit while handles are closing
  end
end

function loops.cqueues()
  local loop = require("cqueues").new()
  return function(fn) loop:wrap(fn) end, function(done)
    repeat
      local ok, problem = loop:step(1)
      if not ok and not tostring(problem):find "on purpose" then error(problem) end
    until done()
  end
end

function loops.copas()
  local copas = require "copas"
  return copas.addthread, function(done)
    if copas.running == nil then -- before 2.0
      repeat copas.step(0.01) until done()
    else
      copas.addthread(function() repeat copas.pause(0.01) until done() end)
      copas.loop()
    end
  end
end

function loops.glib()
  local context = require("lgi").GLib.MainContext.default()
  return function(fn) coroutine.wrap(fn)() end, function(done)
    repeat context:iteration(true) until done()
  end
end

local spawn, run = loops[arg[1]]()

-- Runs functions as coroutines of the loop until all have returned.
local function all(...)
  local left = select("#", ...)
  for _, fn in ipairs { ... } do
    spawn(function()
      fn()
      left = left - 1
    end)
  end
  local late = core.now() + 20
  run(function()
    assert(core.now() < late, "somebody was never woken")
    return left == 0
  end)
end

local function edit(client, prompt, more)
  local params = { prompt = prompt, input_image = { path = photo } }
  for name, value in pairs(more or {}) do params[name] = value end
  return client:edit(params)
end

-- One watcher serves many; each is woken once, by its own job's end.
local client = kontext.new { poll_interval = 0.05 }
local adapter = require("kontext.loop." .. (arg[1] == "luv" and "uv" or arg[1]))
local woken = {}
local function wait_for(n)
  return function()
    local job = edit(client, "[emulate: slow " .. n .. "]")
    repeat
      adapter.wait(client, nil, job)
      woken[n] = (woken[n] or 0) + 1
    until job:ended()
    assert(job.status == "ready", job.error)
  end
end
all(wait_for(1), wait_for(2), wait_for(3))
for n = 1, 3 do assert(woken[n] == 1, ("woken %d times for one job"):format(woken[n])) end

-- A wait that is over leaves the job alive.
all(function()
  local job = edit(client, "[emulate: slow 1]")
  local _, _, err = job:wait(0.1)
  assert(err.kind == "timeout" and err.stage == "wait", err.message)
  assert(job:wait())
end)

-- Cancelled by another coroutine, a job that waits in the queue or at the service wakes its waiter.
local jobs = { edit(client, "[emulate: slow 9]"), edit(client, "[emulate: slow 9]") }
all(function()
  local _, _, err = jobs[1]:wait()
  assert(err.kind == "cancelled")
end, function()
  local _, _, err = jobs[2]:wait()
  assert(err.kind == "cancelled")
end, function()
  jobs[1]:cancel()
  edit(client, "Something else"):wait()
  jobs[2]:cancel()
end)

-- What a callback raises is the loop's to report, and stops nobody. (luv ends the process.)
if arg[1] ~= "luv" then
  all(function()
    local raised = false
    assert(edit(client, "Make it red", {
      on_progress = function()
        if raised then return end
        raised = true
        error "on purpose"
      end,
    }):wait())
    assert(raised)
  end)
end

-- Closing wakes who waits; a new client, of the same descriptor perhaps, works in the same loop.
all(function()
  local _, _, err = edit(client, "[emulate: slow 9]"):wait()
  assert(err.kind == "closed", err.message)
  client = kontext.new { poll_interval = 0.05 }
  assert(edit(client, "Make it blue"):wait())
  client:close()
end, function()
  edit(client, "Something else"):wait()
  client:close()
end)

print "ok"
