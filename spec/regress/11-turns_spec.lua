local kontext = require "kontext"
local queue = require "kontext.client.queue"
local raw = require "spec.support.raw"

-- Where steps are short and much is due, the same few jobs once had all the turns.
describe("polls", function()
  it("take turns where more is due than is done", function()
    local server, accepted, tasks = raw.start(), {}, 24
    local pending = raw.status "Pending"
    pending.keep = true
    for i = 1, tasks do
      accepted[i] = raw.accepted { polling_url = "$HERE/v1/get_result?id=task-" .. i }
    end
    server:script(raw.service({}, "", { submit = accepted, poll = { pending } }))
    local client = kontext.new { base_url = server.url, api_key = raw.key,
      poll_interval = 0.00001 }
    local jobs, polls = {}
    for i = 1, tasks do jobs[i] = client:edit { prompt = "x", input_image = raw.picture } end
    local function all_wait()
      for _, job in ipairs(jobs) do
        if job.status ~= "pending" then return false end
      end
      return true
    end
    while not all_wait() do client:poll(0.01) end
    local before = #server:requests("GET", "get_result")
    repeat
      for _ = 1, 500 do client:step() end
      local seen = server:requests("GET", "get_result")
      polls = {}
      for at = before + 1, #seen do
        local id = seen[at].target:match "id=(.*)$"
        polls[id] = (polls[id] or 0) + 1
      end
    until #seen > before + 40 * tasks
    local least, most = math.huge, 0
    for i = 1, tasks do
      local count = polls["task-" .. i] or 0
      least, most = math.min(least, count), math.max(most, count)
    end
    assert.is_true(least > 0 and most <= 2 * least, ("%d to %d polls"):format(least, most))
    client:close()
    server:stop()
  end)

  it("begin with the one that is due longest", function()
    local one, order = queue.new(24), {}
    for i = 24, 1, -1 do
      local done = false
      one:activate {
        ended = function() return done end,
        due = function() return done and math.huge or i / 1e6 end,
        run_due = function()
          done = true
          order[#order + 1] = i
        end,
      }
    end
    one:run_due(function() return 1 end, math.huge, false)
    assert.equal(24, #order)
    for i = 1, 24 do assert.equal(i, order[i]) end
  end)
end)
