--- Chance and choice. One seed gives one life, on every Lua: the generator is exact in doubles and
--- in integers alike. Every choice has a site ("poll.answer"), a list whose first item is the
--- ordinary one, and a number: the how-manieth choice at its site it is. What was not ordinary is
--- the life's script, which can be played again, or with parts left out. The jitter that the
--- product asks for comes from numbers of its own, so that a script meets the same jitter.
local chance = {}

-- L'Ecuyer's combined generator of 1988: two products below 2 ^ 47, a period of 2 ^ 61.
local m1, m2 = 2147483563, 2147483399

---@class simulation.Chance
---@field taken string[] the script so far: "site#number=choice"
local Chance = {}
Chance.__index = Chance

-- Families of faults, and how likely one is of a life: most lives have few families, and in these
-- faults are frequent. So they meet in ways that an even mixture would never show.
local heats = { 0, 0, 0, 0.02, 0.1, 0.3, 0.6 }

-- Families that say what a life is about, not what goes wrong.
local plots = { life = 0.5, user = 0.25, speed = 0.3 }

local family_of = setmetatable({}, { __index = function(self, site)
  local family = site:match "^%a+"
  self[site] = family
  return family
end })

--- Makes the chance of one life.
---@param seed integer of the run
---@param life integer its number
---@param script? table<string, integer> choices by "site#number"; all others are ordinary
---@return simulation.Chance
function chance.new(seed, life, script)
  local self = setmetatable({ taken = {}, _counts = {}, _heats = {}, _script = script }, Chance)
  local a, b = seed * 7919 + life * 104729, seed * 15485863 + life * 32452843
  self._a, self._b = (a + 12345) % (m1 - 1) + 1, (b + 67890) % (m2 - 1) + 1
  self._c, self._d = (b + 54321) % (m1 - 1) + 1, (a + 98765) % (m2 - 1) + 1
  for _ = 1, 6 do
    self:random()
    self:_draw()
  end
  return self
end

--- Returns a number in [0, 1) for the product's jitter.
---@return number
function Chance:random()
  local a, b = 40014 * self._a % m1, 40692 * self._b % m2
  self._a, self._b = a, b
  return (a - b) % (m1 - 1) / m1
end

-- Returns a number in [0, 1) for a choice.
function Chance:_draw()
  local c, d = 40014 * self._c % m1, 40692 * self._d % m2
  self._c, self._d = c, d
  return (c - d) % (m1 - 1) / m1
end

-- Returns how likely the extraordinary is in a family.
local function heat_of(self, family)
  local heat = plots[family] or heats[1 + math.floor(self:_draw() * #heats)]
  self._heats[family] = heat
  return heat
end

--- Chooses: the first of the list, or for once another one.
---@param site string
---@param list any[]
---@return any
function Chance:choose(site, list)
  local heat
  if not self._script then
    local family = family_of[site]
    heat = self._heats[family] or heat_of(self, family)
    if heat == 0 then return list[1] end -- no choice of this family is in the script: none counts
  end
  local number = (self._counts[site] or 0) + 1
  self._counts[site] = number
  local index
  if heat then
    if self:_draw() >= heat then return list[1] end
    index = 2 + math.floor(self:_draw() * (#list - 1))
  else
    index = math.min(self._script[site .. "#" .. number] or 1, #list)
  end
  if index > 1 then
    local taken = self.taken
    local count = #taken
    taken[count + 1], taken[count + 2], taken[count + 3] = site, number, index
  end
  return list[index]
end

--- Returns the script of what was chosen so far.
---@return string[] lines "site#number=choice", in their order
function Chance:script()
  local lines = {}
  for i = 1, #self.taken, 3 do
    lines[#lines + 1] = ("%s#%d=%d"):format(self.taken[i], self.taken[i + 1], self.taken[i + 2])
  end
  return lines
end

--- Reads the lines of a script.
---@param lines string[]
---@return table<string, integer>
function chance.read(lines)
  local script = {}
  for _, line in ipairs(lines) do
    local name, index = line:match "^(.+)=(%d+)$"
    script[name] = tonumber(index)
  end
  return script
end

return chance
