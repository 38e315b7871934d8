-- How long a call holds up its host: a machine that has others to run is no fault of the call's.

local core = require "kontext.core"

-- Returns the seconds in which this thread could have run and the system ran others; 0 where it
-- does not tell.
local function passed_over()
  local file = io.open "/proc/self/schedstat"
  local text = file and file:read "*l" or ""
  if file then file:close() end
  return tonumber(text:match "^%d+ (%d+)" or 0) / 1e9
end

--- Calls a function; returns the seconds that it took, less those in which the system ran others
--- in its place, and what it returned first. What waits for a time may so seem to take less.
---@param fn function
---@return number seconds, any result
return function(fn, ...)
  local before, begun = passed_over(), core.now()
  local result = fn(...)
  return core.now() - begun - (passed_over() - before), result
end
