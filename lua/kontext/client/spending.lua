--- Keeps the cost of a client's edits within its budget. Without a budget it counts nothing.
local budgets = require "kontext.budget"
local estimate = require "kontext.estimate"

local spending = {}

---@class kontext.Spending
local Spending = {}
Spending.__index = Spending

---@class (private) kontext.Spending
---@field _budget? kontext.Budget
---@field _reserved table<kontext.Job, table> reservations of the jobs under way
---@field _counted table<string, table> by task: the reservations that were counted as charged

--- Makes the spending of a client.
---@param limit? number credits
---@return kontext.Spending
function spending.new(limit)
  return setmetatable({ _budget = limit and budgets.new(limit), _reserved = {}, _counted = {} },
    Spending)
end

--- Reserves what an edit will cost at most.
---@param checked table
---@param known table what is known of its pictures
---@return table? reservation for `hold`; nil without a budget
---@return table? refusal fields of an error
function Spending:reserve(checked, known)
  if not self._budget then return nil end
  local reservation, message = self._budget:reserve(estimate.of(checked, known))
  if reservation then return reservation end
  return nil, { kind = "budget", message = message, stage = "check", charged = false }
end

--- Notes which job a reservation belongs to.
---@param job kontext.Job
---@param reservation? table
function Spending:hold(job, reservation)
  self._reserved[job] = reservation
end

--- Notes the cost that the service reports. The cost of a resumed job counts at once, because
--- nothing was reserved for it here.
---@param job kontext.Job
function Spending:told_cost(job)
  if not self._budget then return end
  local reservation = self._reserved[job]
  if reservation then return self._budget:adjust(reservation, job.cost) end
  if not job:is_resumed() then return end
  self._counted[job.id] = self._counted[job.id] or self._budget:open()
  self._budget:settle(self._counted[job.id], job.cost)
end

--- Counts the cost of a job that has ended, or releases its reservation. What may have been charged
--- counts as charged, until a resumed job of the same task reports otherwise.
---@param job kontext.Job
function Spending:settle(job)
  if not self._budget then return end
  local reservation, id = self._reserved[job], job.id or job.error and job.error.job_id
  self._reserved[job] = nil
  if reservation and job:may_be_charged() then
    self._budget:settle(reservation, job.cost)
    if id then self._counted[id] = reservation end
  elseif reservation then
    self._budget:release(reservation)
  elseif id and self._counted[id] and not job:may_be_charged() then
    self._budget:release(self._counted[id])
  end
end

return spending
