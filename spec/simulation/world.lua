--- The world of one life: its clock, what is to happen when, its processes, and the digest of all
--- that happened. Time moves from one event to the next.
local world = {}

---@class simulation.World
---@field now number seconds, on a grid of microseconds, so that the last bit of a power tells no
--- Lua from another
local World = {}
World.__index = World

world.epoch = 1790000000 -- seconds since 1970 when a life begins

--- Makes a world.
---@param chance simulation.Chance
---@param life integer
---@return simulation.World
function world.new(chance, life)
  return setmetatable({
    now = 100, chance = chance, skew = 0, _events = {}, _count = 0, _first = 7 + life % 65521,
    _second = 11 + life % 65519, faults = {}, events = 0,
  }, World)
end

-- A text as a number, computed once.
local codes = setmetatable({}, { __index = function(self, text)
  local code = 5381
  for i = 1, #text do code = (code * 33 + text:byte(i)) % 2147483647 end
  self[text] = code
  return code
end })

--- Adds to the digest: what happened, and to what.
---@param what string one of few texts
---@param number? number
function World:note(what, number)
  if self.trace then self.trace(("%12.6f  %s %s"):format(self.now, what, number or "")) end
  local code = codes[what] + (number or 0) * 31 + math.floor(self.now * 1e6 + 0.5)
  self._first = (self._first * 48271 + code) % 2147483647
  self._second = (self._second * 40014 + code) % 2147483563
end

--- Returns the digest so far, as two numbers below 2 ^ 31.
---@return integer first
---@return integer second
function World:digest()
  return self._first, self._second
end

--- Chooses; what is extraordinary is counted and becomes part of the digest.
---@param site string
---@param list any[]
---@return any
function World:choose(site, list)
  if self.healthy then return list[1] end
  local chosen = self.chance:choose(site, list)
  if chosen ~= list[1] then
    local name = site
    if type(chosen) == "string" then name = site .. " " .. chosen end
    self.faults[name] = (self.faults[name] or 0) + 1
    self:note(name)
  end
  return chosen
end

--- Counts something that is rarely reached.
---@param name string
function World:reached(name)
  self.faults[name] = (self.faults[name] or 0) + 1
end

-- Returns a time as the grid has it: never earlier.
local function on_grid(when)
  local ticks = math.floor(when * 1e6)
  local rounded = ticks / 1e6
  while rounded < when do
    ticks = ticks + 1
    rounded = ticks / 1e6
  end
  return rounded
end

--- Calls fn(a, b) in so many seconds.
---@param seconds number
---@param fn function
---@param a any
---@param b any
function World:after(seconds, fn, a, b)
  local events, when = self._events, on_grid(self.now + seconds)
  local count = self._count
  local at = count
  -- The soonest is the last; the later of two goes first.
  while at > 0 and events[at].when <= when do
    events[at + 1] = events[at]
    at = at - 1
  end
  events[at + 1] = { when = when, fn = fn, a = a, b = b }
  self._count = count + 1
end

--- Returns when the next event is.
---@return number? when
function World:next()
  local event = self._events[self._count]
  return event and event.when
end

--- Moves on to a time.
---@param when number
function World:move(when)
  if when > self.now then self.now = on_grid(when) end
end

--- Lets the next event happen.
function World:happen()
  local event = self._events[self._count]
  self._events[self._count] = nil
  self._count = self._count - 1
  self:move(event.when)
  self.events = self.events + 1
  event.fn(event.a, event.b)
end

--- Returns the true time in seconds since 1970.
---@return number
function World:time()
  return world.epoch + self.now
end

--- Ends the life: something that must be true is not.
---@param promise string
---@param detail? string
function World:broken(promise, detail)
  if not self.violation then
    self.violation = promise
    self.detail = detail
    if self.trace then
      self.trace(("%12.6f  BROKEN %s: %s"):format(self.now, promise, detail or ""))
    end
  end
end

return world
