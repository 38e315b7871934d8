--- The pictures of the bench: a photograph in three sizes, each exactly as large as is said, and
--- what the service answers with.
local core = require "kontext.core"

local pictures = {}

pictures.photo = "/usr/share/backgrounds/seeding_by_Clements_Engelhardt.jpg"

pictures.sizes = {
  { name = "0.3 MB", bytes = 300000, width = 1024, height = 683 },
  { name = "4.8 MB", bytes = 4800000, width = 2736, height = 1824 },
  { name = "19.5 MB", bytes = 19500000, width = 4096, height = 2731 },
}

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "*a"
  file:close()
  return bytes
end

-- Returns bytes without a pattern: they stand behind the picture's end, where decoders do not look.
local function padding(count)
  local blocks, state = {}, "padding"
  for i = 1, math.ceil(count / 32) do
    state = core.sha256(state)
    blocks[i] = state
  end
  return table.concat(blocks):sub(1, count)
end

local function make(path, original, width, height, size)
  local file = io.open(path, "rb")
  if file then return file:close() end
  local bytes = assert(core.repaint { bytes = original, width = width, height = height,
    format = "jpeg", seed = 1, label = "bench" })
  if size then
    assert(#bytes <= size, path .. " came out too large")
    bytes = bytes .. padding(size - #bytes)
  end
  assert(core.save(path, bytes))
end

--- Makes them in a folder, once; gives each size its path.
---@param folder string
---@return string result what the service answers with
function pictures.make(folder)
  local original = read(pictures.photo)
  for _, size in ipairs(pictures.sizes) do
    size.path = ("%s/%d.jpg"):format(folder, size.bytes)
    make(size.path, original, size.width, size.height, size.bytes)
  end
  make(folder .. "/result.jpg", original, 1248, 832)
  return folder .. "/result.jpg"
end

return pictures
