local schedule = require "kontext.job.schedule"

-- Returns the ages at which a task of that length is polled.
local function ages(learned, length)
  local list, age = {}, 0
  repeat
    age = age + schedule.gap(learned, age)
    list[#list + 1] = age
  until age >= length
  return list
end

-- Returns what is learned from tasks that end a moment after `length`.
local function after(count, length)
  local learned = schedule.new()
  for _ = 1, count do
    schedule.learn(learned, length - 0.1, length + 0.1, #ages(learned, length))
  end
  return learned
end

-- Returns mean delay and polls of tasks of these lengths, one after the other.
local function run(lengths, learned)
  local delay, polls = 0, 0
  for _, length in ipairs(lengths) do
    local list = ages(learned, length)
    delay, polls = delay + list[#list] - length, polls + #list
    schedule.learn(learned, list[#list - 1] or 0, list[#list], #list)
  end
  return delay / #lengths, polls / #lengths
end

-- The normal distribution's quantile, by Tukey's lambda.
local function normal(p) return (p ^ 0.135 - (1 - p) ^ 0.135) / 0.1975 end

local function lognormal(median, sigma)
  return function(p) return median * math.exp(sigma * normal(p)) end
end

-- Quantile functions of services: what a task takes, in seconds.
local services = {
  ["5 s"] = lognormal(5, 0.05),
  ["5 s or a little more or less"] = lognormal(5, 0.2),
  ["5 s or more or less"] = lognormal(5, 0.3),
  ["3 to 8 s"] = function(p) return 3 + 5 * p end,
  ["4 s and a heavy tail"] = function(p) return 4 * (1 - p) ^ -0.4 end,
  ["5 s, each 20th 15 to 35"] = function(p)
    return p < 0.95 and lognormal(5, 0.25)(p / 0.95) or 15 + 400 * (p - 0.95)
  end,
  ["two models, 4 and 9 s"] = function(p)
    return p < 0.6 and lognormal(4, 0.1)(p / 0.6) or lognormal(9, 0.1)((p - 0.6) / 0.4)
  end,
  ["8 s or more or less"] = lognormal(8, 0.3),
  ["2.5 s or more or less"] = lognormal(2.5, 0.3),
  ["0.2 s"] = function(p) return 0.2 + 0.01 * p end,
}

-- Returns the lengths of 97 tasks of a service, in an order without a trend.
local function lengths_of(quantile)
  local lengths = {}
  for i = 1, 97 do lengths[i] = quantile((i * 37 % 97 + 0.5) / 97) end
  return lengths
end

-- The same for a loop.
local function loop(lengths, interval)
  local delay, polls = 0, 0
  for _, length in ipairs(lengths) do
    local n = math.ceil(length / interval)
    delay, polls = delay + n * interval - length, polls + n
  end
  return delay / #lengths, polls / #lengths
end

describe("the poll schedule", function()
  it("asks first within 2 s, then sooner the likelier the end is", function()
    local learned = schedule.new()
    assert.is_true(schedule.gap(learned, 0) <= 2)
    assert.is_true(schedule.gap(learned, 1) > schedule.gap(learned, 5))
    assert.is_true(schedule.gap(learned, 5) < schedule.gap(learned, 60))
  end)

  it("never waits longer than 2 s, nor shorter than 50 ms", function()
    for _, learned in ipairs { schedule.new(), after(100, 0.2), after(100, 5), after(100, 100) } do
      for age = 0, 1000, 0.25 do
        local seconds = schedule.gap(learned, age)
        assert.is_true(seconds >= 0.05 and seconds <= 2, ("%g s at %g"):format(seconds, age))
      end
      assert.equal(2, schedule.gap(learned, 1e6))
    end
  end)

  it("notices sooner than a loop of 0.5 s, for no more polls, from the first task on", function()
    for name, quantile in pairs(services) do
      local lengths = lengths_of(quantile)
      local delay, polls = run(lengths, schedule.new())
      local loop_delay, loop_polls = loop(lengths, 0.5)
      assert.is_true(delay <= 0.65 * loop_delay, ("%s: %g s, not %g"):format(name, delay,
        loop_delay))
      assert.is_true(polls <= 1.05 * loop_polls, ("%s: %g polls, not %g"):format(name, polls,
        loop_polls))
    end
  end)

  it("makes up for the polls that a sudden change cost", function()
    local learned = schedule.new()
    run(lengths_of(services["2.5 s or more or less"]), learned)
    local lengths = lengths_of(services["8 s or more or less"])
    run(lengths, learned)
    local delay, polls = run(lengths, learned)
    local loop_delay, loop_polls = loop(lengths, 0.5)
    assert.is_true(delay <= 0.65 * loop_delay and polls <= 1.05 * loop_polls)
  end)

  it("learns how long the service takes, however long", function()
    for _, length in ipairs { 0.2, 2, 12, 60 } do
      local learned = schedule.new()
      local first = run({ length }, learned)
      for _ = 1, 30 do run({ length }, learned) end
      local delay, polls = run({ length * 1.01 }, learned)
      assert.is_true(delay < first / 2 and delay < 0.15 or delay < 0.1 * length,
        ("%g s after %g"):format(delay, length))
      assert.is_true(polls <= 64, polls)
    end
  end)

  it("forgets what was long ago", function()
    local learned, only = after(100, 20), after(100, 4)
    for _ = 1, 200 do schedule.learn(learned, 3.9, 4.1, #ages(learned, 4)) end
    for _, age in ipairs { 1, 3, 3.8, 6 } do
      local seconds, wanted = schedule.gap(learned, age), schedule.gap(only, age)
      assert.is_true(math.abs(seconds / wanted - 1) < 0.15, ("%g, not %g"):format(seconds, wanted))
    end
  end)

  it("takes a length beyond all that it tells apart", function()
    local learned = schedule.new()
    schedule.learn(learned, 1e4, 1e4 + 1, 5000)
    local sum = 0
    for _, share in ipairs(learned.shares) do sum = sum + share end
    assert.is_true(math.abs(sum - 1) < 1e-9, sum)
  end)

  it("makes a client notice sooner, edit by edit #once", function()
    local clock = require "spec.support.clock"
    local raw = require "spec.support.raw"
    local server = raw.start()
    server:script(raw.service({}, ""))
    local client = require "kontext".new { base_url = server.url, api_key = raw.key }
    local began, took = require "kontext.core".now(), {}
    for i = 1, 6 do
      local job = client:edit { prompt = "at once" }
      took[i] = clock(job.wait, job, 20)
      assert.equal("ready", job.status)
      if i == 1 then assert.is_true(require "kontext.core".now() - began >= 1) end
    end
    client:close()
    local polls = #server:requests("GET", "get_result")
    server:stop()
    assert.is_true(took[6] < 0.6 * took[1], took[6])
    assert.is_true(polls <= 12, polls)
  end)
end)
