-- Pictures for specs: headers built byte by byte, files of the corpus, and oracles.
local pictures = {}

local function bytes_of(number, size)
  local bytes = {}
  for i = size, 1, -1 do
    bytes[i] = string.char(number % 256)
    number = math.floor(number / 256)
  end
  return table.concat(bytes)
end

local function be16(number) return bytes_of(number, 2) end
local function be32(number) return bytes_of(number, 4) end
local function le32(number) return be32(number):reverse() end
local function le16(number) return be16(number):reverse() end
pictures.be16, pictures.be32, pictures.le16, pictures.le32 = be16, be32, le16, le32

local function xor(a, b)
  local sum, bit = 0, 1
  while a > 0 or b > 0 do
    if a % 2 ~= b % 2 then sum = sum + bit end
    a, b, bit = math.floor(a / 2), math.floor(b / 2), bit * 2
  end
  return sum
end

-- Lua 5.1 has no operator for it: bytes are combined through a table, and a sum is its four bytes.
local combined, sums = {}, {}
do
  local nibbles = {}
  for a = 0, 15 do
    nibbles[a] = {}
    for b = 0, 15 do nibbles[a][b] = xor(a, b) end
  end
  for a = 0, 255 do
    local high, low, row = nibbles[math.floor(a / 16)], nibbles[a % 16], {}
    for b = 0, 255 do row[b] = high[math.floor(b / 16)] * 16 + low[b % 16] end
    combined[a] = row
  end
  for byte = 0, 255 do
    local sum = byte
    for _ = 1, 8 do
      local odd = sum % 2 == 1
      sum = math.floor(sum / 2)
      if odd then sum = xor(sum, 0xEDB88320) end
    end
    sums[byte] = { be32(sum):byte(1, 4) }
  end
end

local function crc32(bytes)
  local a, b, c, d = 255, 255, 255, 255
  for i = 1, #bytes do
    local sum = sums[combined[d][bytes:byte(i)]]
    a, b, c, d = sum[1], combined[sum[2]][a], combined[sum[3]][b], combined[sum[4]][c]
  end
  return ((a * 256 + b) * 256 + c) * 256 + d
end

--- Returns one chunk of a PNG.
function pictures.chunk(name, body)
  return be32(#body) .. name .. body .. be32(0xFFFFFFFF - crc32(name .. body))
end

--- Returns a PNG's header chunk; `tail` is depth, colour type and the three methods.
function pictures.ihdr(width, height, tail)
  return pictures.chunk("IHDR", be32(width) .. be32(height) .. (tail or "\8\2\0\0\0"))
end

--- Returns a PNG up to its (false) pixels, `between` standing before them.
function pictures.png(width, height, between, tail)
  return "\137PNG\r\n\26\n" .. pictures.ihdr(width, height, tail) .. (between or "") ..
    pictures.chunk("IDAT", "none")
end

--- Returns zlib's wrapping of bytes, without compression.
function pictures.stored(bytes)
  local parts, a, b = { "\120\1" }, 1, 0
  for at = 1, #bytes, 65535 do
    local part = bytes:sub(at, at + 65534)
    parts[#parts + 1] = (at + #part > #bytes and "\1" or "\0") .. le16(#part) ..
      le16(65535 - #part) .. part
  end
  for i = 1, #bytes do
    a = (a + bytes:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return table.concat(parts) .. be16(b) .. be16(a)
end

--- Returns a whole PNG of these (filtered) rows.
function pictures.whole_png(width, height, rows, tail, between)
  return "\137PNG\r\n\26\n" .. pictures.ihdr(width, height, tail) .. (between or "") ..
    pictures.chunk("IDAT", pictures.stored(rows)) .. pictures.chunk("IEND", "")
end

--- Returns one segment of a JPEG.
function pictures.segment(marker, body)
  return "\255" .. string.char(marker) .. be16(#body + 2) .. body
end

--- Returns a JPEG's frame header; `parts` are the components' three bytes each.
function pictures.sof(width, height, parts, marker, depth)
  parts = parts or "\1\34\0\2\17\1\3\17\1"
  return pictures.segment(marker or 0xC0,
    string.char(depth or 8) .. be16(height) .. be16(width) .. string.char(#parts / 3) .. parts)
end

pictures.sos = pictures.segment(0xDA, "\3\1\0\2\17\3\17\0\63\0")

--- Returns a JPEG up to its first scan, `between` standing before the frame header.
function pictures.jpeg(width, height, between)
  return "\255\216" .. (between or "") .. pictures.sof(width, height) .. pictures.sos
end

--- Returns a WebP of these chunks.
function pictures.webp(chunks)
  return "RIFF" .. le32(#chunks + 4) .. "WEBP" .. chunks
end

--- Returns an extended WebP of this size; `flags` and further chunks are optional.
function pictures.vp8x(width, height, flags, more)
  local head = "VP8X" .. le32(10) .. string.char(flags or 0) .. "\0\0\0" ..
    le32(width - 1):sub(1, 3) .. le32(height - 1):sub(1, 3)
  return pictures.webp(head .. "VP8L" .. le32(6) .. "\47\0\0\0\0\0" .. (more or ""))
end

--- Returns Exif that tells an orientation, in either byte order, after some other entries.
function pictures.exif(orientation, little, others)
  local u16, u32 = little and le16 or be16, little and le32 or be32
  local entries = {}
  for i = 1, others or 3 do entries[i] = u16(0x0200 + i) .. u16(3) .. u32(1) .. u16(9) .. "\0\0" end
  entries[#entries + 1] = u16(0x0112) .. u16(3) .. u32(1) .. u16(orientation) .. "\0\0"
  return (little and "II*\0" or "MM\0*") .. u32(8) .. u16(#entries) .. table.concat(entries) ..
    u32(0)
end

--- Returns a file's bytes, or nil.
function pictures.read(path)
  local file = io.open(path, "rb")
  local bytes = file and file:read("*a")
  if file then file:close() end
  return bytes
end

--- Returns what a command prints, or nil where it cannot be run.
function pictures.output(command)
  local pipe = io.popen(command .. " 2>/dev/null")
  local text = pipe and pipe:read("*a")
  if pipe then pipe:close() end
  return text ~= "" and text or nil
end

--- Returns the photographs that Debian's lomiri-wallpapers packages install; may be none.
function pictures.photographs()
  local found = {}
  local list = pictures.output "ls -d /usr/share/backgrounds/*.jpg" or ""
  for path in list:gmatch "[^\n]+" do found[#found + 1] = path end
  return found
end

--- Calls a function with the path of a file of these bytes, which is gone afterwards.
function pictures.with_file(bytes, fn)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
  local ok, message = pcall(fn, path)
  os.remove(path)
  if not ok then error(message, 0) end
end

return pictures
