--- When to poll. For a given number of polls, the end is learned soonest at a rate proportional to
--- the square root of the hazard: the chance that a task ends now if it has not ended before. The
--- hazard is learned from the client's own recent tasks.
local schedule = {}

local median, steepness = 5, 3.5 -- seconds; the prior: log-logistic, its tail falls as age ^ -3.5
local interval = 0.5 -- seconds: the allowed polls are those of a loop at this interval,
local allowed = 1.045 -- times this
local fewest, most = 0.3, 30 -- polls of a task, without the last
local shortest, longest = 0.05, 2 -- seconds between two polls
local window = 48 -- tasks
local prior_weight = 0.15 -- share of the prior that is never forgotten
local payback = 8 -- tasks over which too many or too few polls are balanced
local most_credit = 24 -- polls

-- Ages in steps of a quarter of themselves, up to some five minutes.
local edges, prior = {}, {}
local ended = 0
for i = 1, 37 do
  edges[i] = 0.1 * 1.25 ^ (i - 1)
  local by = i < 37 and 1 / (1 + (edges[i] / median) ^ -steepness) or 1
  prior[i], ended = by - ended, by
end

-- Returns how many polls a loop makes for tasks of about this length.
local function of_loop(length) return length / interval + 0.5 end

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
  -- The last poll comes half a gap late on average, which is half a poll more.
  local wanted = allowed * of_loop(mean) - 0.5 + learned.credit / payback
  local scale = math.max(fewest, math.min(most, wanted)) / polls
  for i, rate in ipairs(learned.rates) do learned.rates[i] = rate * scale end
end

--- Returns what is known before the first task.
---@return table learned
function schedule.new()
  local learned = { tasks = 0, credit = 0, shares = {}, rates = {} }
  for i, share in ipairs(prior) do learned.shares[i] = share end
  set_rates(learned)
  return learned
end

-- Returns how likely a task ended at each age that ended between two polls, and the sum of that.
local function likely(shares, from, to)
  local list, sum = {}, 0
  for i, share in ipairs(shares) do
    local before = edges[i - 1] or 0
    local within = math.min(to, edges[i]) - math.max(from, before)
    if i == #shares then within = to > before and edges[i] - before or 0 end
    list[i] = math.max(0, within) / (edges[i] - before) * (share + prior_weight * prior[i])
    sum = sum + list[i]
  end
  return list, sum
end

--- Learns from a task that ended between two polls.
---@param learned table
---@param from number seconds after it was accepted
---@param to number the same, later
---@param polls integer that it took
function schedule.learn(learned, from, to, polls)
  learned.tasks = learned.tasks + 1
  local weight = 1 / math.min(window, learned.tasks + 4)
  local shares = learned.shares
  local seen, sum = likely(shares, from, to)
  if sum == 0 then return end -- two polls in the same moment
  for i, share in ipairs(shares) do
    -- Neighbouring ages share what is learned: a few tasks are no more exact.
    local near = (seen[i] + (seen[i - 1] or seen[i]) + (seen[i + 1] or seen[i])) / 3 / sum
    shares[i] = share + weight * (near + prior_weight * (prior[i] - near) - share)
  end
  local credit = learned.credit + allowed * of_loop((from + to) / 2) - polls
  learned.credit = math.max(-most_credit, math.min(most_credit, credit))
  set_rates(learned)
end

--- Returns how long to wait for the next poll of a task in progress.
---@param learned table
---@param age number seconds since it was accepted
---@return number seconds
function schedule.gap(learned, age)
  local polls, at = 0, age
  for i, rate in ipairs(learned.rates) do
    if edges[i] > at then
      local more = rate * (edges[i] - at)
      if polls + more >= 1 then
        return math.max(shortest, math.min(longest, at + (1 - polls) / rate - age))
      end
      polls, at = polls + more, edges[i]
    end
  end
  return longest -- older than any
end

return schedule
