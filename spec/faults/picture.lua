-- PNG files made here, byte by byte: real ones, of any size on disk, with the dimensions asked.

local picture = {}

local crc_table = {}
for i = 0, 255 do
  local c = i
  for _ = 1, 8 do c = (c & 1) ~= 0 and 0xEDB88320 ~ (c >> 1) or c >> 1 end
  crc_table[i] = c
end

local function crc32(bytes)
  local c = 0xFFFFFFFF
  for i = 1, #bytes do c = crc_table[(c ~ bytes:byte(i)) & 0xFF] ~ (c >> 8) end
  return c ~ 0xFFFFFFFF
end

local function adler32(bytes)
  local a, b = 1, 0
  for i = 1, #bytes do
    a = (a + bytes:byte(i)) % 65521
    b = (b + a) % 65521
  end
  return b << 16 | a
end

--- A PNG chunk with its length and checksum.
function picture.chunk(kind, data)
  return string.pack(">I4", #data) .. kind .. data .. string.pack(">I4", crc32(kind .. data))
end

--- A zlib stream of stored blocks.
function picture.deflate(bytes)
  local out = { "\x78\x01" }
  for i = 1, #bytes, 65535 do
    local part = bytes:sub(i, i + 65534)
    out[#out + 1] = string.pack("<BI2I2", i + 65535 > #bytes and 1 or 0, #part, ~#part & 0xFFFF)
    out[#out + 1] = part
  end
  out[#out + 1] = string.pack(">I4", adler32(bytes))
  return table.concat(out)
end

picture.signature = "\x89PNG\r\n\x1a\n"

--- IHDR of an 8-bit RGB picture.
function picture.header(width, height)
  return picture.chunk("IHDR", string.pack(">I4I4BBBBB", width, height, 8, 2, 0, 0, 0))
end

--- A whole PNG; `padding` bytes of text stand before the pixels.
function picture.png(width, height, padding)
  local row = "\0" .. ("\x40\x80\xC0"):rep(width)
  local parts = { picture.signature, picture.header(width, height) }
  if padding then
    parts[#parts + 1] = picture.chunk("tEXt", "Comment\0" .. ("k"):rep(padding))
  end
  parts[#parts + 1] = picture.chunk("IDAT", picture.deflate(row:rep(height)))
  parts[#parts + 1] = picture.chunk("IEND", "")
  return table.concat(parts)
end

return picture
