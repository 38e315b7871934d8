-- The cases of R9, for the program `threads`: one in each round, in a Lua state of its own, whose
-- end is the last thing that is closed. Arguments: group, base URL, key, folder with pictures,
-- certificates or "", first case, stride, round. Returns true while there are cases left.

local group, base, key, folder, bundle, first, stride, round = ...

local unpack = table.unpack or unpack -- luacheck: ignore
local canary = require "faults.canary"
local kontext = require "kontext"
local core = require "kontext.core"

local number = tonumber(first) + (round - 1) * tonumber(stride)
local LIMIT = 20 -- seconds of a case, before it is said to hang

local held = {} -- all that the case holds: to drop is to forget it here
local journal = ("%s/journal-%d-%.9f"):format(folder, number, core.now())

local function collect()
  for _ = 1, 3 do collectgarbage() end
end

local function new(more)
  local options = { base_url = base, api_key = key, poll_interval = 0.002, timeout = 60,
                    ca_file = bundle ~= "" and bundle or nil }
  for name, value in pairs(more or {}) do options[name] = value end
  return kontext.new(options)
end

local function step_until(done, job)
  local limit = core.now() + LIMIT
  while not done(job) do
    held.client:poll(0.002)
    assert(core.now() < limit, "it never came so far: it is " .. job.status)
  end
end

-- How an edit is brought to each state, and what it asks for. The service knows by the prompt where
-- it is to stall.
local states = {
  waiting = { prompt = "wait" },
  uploading = { prompt = "slow upload", input_image = folder .. "/large.png" },
  fitting = { prompt = "fit", input_image = folder .. "/wide.png", fit = true },
  pending = { prompt = "never ready" },
  downloading = { prompt = "half a picture" },
  saving = { prompt = "half a picture", save_as = ("%s/saving-%d.png"):format(folder, number) },
  ready = { prompt = "ready" },
  saved = { prompt = "ready", save_as = ("%s/saved-%d.png"):format(folder, number) },
  failed = { prompt = "refuse" },
  cancelled = { prompt = "never ready" },
}

local reached = {
  waiting = function() return true end,
  fitting = function() return true end,
  uploading = function(job) return job.status == "uploading" and job.sent > 0 end,
  pending = function(job) return job.status == "pending" end,
  cancelled = function(job) return job.status == "pending" end,
  downloading = function(job) return job.status == "downloading" and job.received > 0 end,
  ready = function(job) return job.status == "ready" end,
  failed = function(job) return job.status == "failed" end,
}
reached.saving, reached.saved = reached.downloading, reached.ready

local function params(state, more)
  local given = { output_format = "png", webhook_secret = canary.secret }
  for name, value in pairs(states[state]) do given[name] = value end
  for name, value in pairs(more or {}) do given[name] = value end
  return given
end

-- Brings `held` to a state: client, job (nil in a batch, which has it), image.
local function bring(state, options)
  held.client = new { journal = options.journal and journal or nil }
  local job
  if options.batch then
    held.batch = held.client:batch { params(state, { key = "one" }), params("waiting",
      { key = "two" }) }
    job = held.batch._under_way[1] -- a batch gives no job to its user, who may still collect it
  else
    job = held.client:edit(params(state))
    held.job = job
  end
  if state == "fitting" then held.client:step() end
  step_until(reached[state], job)
  if state == "cancelled" then job:cancel() end
  held.image = job.image
  held.token = job.id and job:token()
  return job
end

-- What is closed, dropped or used, in any order.
local acts = {}

function acts.close()
  if not held.client then return end
  held.client:close()
  held.closed = true
  local job = held.job
  if job and not (job.image or job.error) then error("a closed client's job goes on") end
end

function acts.job()
  held.job, held.batch = nil, nil
  collect()
end

function acts.image()
  held.image = nil
  collect()
end

function acts.client()
  held.client = nil
  collect()
end

