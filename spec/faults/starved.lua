-- The scenarios of R4, for build/faults/oom-*: what is done while memory fails at the n-th
-- allocation and all after it. Arguments: n, scenario, base URL, key, image, folder.
-- Returns the scenario, which tells whether all went well, and what comes after it.

local canary = require "faults.canary"

local n, name, base, key, image, folder = ...

-- LuaJIT's recorder goes round without end where memory fails while it gives a trace up.
local jit = rawget(_G, "jit")
if jit then jit.off() end

local scenarios, after = {}, {}
local kontext = name ~= "require" and name ~= "control" and require "kontext"
local held = {} -- what the scenario made, for the end

local function options(more)
  local all = { base_url = base, api_key = key, poll_interval = 0.001, timeout = 20 }
  for k, v in pairs(more or {}) do all[k] = v end
  return all
end

local function params(more)
  local all = { prompt = name .. " " .. n, input_image = image, output_format = "png",
                webhook_secret = canary.secret }
  for k, v in pairs(more or {}) do all[k] = v end
  return all
end

local function new(more)
  held.client = kontext.new(options(more))
  return held.client
end

local function make() return {} end

-- Waits for the end of a job or a batch. What is paid for is tried until its deadline, however
-- long memory is short: the host gives up sooner.
local function wait(awaited)
  local client, polls = held.client, 0
  while not awaited:ended() do
    client:poll(0.01)
    if not pcall(make) then polls = polls + 1 end
    if polls == 30 then awaited:cancel() end
  end
  return awaited:wait()
end

-- Lua alone: what it leaves of itself.
function scenarios.control()
  for _ = 1, 20 do assert(loadfile(folder .. "/control.lua")) end
  return true
end

function scenarios.require()
  kontext = require "kontext"
  return kontext.new ~= nil
end

function scenarios.new() return new():pollfd() ~= nil end

function scenarios.check() return kontext.check(image) ~= nil end

function scenarios.size() return kontext.output_size("16:9") == 1392 end

function scenarios.replace() return #kontext.replace_text("joy", "BFL") > 0 end

function scenarios.refuse()
  local _, message = new():edit(params { seed = "x", input_image = "/nowhere" }):wait()
  return message ~= nil
end

function scenarios.edit()
  held.job = new():edit(params())
  return wait(held.job) ~= nil
end

function scenarios.save()
  held.job = new():edit(params { save_as = ("%s/%s-%d.png"):format(folder, name, n) })
  return wait(held.job) ~= nil
end

function scenarios.journal()
  held.job = new { journal = ("%s/journal-%d"):format(folder, n) }:edit(params { key = "one" })
  return wait(held.job) ~= nil
end

function scenarios.batch()
  local client = new { journal = ("%s/batch-%d"):format(folder, n) }
  local results = wait(client:batch { params { key = "a" }, params { key = "b",
    prompt = name .. " b" .. n } })
  return results ~= nil and results[1].error == nil and results[2].error == nil
end

function scenarios.cancel()
  held.job = new():edit(params())
  while held.job.status == "waiting" do held.client:poll(0.01) end
  held.job:cancel()
  return held.job.status == "cancelled"
end

function scenarios.resume()
  held.job = new():resume(held.token)
  return wait(held.job) ~= nil
end

function scenarios.run()
  local client = new { timeout = 4 }
  local count = 0
  assert(kontext.run(function()
    if client:edit(params()):wait() then count = count + 1 end
  end, function()
    if client:credits():wait() then count = count + 1 end
  end))
  return count == 2
end

function scenarios.credits() return wait(new():credits()) == 1000.5 end

function scenarios.webhook()
  local event = kontext.webhook.verify({ ["X-Webhook-Secret"] = "secret" },
    '{"id":"x","status":"Ready","result":{"sample":"https://x/y"}}', "secret")
  return event ~= nil and event.id == "x"
end

function scenarios.progress()
  local seen = 0
  held.job = new():edit(params { on_progress = function() seen = seen + 1 end })
  return wait(held.job) ~= nil and seen > 0
end

if name == "control" then
  local file = assert(io.open(folder .. "/control.lua", "w"))
  file:write "return 1"
  file:close()
end

if name == "resume" then -- a token, made while there is memory
  local client = kontext.new(options())
  local job = client:edit(params())
  assert(job:wait())
  held.token = assert(job:token())
  client:close()
end

function after.all()
  -- The host goes on: the client is stepped for a while, then closed, whatever state it is in.
  local client = held.client
  if client then
    for _ = 1, 20 do
      if not pcall(client.poll, client, 0.001) then break end
    end
    client:close()
  end
  collectgarbage()
end

return assert(scenarios[name], name), after.all
