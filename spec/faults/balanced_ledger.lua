-- R7: ten thousand edits, 24 at a time, while the service refuses, breaks and cuts its answers:
-- each is paid for at most once, what was accepted is delivered, and the client grows neither in
-- descriptors nor in memory.

local campaign = require "faults.campaign"
local picture = require "faults.picture"
local server = require "faults.server"
local service = require "faults.service"
local sys = require "faults.sys"

local JOBS = campaign.size(500, 10000, 100000)
local SLOPE = campaign.size(4, 0.1, 0.1) -- KiB a job; caches still grow in a few jobs
local SPOILED = { -- out of a hundred answers to submits
  { share = 5, name = "429" }, { share = 3, name = "503" }, { share = 2, name = "reset" },
  { share = 1, name = "truncated" }, { share = 1, name = "beheaded" },
}

local run = campaign.new { id = "R7", title = "ten thousand edits, the ledger balances",
                           at_once = 30, limit = 120 }

local image = run.temporary .. "/small.png"
local seen = {} -- by prompt: { accepted =, lost =, refused = }

-- A generator of our own, so that a run can be repeated.
local random = 20260101
local function roll(n)
  random = (random * 1103515245 + 12345) % 2147483648
  return (random >> 8) % n
end

local function pick()
  local at = roll(100)
  for _, one in ipairs(SPOILED) do
    if at < one.share then return one.name end
    at = at - one.share
  end
end

local refusals = {
  ["429"] = { "429 Too Many Requests", '{"detail":"Too many active tasks"}' },
  ["503"] = { "503 Service Unavailable", '{"detail":"Overloaded"}' },
}

local function spoil(conn, entry, route, bytes)
  if route ~= "submit" then
    -- Polls and downloads are paid work: as many of them break, and none may be lost.
    local fate = pick()
    if fate == "reset" then
      conn:reset()
      return false
    elseif fate == "truncated" or fate == "beheaded" then
      conn:send(bytes:sub(1, #bytes // 2))
      return false
    end
    return nil
  end
  local one = seen[entry.body:match '"edit (%d+)"']
  local fate = pick()
  if refusals[fate] then
    one.refused = one.refused + 1
    conn:answer(refusals[fate][1], {}, refusals[fate][2])
    return true
  end
  one.accepted = one.accepted + 1
  if not fate then return nil end
  if fate == "truncated" then -- in the polling URL: the id can be read
    conn:send(bytes:sub(1, -60))
    return false
  end
  one.lost = true
  if fate == "beheaded" then conn:send(bytes:sub(1, #bytes // 4)) else conn:reset() end
  return false
end

local function try(case, client)
  seen[case.name] = { accepted = 0, refused = 0 }
  local outcome = client:run {
    keep = "all", new = case.new,
    edit = { prompt = "edit " .. case.name, input_image = image, output_format = "png" },
  }
  local one = seen[case.name]
  seen[case.name] = nil
  local wrong = run:sane(outcome)
  if wrong then return wrong end
  local told = campaign.told(outcome)
  local kind = outcome.error and outcome.error.kind
  run.counts[kind or outcome.status] = (run.counts[kind or outcome.status] or 0) + 1
  if one.accepted > 1 then return ("PAID %d TIMES; told: %s"):format(one.accepted, told) end
  if one.lost then
    if kind ~= "ambiguous" then return "its answer was lost, it is told " .. told end
  elseif one.accepted == 1 then
    if outcome.status ~= "ready" then return "paid for and not delivered: " .. told end
  elseif kind ~= "rate_limited" and kind ~= "http" then
    return ("refused %d times, told %s"):format(one.refused, told)
  end
  if case.sample then case.sample(client) end
end

run:run(function()
  run.counts = {}
  local file = assert(io.open(image, "wb"))
  file:write(picture.png(24, 16))
  file:close()
  local script, state = service.script { spoil = spoil, keep = true }
  local back = server.start(run.loop, script)
  state.base = "http://127.0.0.1:" .. back.port
  local new = { base_url = state.base, api_key = campaign.key, poll_interval = 0.02, timeout = 60,
                max_active = 24 }
  local samples = {}
  local function sample(client)
    samples[#samples + 1] = { memory = client:memory "VmRSS",
                              files = #sys.list("/proc/" .. client.pid .. "/fd") }
    for i = #back.ledger, 1, -1 do back.ledger[i] = nil end -- our own memory
    state.ids = {}
  end
  local cases = {}
  for i = 1, JOBS do
    cases[i] = { name = tostring(i), new = new, sample = i % (JOBS // 10) == 0 and sample or nil }
  end
  run:each(cases, try)
  -- The first tenths fill caches and pools; what grows after them grows with the jobs.
  local first, last = samples[3], samples[#samples]
  local slope = (last.memory - first.memory) / (JOBS * (#samples - 3) / 10)
  if slope > SLOPE then run:violation("memory", ("grows by %.3f KiB a job"):format(slope)) end
  if last.files > first.files + 16 then
    run:violation("descriptors", ("%d, later %d"):format(first.files, last.files))
  end
  local parts = {}
  for kind, n in pairs(run.counts) do parts[#parts + 1] = n .. " " .. kind end
  table.sort(parts)
  run.notes = { table.concat(parts, ", "), ("%.3f KiB a job"):format(slope),
                ("%d to %d descriptors"):format(first.files, last.files) }
end)
