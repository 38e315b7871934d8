--- How soon a task's end is noticed, and for how many polls: the schedule against what others do,
--- over several distributions of service times. Simulated: nothing waits.
local schedule = require "kontext.job.schedule"

local polls = {}

local function normal()
  return math.sqrt(-2 * math.log(1 - math.random())) * math.cos(2 * math.pi * math.random())
end

local function exponential(mean) return -mean * math.log(1 - math.random()) end

local function lognormal(median, sigma)
  return function() return median * math.exp(sigma * normal()) end
end

-- What a service may take, in seconds.
polls.services = {
  { "always 5 s", function() return 5 + 0.01 * math.random() end },
  { "5 s ± 20 %", lognormal(5, 0.2) },
  { "5 s ± 30 %", lognormal(5, 0.3) },
  { "3 to 8 s", function() return 3 + 5 * math.random() end },
  { "4 s and a heavy tail", function() return 4 * (1 - math.random()) ^ -0.4 end },
  { "5 s, each 20th 15 to 35", function()
    return math.random() < 0.95 and 5 * math.exp(0.25 * normal()) or 15 + 20 * math.random()
  end },
  { "two models, 4 and 9 s", function()
    return (math.random() < 0.6 and 4 or 9) * math.exp(0.1 * normal())
  end },
  { "8 s ± 30 %", lognormal(8, 0.3) },
  { "2.5 s ± 30 %", lognormal(2.5, 0.3) },
  { "2 s and a queue", function() return 2 + exponential(3) end },
  { "5 s ± 50 %", lognormal(5, 0.5) },
  { "without memory, mean 5 s", function() return exponential(5) end },
  { "0.2 s", function() return 0.2 + 0.01 * math.random() end },
}

local function fixed(seconds)
  return function() return function() return seconds end end
end

-- Each makes, for a new client, a function of the task's age and its polls so far.
polls.ways = {
  { "0.5 s", fixed(0.5) },
  { "1 s", fixed(1) },
  { "doubling", function() return function(_, n) return math.min(8, 0.5 * 2 ^ n) end end },
  { "kontext", function()
    local learned = schedule.new()
    return function(age) return schedule.gap(learned, age) end,
      function(from, to, n) schedule.learn(learned, from, to, n) end
  end },
}

--- Simulates clients one after the other, each of which learns anew.
---@param service function
---@param way function
---@param clients integer
---@param tasks integer of each client
---@return table {delay = seconds, polls = number} means of a task
function polls.simulate(service, way, clients, tasks)
  math.randomseed(1)
  local delay, count = 0, 0
  for _ = 1, clients do
    local gap, learn = way()
    for _ = 1, tasks do
      local length, age, n, before = service(), 0, 0
      repeat
        before, age, n = age, age + gap(age, n), n + 1
      until age >= length
      if learn then learn(before, age, n) end
      delay, count = delay + age - length, count + n
    end
  end
  return { delay = delay / clients / tasks, polls = count / clients / tasks }
end

local grid, oldest, longest = 0.02, 60, 2 -- seconds: of ages, the last of them, and between polls

-- Returns how likely a task ends at each age.
local function distribution(service)
  math.randomseed(1)
  local shares, samples = {}, 500000
  for i = 1, oldest / grid do shares[i] = 0 end
  for _ = 1, samples do
    local i = math.min(#shares, math.ceil(service() / grid))
    shares[i] = shares[i] + 1 / samples
  end
  return shares
end

-- Returns the least delay plus price times polls, from the last age back to the first.
local function least(shares, price)
  local after, unended, ages = { [#shares] = 0 }, 0, #shares
  for i = ages - 1, 0, -1 do
    unended = unended + shares[i + 1]
    local best, delay, came = math.huge, 0, 0
    for j = i + 1, math.min(ages, i + longest / grid) do
      delay = delay + (came + shares[j] / 2) * grid
      came = came + shares[j]
      best = math.min(best, delay + after[j])
    end
    after[i] = best + price * unended
  end
  return after[0]
end

--- Returns a mean delay that no schedule comes under for so many polls of a task on the mean, not
--- even one that knows the service: at any price of a poll the least cost less what the polls cost.
---@param service function
---@param count number
---@return number seconds
function polls.bound(service, count)
  local shares = distribution(service)
  local low, high = 1e-4, 1 -- the bound is concave in the price
  local function at(price) return least(shares, price) - price * count end
  for _ = 1, 12 do
    local third = (high / low) ^ (1 / 3)
    if at(low * third) < at(high / third) then low = low * third else high = high / third end
  end
  return at(math.sqrt(low * high))
end

--- Tells whether a way reaches the goal: sooner for as many polls, or as soon for fewer.
---@param it table of `simulate`
---@param loop table of `simulate`, for every 0.5 s
function polls.reaches(it, loop)
  local delay, count = it.delay / loop.delay, it.polls / loop.polls
  return delay <= 0.65 and count <= 1.05 or delay <= 1 and count <= 0.7
end

return polls
