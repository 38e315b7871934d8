--- Files that remember what a power failure would leave of them: the bytes that were synced, and
--- the names whose folder was. Its functions do what those of src/file do, call by call.
local core = require "kontext.core"

local disk = {}

---@class simulation.Disk
local Disk = {}
Disk.__index = Disk

---@class simulation.Node a file, whatever its names
---@field data string its bytes, but for those of `more`
---@field more string[]? what was appended since somebody read the file
---@field size integer bytes in all
---@field synced integer bytes that a power failure leaves for certain

-- Makes a file whose bytes are on the disk.
local function new_node(bytes)
  return { data = bytes, size = #bytes, synced = #bytes }
end

-- Returns a file's bytes. A journal is appended to a thousand times and read once.
local function data_of(node)
  if node.more then
    node.data, node.more = node.data .. table.concat(node.more), nil
  end
  return node.data
end
disk.data_of = data_of

--- Makes an empty disk.
---@param world simulation.World
---@return simulation.Disk
function disk.new(world)
  return setmetatable({ world = world, names = {}, kept = {}, list = {}, state = {}, locks = {} },
    Disk)
end

local texts = {
  ENOSPC = "No space left on device", EROFS = "Read-only file system", EACCES = "Permission denied",
  ENOENT = "No such file or directory", EIO = "Input/output error", EEXIST = "File exists",
  EAGAIN = "Resource temporarily unavailable", ESTALE = "it has changed", EISDIR = "Is a directory",
}

local function failed(path, code)
  return nil, path .. ": " .. texts[code], code
end
disk.failed = failed

local function folder_of(path)
  return path:match "^(.*)/[^/]*$" or "."
end

-- What a folder's state does to opening a new file, and to writing one.
local opening = { readonly = "EROFS", gone = "ENOENT", denied = "EACCES" }
local writing = { full = "ENOSPC", broken = "EIO" }

-- Notes a name for good order: no loop goes by `pairs`.
local function note_name(self, path)
  if not self.list[path] then
    self.list[path] = true
    self.list[#self.list + 1] = path
  end
end

-- Whether the process dies at this point; then the call never returns to it.
local function crash_point(self, process, site)
  if process.may_crash then process:may_crash(site) end
  return self
end

local function folder_error(self, path, kinds)
  return kinds[self.state[folder_of(path)] or ""]
end

--- Returns what stands under a name, or nil.
---@param path string
---@return string?
function Disk:content(path)
  local node = self.names[path]
  return node and data_of(node)
end

--- Returns what a power failure would leave under a name, or nil.
---@param path string
---@return string?
function Disk:durable(path)
  local node = self.kept[path]
  return node and data_of(node):sub(1, node.synced)
end

-- core.can_save
function Disk:can_save(path, way)
  local code = folder_error(self, path, opening)
  if code then return failed(path, code) end
  local node = self.names[path]
  if way == "no_replace" and node and node.size > 0 then return failed(path, "EEXIST") end
  return true
end

-- core.reserve
function Disk:reserve(process, path)
  local code = folder_error(self, path, opening)
  if code then return failed(path, code) end
  if self.names[path] then return false end
  local node = new_node ""
  self.names[path] = node
  note_name(self, path)
  crash_point(self, process, "crash.reserve")
  self.kept[path] = node
  return true
end

-- core.release
function Disk:release(path)
  local node = self.names[path]
  if not node then return true end
  if node.size > 0 then return false end
  if folder_error(self, path, opening) then return failed(path, "EROFS") end
  self.names[path] = nil
  return true
end

--- Whether a file can be begun there: what a download looks at when it starts.
function Disk:begin(path, way)
  return self:can_save(path, way)
end

--- Returns why bytes cannot be written into a folder's new file, or nil.
function Disk:write_error(path)
  return folder_error(self, path, writing)
end

--- Puts bytes in their place: afterwards the old file is there or the whole new one. The ledger is
--- told who wrote what.
function Disk:put(process, path, bytes, way)
  local done, message, code = self:can_save(path, way)
  if not done then return nil, message, code end
  code = folder_error(self, path, writing)
  if code then return failed(path, code) end
  crash_point(self, process, "crash.rename")
  local before = self.names[path]
  local node = new_node(bytes)
  self.names[path] = node
  note_name(self, path)
  self.world.ledger:written(path, bytes, before and data_of(before))
  crash_point(self, process, "crash.folder")
  self.kept[path] = node
  return true
end

-- core.read
function Disk:read(path)
  local node = self.names[path]
  if not node then return failed(path, "ENOENT") end
  return data_of(node)
end

-- core.file_info
function Disk:file_info(path)
  local node = self.names[path]
  if not node then return failed(path, "ENOENT") end
  return { bytes = node.size, mtime = 0, inode = 1, device = 1 }
end

-- core.md5_file
function Disk:md5_file(path)
  local node = self.names[path]
  if not node then return failed(path, "ENOENT") end
  return core.base64(core.md5(data_of(node)))
end

--- Removes a file: what users do, not the product.
function Disk:unlink(path)
  self.names[path], self.kept[path] = nil, nil
end

--- What a user puts in the place of a file.
function Disk:replace(path, bytes)
  local node = new_node(bytes)
  self.names[path], self.kept[path] = node, node
  note_name(self, path)
end

local tails = { 0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1 }

--- Another program fills a name that was reserved, or that is free.
---@param path string
function Disk:take_name(path)
  local node = self.names[path]
  if not node or node.size == 0 then self:replace(path, "another program's") end
end

--- The power fails: what was not synced is lost, or a part of it.
function Disk:lose_power()
  local world = self.world
  for _, path in ipairs(self.list) do
    local now, kept = self.names[path], self.kept[path]
    if now ~= kept and world:choose("power.name", { "lost", "kept" }) == "kept" then kept = now end
    self.names[path], self.kept[path] = kept, kept
    if kept and kept.size > kept.synced then
      local more = math.floor((kept.size - kept.synced) * world:choose("power.tail", tails))
      kept.data = data_of(kept):sub(1, kept.synced + more)
      kept.size, kept.synced = #kept.data, #kept.data
    end
  end
  self.locks = {}
end

-- A journal's file --------------------------------------------------------------------------------

local Log = {}
Log.__index = Log

-- core.log
function Disk:log(process, path, options)
  local node = self.names[path]
  if not node then
    if not options.create then return failed(path, "ENOENT") end
    local code = folder_error(self, path, opening)
    if code then return failed(path, code) end
    node = new_node ""
    self.names[path] = node
    note_name(self, path)
    crash_point(self, process, "crash.log")
    self.kept[path] = node
  end
  local holder = self.locks[node]
  if holder and not holder.dead then return failed(path, "EAGAIN") end
  self.locks[node] = process
  self.kept[path] = node -- the folder is synced whoever made the name
  self.world.ledger:opened(path, node)
  return setmetatable({ disk = self, process = process, path = path, node = node }, Log)
end

function Log:in_place()
  return self.disk.names[self.path] == self.node
end

function Log:read(size, offset)
  self.process:alive()
  offset = offset or 0
  return data_of(self.node):sub(offset + 1, offset + size)
end

-- Writes a line as kx_append does: after a torn one a new line is begun.
local function append(self, bytes)
  local node = self.node
  local code = folder_error(self.disk, self.path, writing)
  if code then return failed("the journal", code) end
  if bytes == "" then return true end
  if not node.more then
    if node.size > 0 and node.data:byte(-1) ~= 10 then bytes = "\n" .. bytes end
    node.more = {}
  end
  node.more[#node.more + 1] = bytes
  node.size = node.size + #bytes
  return true
end

function Log:append(bytes, sync)
  self.process:alive()
  local done, message, code = append(self, bytes)
  if not done then return nil, message, code end
  local fact = self.disk.world.ledger:fact(self.node, bytes)
  if sync then
    crash_point(self.disk, self.process, "crash.sync")
    if self.disk.world:choose("sync.fails", { false, true }) then
      return failed("the journal", "EIO")
    end
    self.node.synced = self.node.size
    self.disk.world.ledger:synced(self.node)
  end
  crash_point(self.disk, self.process, fact and "crash.after" or "crash.line")
  return self.node.size
end

function Log:draft(bytes)
  self.process:alive()
  local code = folder_error(self.disk, self.path, writing)
    or folder_error(self.disk, self.path, opening)
  if code or not bytes then
    self.drafted = nil
    if code and bytes then return failed("the journal", code) end
    return true
  end
  self.drafted = (self.drafted or "") .. bytes
  return true
end

function Log:replace(bytes, head)
  self.process:alive()
  local disk_ = self.disk
  local code = folder_error(disk_, self.path, writing) or folder_error(disk_, self.path, opening)
  bytes, self.drafted = (self.drafted or "") .. bytes, nil
  if head then bytes = head .. bytes:sub(#head + 1) end
  if code then return failed("the journal", code) end
  disk_.world:reached "journal compacted"
  local node = new_node(bytes)
  crash_point(disk_, self.process, "crash.compact")
  disk_.world.ledger:moved(self.node, node)
  disk_.names[self.path] = node
  disk_.locks[node], disk_.locks[self.node] = self.process, nil
  self.node = node
  crash_point(disk_, self.process, "crash.compacted")
  disk_.kept[self.path] = node
  return true
end

function Log:close()
  if self.disk.locks[self.node] == self.process then self.disk.locks[self.node] = nil end
end

return disk