-- Everything is used, whatever state it is in: it may refuse, it may not break.
function acts.use()
  local job, image, client, batch = held.job, held.image, held.client, held.batch
  if job then
    job:poll()
    job:wait(0)
    job:token()
    tostring(job)
    job:cancel()
    job:cancel()
  end
  if image then
    assert(#image.bytes > 0)
    assert(image:save(("%s/used-%d.png"):format(folder, number)))
    if held.closed then assert(not pcall(image.edit, image, params "waiting")) end
  end
  if batch then
    batch:ended()
    batch:wait(0)
    batch:cancel()
  end
  if client and held.closed then
    for _, name in ipairs { "step", "poll", "pollfd", "credits" } do
      local fine, why = pcall(client[name], client)
      assert(not fine and why:find "the client is closed", why)
    end
    assert(not pcall(client.edit, client, params "waiting"))
    assert(not pcall(client.resume, client, held.token or "kontext1:"))
    client:close()
  elseif client then
    client:step()
    client:edit(params "waiting")
  end
end

-- Another client goes on with the edit, and is left in the middle of it.
function acts.resume()
  if not held.token then return end
  held.second = new()
  held.resumed = held.second:resume(held.token)
  held.second:poll(0.001)
end

-- All orders of all choices of these names, each a list.
local function orders(names)
  local found = {}
  local function extend(order, taken)
    found[#found + 1] = { unpack(order) }
    for i, name in ipairs(names) do
      if not taken[i] then
        taken[i], order[#order + 1] = true, name
        extend(order, taken)
        taken[i], order[#order] = nil, nil
      end
    end
  end
  extend({}, {})
  return found
end

local list = {} -- the group's cases: functions

local function case(name, fn) list[#list + 1] = { name = name, run = fn } end

local state_names = { "waiting", "uploading", "fitting", "pending", "downloading", "saving",
                      "ready", "saved", "failed", "cancelled" }

local groups = {}

function groups.orders()
  local all = orders { "close", "job", "client", "use", "resume" }
  local with_image = orders { "close", "job", "image", "client", "use" }
  for i = 1, #all do
    for s, state in ipairs(state_names) do
      local order = (state == "ready" or state == "saved") and with_image[i] or all[i]
      local options = { batch = (i + s) % 4 == 0 and state ~= "cancelled" and state ~= "ready"
        and state ~= "saved" and state ~= "failed", journal = (i + s) % 3 == 0 }
      case(state .. ": " .. table.concat(order, ", "), function()
        bring(state, options)
        for _, name in ipairs(order) do acts[name]() end
      end)
    end
  end
end

-- A coroutine that waits is forgotten, with or without its loop; others go on with the client.
local function forget(state, loop)
  held.client = new { loop = loop == "yield" and "yield" or nil }
  held.job = held.client:edit(params(state))
  local function wait() held.job:wait() end
  if loop == "yield" then
    local co = coroutine.create(wait)
    assert(coroutine.resume(co))
    assert(coroutine.status(co) == "suspended")
  elseif loop == "batch" then
    local client = new { loop = "yield" }
    local batch = client:batch { params(state), params "waiting" }
    local co = coroutine.create(function() batch:wait() end)
    assert(coroutine.resume(co))
  elseif loop == "run" then -- run inside a coroutine that is not taken up again
    local co = coroutine.create(function()
      kontext.run(wait, function()
        while true do coroutine.yield() end
      end)
    end)
    local limit = 5
    debug.sethook(co, function()
      limit = limit - 1
      if limit == 0 then error "stopped in the middle" end
    end, "", 20000)
    coroutine.resume(co)
  else
    local cqueues = require "cqueues"
    local controller = cqueues.new()
    controller:wrap(wait)
    for _ = 1, 3 do controller:step(0.001) end
  end
  collect()
end

function groups.forgotten()
  for _, loop in ipairs { "yield", "batch", "run", "cqueues" } do
    for _, state in ipairs { "uploading", "pending", "downloading", "ready" } do
      for _, order in ipairs(orders { "close", "job", "client" }) do
        case(("forgotten in %s, %s: %s"):format(loop, state, table.concat(order, ", ")), function()
          forget(state, loop)
          for _, name in ipairs(order) do acts[name]() end
        end)
      end
    end
    for _, state in ipairs { "ready", "pending" } do
    case(("another goes on after %s, %s"):format(loop, state), function()
      forget(state, loop)
      if state == "ready" then assert(held.job:wait(LIMIT)) end
      local again = held.client:edit(params "ready")
      if loop == "cqueues" then
        local controller = require "cqueues".new()
        local image
        controller:wrap(function() image = again:wait(LIMIT) end)
        assert(controller:loop(LIMIT / 2))
        assert(image, "a new loop never woke who waits")
      else
        assert(again:wait(LIMIT))
      end
    end)
    end
  end
end


-- The client, or another where a callback that its close calls finds it closed.
local function open()
  return held.client:is_closed() and new() or held.client
end

-- What a callback does at its nth call.
local misdeeds = {
  raise = function() error({ "thrown" }) end,
  close = function() held.client:close() end,
  cancel = function(job) job:cancel() end,
  drop = function()
    held.client, held.job = nil, nil
    collect()
  end,
  step = function() open():step() end,
  wait = function(job) job:wait(0.01) end,
  edit = function() held.other = open():edit(params "ready") end,
}

local function raised(fine, why)
  if fine then return 0 end
  assert(type(why) == "table" and why[1] == "thrown", tostring(why))
  return 1
end

function groups.callbacks()
  for name, misdeed in pairs(misdeeds) do
    for nth = 1, 4 do
      for _, how in ipairs { "poll", "wait", "batch", "close" } do
        case(("callback: %s at call %d, %s"):format(name, nth, how), function()
          local calls, thrown = 0, 0
          local function callback(job)
            calls = calls + 1
            if calls == nth then misdeed(job.wait and job or held.job) end
          end
          held.client = new()
          local client = held.client
          local given = params("ready", { prompt = "ready later", on_progress = callback })
          local job
          if how == "batch" then
            held.batch = client:batch({ given }, { on_progress = function() callback {} end })
            job = held.batch._under_way[1]
            if name == "cancel" or name == "wait" then held.job = job end
          else
            job = client:edit(given)
            held.job = job
          end
          local limit = core.now() + LIMIT
          while not (job.image or job.error) and not client:is_closed() do
            if how == "wait" then thrown = thrown + raised(pcall(job.wait, job, LIMIT))
            else thrown = thrown + raised(pcall(client.poll, client, 0.002)) end
            assert(core.now() < limit, "the edit never ended")
            if how == "close" and calls >= nth - 1 then break end
          end
          if how ~= "close" and not client:is_closed() then
            thrown = thrown + raised(pcall(client.step, client))
          end
          thrown = thrown + raised(pcall(client.close, client))
          assert(name ~= "raise" or calls < nth or thrown == 1, "raised " .. thrown .. " times")
          if name == "raise" or name == "step" or name == "wait" or name == "edit" then
            assert(how == "close" or job.status == "ready", job.status .. " "
              .. tostring(job.error))
          end
        end)
      end
    end
  end
end

-- What a forked child does with what it has from its parent.
local children = { "nothing", "use", "close", "drop", "wait", "cancel", "save", "edit" }

-- In the child: all refuses with kind "fork", nothing breaks.
local function live_as_child(what, job)
  if what == "use" or what == "wait" then
    if what == "wait" then job:wait(1) else held.client:step() end
    assert(job.image or job.error.kind == "fork", "the child's edit goes on")
    local refused, _, err = held.client:edit(params "ready"):wait(1)
    assert(refused == nil and err.kind == "fork", "a child's edit is not refused")
    for _, name in ipairs { "step", "pollfd", "timeout" } do held.client[name](held.client) end
    job:cancel()
  elseif what == "close" then
    held.client:close()
    held.client:close()
  elseif what == "drop" then
    held.client, held.job, held.batch, job = nil, nil, nil, nil -- luacheck: ignore 311
    collect()
  elseif what == "cancel" then
    job:cancel()
    assert(job.image or job.error.kind == "fork", "the child's cancel: " .. tostring(job.error))
  elseif what == "save" and job.image then
    assert(job.image:save(("%s/child-%d.png"):format(folder, number)))
  elseif what == "edit" then -- a client of its own works in the child
    local client = new()
    assert(client:edit(params("ready", { prompt = "ready in a child" })):wait(LIMIT))
  end
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

local function fork(of_states)
  local sys = require "faults.sys"
  for _, state in ipairs(of_states) do
    for _, what in ipairs(children) do
      for _, ending in ipairs { "return", "exit", "_exit" } do
        case(("fork: %s, the child: %s, %s"):format(state, what, ending), function()
          states.pending.prompt, states.downloading.prompt = "ready later", "slow picture"
          states.saving.prompt = "slow picture"
          local job = bring(state, { journal = true })
          local pid = assert(sys.fork())
          if pid == 0 then
            local fine, why = pcall(live_as_child, what, job)
            if not fine then io.stderr:write(why, "\n") end
            if ending == "_exit" or not fine then sys.exit(fine and 0 or 1) end
            if ending == "exit" then os.exit(0, true) end
            return "child"
          end
          local limit = core.now() + LIMIT
          local how, code
          repeat
            if held.client then held.client:poll(0.002) end
            how, code = sys.wait(pid, true)
          until how or core.now() > limit
          if not how then
            sys.kill(pid, 9)
            sys.wait(pid)
          end
          assert(how == "exit" and code == 0, ("the child: %s %s"):format(tostring(how),
            tostring(code)))
          assert(job:wait(LIMIT))
          assert(job.image.bytes == read(folder .. "/result.png"), "the parent's picture is torn")
          local _, saves = read(journal):gsub("%x+ SAVED ", "")
          assert(saves == (states[state].save_as and 1 or 0), "the child wrote into the journal")
          local second = new { journal = journal }
          local _, _, err = second:edit(params "waiting"):wait(1)
          assert(err and err.code == "EAGAIN", "the child let go of the parent's journal")
        end)
      end
    end
  end
end

function groups.fork()
  fork { "waiting", "uploading", "pending", "downloading", "saving", "ready" }
end

-- While another thread makes a picture fit.
function groups.fork_fitting() fork { "fitting" } end

groups[group]()
local mine = list[number]
if mine then
  if number % 2 == 0 then -- the collector starts over as soon as it has ended
    collectgarbage("setpause", 0)
    collectgarbage("setstepmul", 10000)
  end
  local fine, why = xpcall(mine.run, debug.traceback)
  if not fine then error(("case %d, %s: %s"):format(number, mine.name, tostring(why)), 0) end
  if why == "child" then return false end
end
if number + tonumber(stride) > #list then
  print("cases=" .. round)
  return false
end
return true
