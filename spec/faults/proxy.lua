-- A TCP proxy that spoils connections: the eight faults that Toxiproxy made customary, each in
-- either direction, from any byte on, for the n-th connection.
--
--   lua5.4 proxy.lua --to PORT [--port N] [FAULT …]     FAULT: KIND[,direction=up][,at=N][,…]
--
-- prints the port it listens on and serves until it is killed; the campaigns use it as a module.

local condition = require "cqueues.condition"
local cqueues = require "cqueues"
local wire = require "faults.wire"

local proxy = {}

--- Each fault in a sentence; `direction` is "up" (towards the server) or "down" (the default),
--- `at` the byte of that direction from which on it works (0), `connection` which one it hits
--- (all), times are seconds, sizes bytes.
proxy.kinds = {
  latency = "delays each chunk by `delay` seconds, give or take `jitter`",
  down = "refuses connections: nobody listens",
  bandwidth = "passes `rate` bytes a second",
  slow_close = "delays the end of the stream by `delay`",
  timeout = "passes nothing more, and closes after `delay`; never when that is absent",
  reset_peer = "resets both sides, after `delay`",
  slicer = "passes slices of `size` bytes, `delay` seconds apart",
  limit_data = "closes both sides orderly",
}

-- What ends a stream at its byte.
local ends = {
  timeout = function(link, fault)
    link.stalled = true
    link.over:wait(fault.delay)
    link:close()
  end,
  reset_peer = function(link, fault)
    if fault.delay then cqueues.sleep(fault.delay) end
    link:reset()
  end,
  limit_data = function(link)
    link:close()
  end,
}

-- What changes how a chunk is passed on.
local shapes = {
  latency = function(target, chunk, fault)
    local jitter = (fault.jitter or 0) * (2 * math.random() - 1)
    cqueues.sleep(math.max(0, fault.delay + jitter))
    return target:write(chunk)
  end,
  bandwidth = function(target, chunk, fault)
    local step = math.max(1, math.floor(fault.rate / 100))
    for i = 1, #chunk, step do
      local part = chunk:sub(i, i + step - 1)
      if not target:write(part) then return nil end
      cqueues.sleep(#part / fault.rate)
    end
    return true
  end,
  slicer = function(target, chunk, fault)
    for i = 1, #chunk, fault.size do
      if not target:write(chunk:sub(i, i + fault.size - 1)) then return nil end
      cqueues.sleep(fault.delay or 0)
    end
    return true
  end,
}

-- Passes one direction on, up to the byte where its fault works, then as the fault has it.
local function pump(link, source, target, fault)
  local left = fault and (fault.at or 0) or math.huge
  while true do
    if left == 0 and ends[fault.kind] then
      link.fault_seen = true
      return ends[fault.kind](link, fault)
    end
    local chunk = source:read(math.min(65536, left > 0 and left or 65536))
    if not chunk then break end
    if left > 0 then
      left = left - #chunk
      if not target:write(chunk) then break end
    else
      link.fault_seen = true
      local shape = shapes[fault.kind]
      if not (shape or target.write)(target, chunk, fault) then break end
    end
  end
  if fault and fault.kind == "slow_close" then cqueues.sleep(fault.delay) end
  if link.stalled then link.over:signal() end
  if target.sock then target:finish() end
end

local Link = {}
Link.__index = Link

-- Closes both sides, which wakes the other direction's coroutine out of its read.
function Link:close()
  self.client:close()
  self.server:close()
end

function Link:reset()
  self.client:reset()
  self.server:reset()
end

--- Starts a proxy to `options.to` (a port) in `loop`. `options.fault(number)` returns the fault
--- of the n-th connection, or nil; `options.receive_buffer` keeps the client's kernel from hiding
--- how far an upload went. Returns {port, accepted, links (by number), faults (how many
--- took place), close()}.
function proxy.start(loop, options)
  local self
  self = wire.listen(loop, function(client, number)
    local fault = options.fault(number)
    local server = wire.connect(options.to)
    if not server then return client:reset() end
    local link = setmetatable({ client = client, server = server, over = condition.new(),
                                upward = condition.new() }, Link)
    self.links[number] = link
    local up = fault and fault.direction == "up"
    local ended
    loop:wrap(function()
      pump(link, client, server, up and fault or nil)
      ended = true
      link.upward:signal()
    end)
    pump(link, server, client, not up and fault or nil)
    if not ended then link.upward:wait() end
    if link.fault_seen then self.faults = self.faults + 1 end
    link:close()
  end, options)
  self.faults, self.links = 0, {}
  return self
end

--- Reads a fault as the command line and the case tables write it: "timeout,direction=up,at=17".
function proxy.parse(text)
  local kind, rest = text:match "^([%w_]+),?(.*)$"
  if not proxy.kinds[kind] then error("no such fault: " .. text) end
  local fault = { kind = kind }
  for name, value in rest:gmatch "(%w+)=([^,]+)" do fault[name] = tonumber(value) or value end
  return fault
end

local function main(args)
  local loop, options, faults = cqueues.new(), {}, {}
  local i = 1
  while args[i] do
    local name = args[i]:match "^%-%-(%w+)$"
    if name then
      options[name], i = assert(tonumber(args[i + 1]), args[i] .. " wants a number"), i + 1
    else
      faults[#faults + 1] = proxy.parse(args[i])
    end
    i = i + 1
  end
  assert(options.to, "usage: proxy.lua --to PORT [--port N] [FAULT ...]")
  options.fault = function(number)
    for _, fault in ipairs(faults) do
      if (fault.connection or number) == number then return fault end
    end
  end
  local started = proxy.start(loop, options)
  if faults[1] and faults[1].kind == "down" then started:close() end
  io.stdout:write(started.port, "\n"):flush()
  assert(loop:loop())
end

if ... ~= "faults.proxy" then main(arg) end

return proxy
