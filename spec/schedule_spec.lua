local schedule = require "kontext.schedule"

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
  for _ = 1, count do schedule.learn(learned, length - 0.1, length + 0.1) end
  return learned
end

-- Returns mean delay and polls of tasks of these lengths, one after the other.
local function run(lengths, learned)
  local delay, polls = 0, 0
  for _, length in ipairs(lengths) do
    local list = ages(learned, length)
    delay, polls = delay + list[#list] - length, polls + #list
    schedule.learn(learned, list[#list - 1] or 0, list[#list])
  end
  return delay / #lengths, polls / #lengths
end

-- Quantiles of a log-normal service, in an order without a trend.
local function service(median, sigma)
  local lengths = {}
  for i = 1, 97 do
    local p = (i * 37 % 97 + 0.5) / 97
    -- the normal quantile, by Tukey's lambda
    lengths[i] = median * math.exp(sigma * (p ^ 0.135 - (1 - p) ^ 0.135) / 0.1975)
  end
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
  it("asks first after a second, then sooner the likelier the end is", function()
    local learned = schedule.new()
    assert.equal(1, schedule.gap(learned, 0))
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
    for _, sigma in ipairs { 0.05, 0.2, 0.25 } do
      local lengths = service(5, sigma)
      local delay, polls = run(lengths, schedule.new())
      local loop_delay, loop_polls = loop(lengths, 0.5)
      assert.is_true(delay <= 0.65 * loop_delay, ("%g s, not %g"):format(delay, loop_delay))
      assert.is_true(polls <= 1.05 * loop_polls, ("%g polls, not %g"):format(polls, loop_polls))
    end
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
    for _ = 1, 200 do schedule.learn(learned, 3.9, 4.1) end
    for _, age in ipairs { 1, 3, 3.8, 6 } do
      local seconds, wanted = schedule.gap(learned, age), schedule.gap(only, age)
      assert.is_true(math.abs(seconds / wanted - 1) < 0.1, ("%g, not %g"):format(seconds, wanted))
    end
  end)

  it("takes a length beyond all that it tells apart", function()
    local learned = schedule.new()
    schedule.learn(learned, 1e4, 1e4 + 1)
    local sum = 0
    for _, share in ipairs(learned.shares) do sum = sum + share end
    assert.is_true(math.abs(sum - 1) < 1e-9, sum)
  end)

  it("makes a client notice sooner, edit by edit #once", function()
    local support = require "spec.support.emulator"
    local kontext = require "kontext"
    local emulator = support.start { ready_after = 0.2 }
    local client = kontext.new { base_url = emulator.url, api_key = "a-key" }
    local took = {}
    for i = 1, 6 do
      local began = require("kontext.core").now()
      assert(client:edit { prompt = "later" }:wait())
      took[i] = require("kontext.core").now() - began
    end
    client:close()
    local polls = #emulator:requests("GET", "get_result")
    emulator:stop()
    assert.is_true(took[1] >= 1, took[1])
    assert.is_true(took[6] < 0.7, took[6])
    assert.is_true(polls <= 12, polls)
  end)
end)
