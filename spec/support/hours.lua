-- A clock that runs faster than the wall's, so that a spec can wait for minutes of a client's time.

local core = require "kontext.core"
local socket = require "socket"
local system = require "kontext.system"

local hours = {}

--- Returns a system for `client.new` whose clocks `pass` and `drive` move.
---@return table on
function hours.system()
  local on, ahead = {}, 0
  for name, value in pairs(system) do on[name] = value end
  function on.now() return core.now() + ahead end
  function on.wall() return os.time() + math.floor(ahead) end
  function on.pass(seconds) ahead = ahead + seconds end
  return on
end

--- Steps a client until `over` says so; each step is `gap` seconds of its time, at most `seconds`
--- in all. Returns how many of its seconds passed.
---@param client table
---@param on table of hours.system
---@param over fun(): boolean
---@param seconds number
---@param gap? number default 0.25
---@return number passed
function hours.drive(client, on, over, seconds, gap)
  local begun = on.now()
  while not over() and on.now() - begun < seconds do
    client:step()
    socket.sleep(0.002)
    on.pass(gap or 0.25)
  end
  return on.now() - begun
end

return hours
