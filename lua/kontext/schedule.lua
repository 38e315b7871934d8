--- When to poll. Of all ways to spend some polls the one that learns of the end soonest polls at a
--- rate proportional to the square root of the hazard: the chance that a task ends now, when it has
--- not ended before. The hazard is learned from the client's own recent tasks.
local schedule = {}

local median, steepness = 5, 4 -- seconds; the prior: log-logistic, its tail falls as age ^ -4
local usual_interval = 0.53 -- seconds: no more polls than a loop of 0.5 s makes, the first included
local fewest, most = 3, 30 -- polls of a task whose length is the mean
local first = 1 -- seconds: refusals come early
local shortest, longest = 0.05, 2 -- seconds between two polls
local memory = 24 -- tasks
local faith = 0.1 -- share of the prior that is never forgotten

-- Ages are told apart by a quarter of themselves, up to some five minutes.
local edges, prior = {}, {}
local ended = 0
for i = 1, 37 do
  edges[i] = 0.1 * 1.25 ^ (i - 1)
  local by = i < 37 and 1 / (1 + (edges[i] / median) ^ -steepness) or 1
  prior[i], ended = by - ended, by
end

-- Sets the rates of polls, by age, from the shares of tasks that end at that age.
local function set_rates(learned)
  local unended, polls, mean = 1, 0, 0
  for i, share in ipairs(learned.shares) do
    local width = edges[i] - (edges[i - 1] or 0)
    local halfway = unended - share / 2
    learned.rates[i] = math.sqrt(share / width / halfway)
    polls = polls + learned.rates[i] * width * halfway
    mean = mean + share * (edges[i] - width / 2)
    unended = unended - share
  end
  local scale = math.max(fewest, math.min(most, mean / usual_interval)) / polls
  for i, rate in ipairs(learned.rates) do learned.rates[i] = rate * scale end
end

--- Returns what is known before the first task.
---@return table learned
function schedule.new()
  local learned = { tasks = 0, shares = {}, rates = {} }
  for i, share in ipairs(prior) do learned.shares[i] = share end
  set_rates(learned)
  return learned
end

--- Learns from a task that ended between two polls.
---@param learned table
---@param from number seconds after it was accepted
---@param to number the same, later
function schedule.learn(learned, from, to)
  learned.tasks = learned.tasks + 1
  local weight = 1 / math.min(memory, learned.tasks + 4)
  local shares, left = learned.shares, 1
  for i, share in ipairs(shares) do
    local within = math.min(to, edges[i]) - math.max(from, edges[i - 1] or 0)
    local seen = i == #shares and left or math.max(0, within / (to - from))
    left = left - seen
    shares[i] = share + weight * (seen + faith * (prior[i] - seen) - share)
  end
  set_rates(learned)
end

--- Returns how long to wait for the next poll of a task in progress.
---@param learned table
---@param age number seconds since it was accepted
---@return number seconds
function schedule.gap(learned, age)
  local polls, at = 0, age
  local limit = age < first and first - age or longest
  for i, rate in ipairs(learned.rates) do
    if edges[i] > at then
      local more = rate * (edges[i] - at)
      if polls + more >= 1 then
        at = at + (1 - polls) / rate
        break
      end
      polls, at = polls + more, edges[i]
      if at - age >= limit then break end
    end
  end
  if at == age then at = age + limit end -- older than any
  return math.max(shortest, math.min(limit, at - age))
end

return schedule
