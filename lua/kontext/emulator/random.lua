-- Chance that a seed decides alone, the same under every Lua.

local core = require "kontext.core"

--- A generator for a seed of any text: `random(n)` gives an integer in 1 … n, `random()` a number
--- in 0 … 1. It is Park and Miller's, whose products fit a double.
---@param seed string
---@return fun(n?: integer): number
local function generator(seed)
  local a, b, c, d = core.sha256(seed):byte(1, 4)
  local state = (((a * 256 + b) * 256 + c) * 256 + d) % 2147483646 + 1
  return function(n)
    state = state * 48271 % 2147483647
    if not n then return state / 2147483647 end
    return math.floor(state / 2147483647 * n) + 1
  end
end

return generator
