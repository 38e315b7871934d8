--- A process: a machine of its own, which may die at any point. While a life runs, those functions
--- of the core that look at pictures and files look at the life's disk.
local core = require "kontext.core"
local disk = require "spec.simulation.disk"
local network = require "spec.simulation.network"

local process = {}

---@class simulation.Process
---@field life simulation.Life
---@field dead boolean?
---@field engine simulation.Engine? the last one that was made
---@field system kontext.System
local Process = {}
Process.__index = Process

local death = setmetatable({}, { __tostring = function() return "the process has died" end })

--- Raises in a process that is dead: nothing of it goes on.
function Process:alive()
  if self.dead then error(death, 0) end
end

local deaths = { false, "killed", "power" }

--- Lets the process die here, for once.
---@param site string
---@param quietly? boolean it does so outside of any call
function Process:may_crash(site, quietly)
  if self.dead then error(death, 0) end
  local life = self.life
  local how = life.world:choose(site, deaths)
  if not how and life.crash_at and not life.world.healthy then
    life.crash_at = life.crash_at - 1
    how = life.crash_at == 0 and life.world:choose("crash.how", { "killed", "power" })
    if how then life.world:reached(site .. " " .. how) end
  end
  if not how then return end
  life:die(self, how)
  if not quietly then error(death, 0) end
end

-- Makes a process whose life is yet to be told. Its closures are used again by life after life.
local function make()
  local self = setmetatable({}, Process)
  local function alive()
    if self.dead then error(death, 0) end
  end
  self.system = {
    now = function()
      if self.dead then error(death, 0) end
      return self.world.now
    end,
    wall = function()
      alive()
      return math.floor(self.world:time() + self.world.skew)
    end,
    getenv = function() return nil end,
    random = function()
      alive()
      return self.world.chance:random()
    end,
    engine = function(settings)
      alive()
      self.engine = network.new(self.world, self, settings)
      return self.engine
    end,
    log = function(path, options)
      alive()
      return self.files:log(self, path, options)
    end,
    check = function(source)
      alive()
      return core.check(source)
    end,
    can_save = function(path, way)
      alive()
      return self.files:can_save(path, way)
    end,
    reserve = function(path)
      alive()
      return self.files:reserve(self, path)
    end,
    release = function(path)
      alive()
      return self.files:release(path)
    end,
    save = function(path, bytes, way)
      alive()
      return self.files:put(self, path, bytes, way)
    end,
    read = function(path)
      alive()
      return self.files:read(path)
    end,
    file_info = function(path)
      alive()
      return self.files:file_info(path)
    end,
    real_path = function(path) return path end,
    md5_file = function(path)
      alive()
      return self.files:md5_file(path)
    end,
  }
  return self
end

local pool = {}

--- Returns a process that has just begun.
---@param life simulation.Life
---@return simulation.Process
function process.new(life)
  life.processes = life.processes + 1
  local self = pool[life.processes] or make()
  pool[life.processes] = self
  self.life, self.world, self.files = life, life.world, life.disk
  self.dead, self.engine = nil, nil
  return self
end

-- The core while a life runs ----------------------------------------------------------------------

local current -- the life
local virtual = {}

--- Whose code runs.
---@type simulation.Process?
process.running = nil

-- What the pictures of this world are: an input says its size, a result has an end mark.
function virtual.check(source, into)
  local bytes, stamp = source.bytes, nil
  if source.path then
    local node = current.disk.names[source.path]
    if not node then
      return nil, "file", { why = source.path .. ": No such file or directory", code = "ENOENT" }
    end
    bytes, stamp = disk.data_of(node), node
    current.ledger.looked[source.path] = bytes
  end
  local known = into or {}
  local width, height = bytes:match "^\137PNG (%d+) (%d+)"
  known.stamp, known.bytes, known.orientation, known.why = stamp, #bytes, 1, nil
  if width then
    known.format, known.label = "png", "PNG"
    known.width, known.height = tonumber(width), tonumber(height)
  elseif bytes:sub(1, 2) == "\255\216" then
    known.format, known.label, known.width, known.height = "jpeg", "JPEG", 1024, 1024
  elseif bytes == "" then
    return nil, "empty", {}
  else
    return nil, "unknown", {}
  end
  return known
end

function virtual.save(path, bytes, way)
  process.running:alive()
  return current.disk:put(process.running, path, bytes, way)
end

function virtual.read(path)
  return current.disk:read(path)
end

local real_url, read_urls, count = core.url, {}, 0

-- Lives ask for the same few thousand URLs again and again. Who reads one adds to it only what
-- follows from the URL.
function virtual.url(url, base)
  if base then return real_url(url, base) end
  local known = read_urls[url]
  if known then return known end
  local message
  known, message = real_url(url)
  if known then
    count = count + 1
    if count > 20000 then read_urls, count = {}, 0 end
    read_urls[url] = known
  end
  return known, message
end

local real = {}
for name in pairs(virtual) do real[name] = core[name] end

--- Puts the world in the place of the machine.
---@param life simulation.Life
function process.enter(life)
  current = life
  for name, fn in pairs(virtual) do core[name] = fn end
end

--- Gives the machine back.
function process.leave()
  current, process.running = nil, nil
  for name, fn in pairs(real) do core[name] = fn end
end

return process
