-- Under sanitizers: checks pictures. "corpus" reads paths from the standard input and writes what
-- kontext.check says of each; "hostile COUNT" checks what it makes up itself and writes figures.

local kontext = require "kontext"
local picture = require "faults.picture"

local mode, amount = arg[1], tonumber(arg[2])
local slowest, slowest_name, cases = 0, "", 0

-- Checks one picture; dies where the answer is not one of the two that are promised.
local function check(what, name)
  local begun = os.clock() -- the processor's: what others do meanwhile is no fault of the check
  local info, message, err = kontext.check(what)
  local took = os.clock() - begun
  if took > slowest then slowest, slowest_name = took, name end
  cases = cases + 1
  if info then
    assert(info.width > 0 and info.height > 0, name)
    return info
  end
  assert(type(message) == "string" and (err.kind == "image" or err.kind == "file"), name)
  return nil, message
end

if mode == "corpus" then
  for path in io.lines() do
    local info, message = check({ path = path }, path)
    if info then
      io.write(path, "\t", info.format, "\t", info.width, "\t", info.height, "\n")
    else
      io.write(path, "\t-\t", message:gsub("[%c]", " "), "\n")
    end
  end
  return
end

local function segment(marker, data)
  return string.pack(">BBI2", 0xFF, marker, #data + 2) .. data
end

-- A baseline JPEG of one 8x8 block, grey; parts can be replaced.
local function jpeg(with)
  local counts = ("\0"):rep(16)
  local parts = {
    soi = "\xFF\xD8", extra = "", dqt = segment(0xDB, "\0" .. ("\1"):rep(64)),
    sof = segment(0xC0, string.pack(">BI2I2BBBB", 8, 8, 8, 1, 1, 0x11, 0)),
    dht = segment(0xC4, "\0\1" .. counts:sub(2) .. "\0") .. segment(0xC4, "\x10\1" .. counts:sub(2)
      .. "\0"),
    sos = segment(0xDA, "\1\1\0\0\63\0"), data = "\x3F", eoi = "\xFF\xD9",
  }
  for name, value in pairs(with or {}) do parts[name] = value end
  return parts.soi .. parts.extra .. parts.dqt .. parts.dht .. parts.sof .. parts.sos .. parts.data
    .. parts.eoi
end

local function webp(kind, data)
  local chunk = kind .. string.pack("<I4", #data) .. data
  return "RIFF" .. string.pack("<I4", #chunk + 4) .. "WEBP" .. chunk
end

local function dht(symbols)
  return segment(0xC4, "\0" .. ("\xFF"):rep(16) .. ("\7"):rep(symbols))
end
local function sof(marker, ...) return segment(marker, string.pack(">BI2I2B", ...)) end

-- Whole pictures, to be cut and bent.
local good = {
  png = picture.png(40, 30, 50), jpeg = jpeg(),
  vp8 = webp("VP8 ", "\x10\0\0\x9D\1\x2A" .. string.pack("<I2I2", 40, 30) .. ("\0"):rep(20)),
  vp8l = webp("VP8L", "\x2F" .. string.pack("<I4", 39 | 29 << 14) .. ("\0"):rep(20)),
  vp8x = webp("VP8X", string.pack("<I4I3I3", 0, 39, 29)),
}

local odd = {
  ["DHT sums over 256"] = jpeg { dht = dht(4080) }, ["DHT cut"] = jpeg { dht = dht(10) },
  ["DHT without symbols"] = jpeg { dht = segment(0xC4, "") },
  ["DNL"] = jpeg { sof = sof(0xC0, 8, 0, 8, 1) .. "", eoi = segment(0xDC, "\0\8") .. "\xFF\xD9" },
  ["100,000 markers"] = jpeg { extra = segment(0xE1, "x"):rep(100000) },
  ["100,000 empty markers"] = jpeg { extra = "\xFF\xFE\0\2" .. ("\xFF\xFE\0\2"):rep(99999) },
  ["100,000 fill bytes"] = jpeg { extra = ("\xFF"):rep(100000) },
  ["segment of length 0"] = jpeg { extra = "\xFF\xE0\0\0" },
  ["segment of length 1"] = jpeg { extra = "\xFF\xE0\0\1" },
  ["two SOFs"] = jpeg { sof = sof(0xC0, 8, 8, 8, 0) .. sof(0xC0, 8, 65535, 65535, 0) },
  ["65535 x 65535"] = jpeg { sof = segment(0xC0, string.pack(">BI2I2BBBB", 8, 65535, 65535, 1, 1,
    0x11, 0)) },
  ["255 components"] = jpeg { sof = sof(0xC0, 8, 8, 8, 255) },
  ["sampling of 0"] = jpeg { sof = segment(0xC0, string.pack(">BI2I2BBBB", 8, 8, 8, 1, 1, 0, 0)) },
  ["nothing but markers"] = "\xFF\xD8" .. ("\xFF\xD8"):rep(50000),
  ["endless restart markers"] = "\xFF\xD8" .. ("\xFF\xD0"):rep(50000),
  ["Exif that points at itself"] = jpeg { extra = segment(0xE1, "Exif\0\0II*\0\8\0\0\0\1\0"
    .. "\x69\x87\4\0\1\0\0\0\8\0\0\0\8\0\0\0") },
  ["Exif of 65535 entries"] = jpeg { extra = segment(0xE1, "Exif\0\0MM\0*\0\0\0\8\xFF\xFF"
    .. ("\1\x12\0\3\0\0\0\1\0\6\0\0"):rep(3000)) },
  ["Exif beyond its end"] = jpeg { extra = segment(0xE1, "Exif\0\0II*\0\xFF\xFF\xFF\xFF") },
  ["PNG, 100,000 chunks"] = picture.signature .. picture.header(8, 8)
    .. picture.chunk("tEXt", ""):rep(100000),
  ["PNG, chunk of 2^32-1"] = picture.signature .. picture.header(8, 8) .. "\xFF\xFF\xFF\xFFIDAT",
  ["PNG, IHDR of length 0"] = picture.signature .. picture.chunk("IHDR", ""),
  ["PNG, IHDR of 2^31"] = picture.signature .. "\x80\0\0\0IHDR",
  ["PNG, 2^31 x 2^31"] = picture.signature .. picture.header(2147483648, 2147483648),
  ["PNG, IHDR twice"] = picture.signature .. picture.header(8, 8) .. picture.header(9, 9),
  ["RIFF of length 0"] = "RIFF\0\0\0\0WEBP", ["VP8X of length 0"] = webp("VP8X", ""),
  ["VP8X, 2^24 x 2^24"] = webp("VP8X", ("\xFF"):rep(10)),
  ["WEBP chunk of 2^32-1"] = "RIFF\xFF\xFF\xFF\xFFWEBPVP8 \xFF\xFF\xFF\xFF",
}
for name, bytes in pairs(odd) do check({ bytes = bytes }, name) end

for name, bytes in pairs(good) do
  if name ~= "vp8x" then assert(check({ bytes = bytes }, name), name) end
  for n = 0, #bytes do check({ bytes = bytes:sub(1, n) }, name .. " cut at " .. n) end
  for at = 1, math.min(#bytes, 700) do
    for _, value in ipairs { 0, 1, 127, 128, 254, 255 } do
      check({ bytes = bytes:sub(1, at - 1) .. string.char(value) .. bytes:sub(at + 1) },
        name .. " bent at " .. at)
    end
  end
end

-- And at random, several bytes at once, from a seed that can be given again.
math.randomseed(20260101)
local names = { "png", "jpeg", "vp8", "vp8l", "vp8x" }
for _ = 1, amount do
  local name = names[math.random(#names)]
  local bytes = good[name]
  for _ = 1, math.random(6) do
    local at = math.random(math.min(#bytes, 400))
    local kind = math.random(3)
    if kind == 1 then
      bytes = bytes:sub(1, at - 1) .. string.char(math.random(0, 255)) .. bytes:sub(at + 1)
    elseif kind == 2 then
      bytes = bytes:sub(1, at) .. bytes:sub(math.random(at, #bytes))
    else
      bytes = bytes:sub(1, at) .. string.char(math.random(0, 255)):rep(math.random(40))
        .. bytes:sub(at + 1)
    end
  end
  check({ bytes = bytes }, "random")
end
print(("%d\t%.6f\t%s"):format(cases, slowest, slowest_name))
