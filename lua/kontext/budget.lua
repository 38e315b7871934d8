--- A limit on credits. Before an edit is sent, its estimate is reserved; when it ends, the
--- reservation becomes its real cost or is released.
local budget = {}

---@class kontext.Budget
---@field limit number
---@field spent number what the ended edits cost
---@field reserved number what those under way will cost at most
local Budget = {}
Budget.__index = Budget

local noise = 1e-6 -- sums of 0.1 are not exact; the service itself writes 7.000000000000001

--- Makes a budget.
---@param limit number credits
---@return kontext.Budget
function budget.new(limit)
  return setmetatable({ limit = limit, spent = 0, reserved = 0 }, Budget)
end

--- Returns the credits that are neither spent nor reserved.
---@return number
function Budget:left()
  return math.max(self.limit - self.spent - self.reserved, 0)
end

-- Returns credits as a sentence shows them.
local function shown(credits)
  local text = ("%.4f"):format(credits):gsub("[^%d-]", ".")
  return (text:gsub("0+$", ""):gsub("%.$", ""))
end

--- Reserves what an edit may cost. Without a known price nothing is sent under a budget.
---@param estimate kontext.Estimate
---@return table? reservation for `settle` or `release`
---@return string? message
function Budget:reserve(estimate)
  local credits = estimate.credits
  if not credits then
    return nil, ("the price of %s is not known, so the budget of %s credits cannot be kept")
      :format(estimate.model, shown(self.limit))
  elseif credits > self:left() + noise then
    return nil, ("the edit would cost %s credits, and %s of the budget of %s are left: nothing "
      .. "was sent; raise the budget to go on"):format(shown(credits), shown(self:left()),
      shown(self.limit))
  end
  self.reserved = self.reserved + credits
  return { credits = credits }
end

-- Ends a reservation once. Returns whether it was open.
local function close(self, reservation)
  if reservation.closed then return false end
  reservation.closed = true
  self.reserved = math.max(self.reserved - reservation.credits, 0)
  if self.reserved < noise then self.reserved = 0 end
  return true
end

--- Changes what is reserved for an edit, to what the service says that it costs.
---@param reservation table
---@param credits number
function Budget:adjust(reservation, credits)
  if reservation.closed then return end
  credits = math.max(credits, 0)
  self.reserved = math.max(self.reserved - reservation.credits + credits, 0)
  reservation.credits = credits
end

--- Returns a reservation of nothing, for an edit that an earlier process has sent.
---@return table reservation
function Budget:open() -- luacheck: no self
  return { credits = 0, closed = true }
end

--- Counts what an edit cost. Without the service's number (the answer was lost) it counts the
--- estimate, because the edit may have been charged. A second call with the number corrects that.
---@param reservation table
---@param credits? number the real cost
function Budget:settle(reservation, credits)
  close(self, reservation)
  local cost = math.max(credits or reservation.settled or reservation.credits, 0)
  self.spent = self.spent - (reservation.settled or 0) + cost
  reservation.settled = cost
end

--- Gives back what was reserved for an edit that was not charged: refused, moderated, never sent.
---@param reservation table
function Budget:release(reservation)
  close(self, reservation)
  self.spent = self.spent - (reservation.settled or 0)
  reservation.settled = nil
end

return budget
