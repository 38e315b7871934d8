local core = require "kontext.core"
local pictures = require "spec.support.pictures"

local chunk, be16 = pictures.chunk, pictures.be16

local function repaint(options)
  return core.repaint {
    bytes = options.bytes, width = options.width or 24, height = options.height or 16,
    format = options.format or "png", seed = options.seed or 1, label = options.label,
  }
end

-- A picture of 24 by 16 without any symmetry, of eleven colours.
local W, H = 24, 16

local function index(x, y)
  return (x * 3 + y * y + math.floor(x / 5)) % 11
end

local function colour(i)
  return i * 23, 250 - i * 17, (i * 71) % 256
end

-- Returns the rows of a PNG of `w` by `h`, `pixel` writing one; `x0`… say which of an interlaced.
local function rows(w, h, pixel, x0, y0, dx, dy)
  local parts = {}
  if (x0 or 0) >= w then return "" end
  for y = y0 or 0, h - 1, dy or 1 do
    parts[#parts + 1] = "\0"
    for x = x0 or 0, w - 1, dx or 1 do parts[#parts + 1] = pixel(x, y) end
  end
  return table.concat(parts)
end

local function rgb(x, y)
  return string.char(colour(index(x, y)))
end

local plain = pictures.whole_png(W, H, rows(W, H, rgb))

-- Returns the most memory this process has held since the last call, in KiB, or nil.
local function peak()
  local status = pictures.read "/proc/self/status"
  local reset = io.open("/proc/self/clear_refs", "w")
  if not (status and reset) then return end
  reset:write "5"
  reset:close()
  return tonumber(status:match "VmHWM:%s*(%d+)")
end

describe("the emulator's edit", function()
  it("has exactly the size and the format that were asked for", function()
    for _, row in ipairs {
      { 672, 1568, "jpeg", plain }, { 1568, 672, "png" }, { 16, 16, "jpeg" },
      { 16, 16, "png", plain }, { 17, 400, "jpeg", plain }, { 400, 17, "png" },
      { 333, 222, "jpeg" }, { 222, 333, "png", plain },
    } do
      local made = assert(repaint { bytes = row[4], width = row[1], height = row[2],
        format = row[3], label = "Change the car color to red" })
      local known = assert(core.check { bytes = made })
      assert.same({ row[3], row[1], row[2] }, { known.format, known.width, known.height })
    end
  end)

  it("is the same for the same picture, seed and label, and another for others", function()
    local seen = {}
    for _, options in ipairs {
      { bytes = plain, seed = 1 }, { bytes = plain, seed = 2 }, { bytes = plain, seed = 0 },
      { bytes = plain, seed = 2 ^ 32 - 1 }, { seed = 1 }, { seed = 2 },
      { bytes = plain, seed = 1, width = 300, label = "a" },
      { bytes = plain, seed = 1, width = 300, label = "b" },
    } do
      local made = assert(repaint(options))
      assert.equal(made, repaint(options))
      assert.is_nil(seen[made])
      seen[made] = true
    end
  end)

  it("is of the picture as it is upright, whichever way it is stored", function()
    local upright = assert(repaint { bytes = plain })
    local stored = { -- by orientation: stored size, and the upright place of a stored one
      { W, H, function(x, y) return x, y end }, { W, H, function(x, y) return W - 1 - x, y end },
      { W, H, function(x, y) return W - 1 - x, H - 1 - y end },
      { W, H, function(x, y) return x, H - 1 - y end }, { H, W, function(x, y) return y, x end },
      { H, W, function(x, y) return W - 1 - y, x end },
      { H, W, function(x, y) return W - 1 - y, H - 1 - x end },
      { H, W, function(x, y) return y, H - 1 - x end },
    }
    for orientation, way in ipairs(stored) do
      local turned = rows(way[1], way[2], function(x, y) return rgb(way[3](x, y)) end)
      local bytes = pictures.whole_png(way[1], way[2], turned, nil,
        chunk("eXIf", pictures.exif(orientation, true)))
      assert.is_true(upright == repaint { bytes = bytes }, "orientation " .. orientation)
    end
  end)

  it("is the same for every way in which a PNG can hold the picture", function()
    local upright = assert(repaint { bytes = plain })
    local palette = {}
    for i = 0, 10 do palette[i + 1] = string.char(colour(i)) end
    palette = table.concat(palette)
    local function nibbles(x, y)
      return x % 2 == 0 and string.char(index(x, y) * 16 + index(x + 1, y)) or ""
    end
    local interlaced = ""
    for _, pass in ipairs {
      { 0, 0, 8, 8 }, { 4, 0, 8, 8 }, { 0, 4, 4, 8 }, { 2, 0, 4, 4 }, { 0, 2, 2, 4 },
      { 1, 0, 2, 2 }, { 0, 1, 1, 2 },
    } do
      interlaced = interlaced .. rows(W, H, rgb, pass[1], pass[2], pass[3], pass[4])
    end
    local function wide(x, y)
      local r, g, b = colour(index(x, y))
      return be16(r * 257) .. be16(g * 257) .. be16(b * 257)
    end
    local whole = pictures.stored(rows(W, H, rgb))
    local png = pictures.whole_png
    for name, bytes in pairs {
      ["with opaque alpha"] = png(W, H, rows(W, H, function(x, y) return rgb(x, y) .. "\255" end),
        "\8\6\0\0\0"),
      ["of 16 bits"] = png(W, H, rows(W, H, wide), "\16\2\0\0\0"),
      interlaced = png(W, H, interlaced, "\8\2\0\0\1"),
      ["of a palette"] = png(W, H, rows(W, H, function(x, y) return string.char(index(x, y)) end),
        "\8\3\0\0\0", chunk("PLTE", palette)),
      ["of a palette in nibbles"] = png(W, H, rows(W, H, nibbles), "\4\3\0\0\0",
        chunk("PLTE", palette)),
      ["with a transparent colour"] = png(W, H, rows(W, H, rgb), nil,
        chunk("tRNS", "\0\1\0\1\0\1")),
      ["in many pieces, with much around it"] = "\137PNG\r\n\26\n" .. pictures.ihdr(W, H) ..
        chunk("gAMA", "\0\0\177\143") .. chunk("tEXt", "Comment\0me") .. chunk("IDAT", "") ..
        chunk("IDAT", whole:sub(1, 100)) .. chunk("IDAT", whole:sub(101)),
    } do
      assert.is_true(upright == repaint { bytes = bytes }, "a PNG " .. name)
    end
  end)

  it("lays what is transparent on white", function()
    local function white(x, y) return index(x, y) == 0 and "\255\255\255" or rgb(x, y) end
    local function clear(x, y) return rgb(x, y) .. (index(x, y) == 0 and "\0" or "\255") end
    local palette = ""
    for i = 0, 10 do palette = palette .. string.char(colour(i)) end
    local byte = function(x, y) return string.char(index(x, y)) end
    local png = pictures.whole_png
    local expected = assert(repaint { bytes = png(W, H, rows(W, H, white)) })
    local r, g, b = colour(0)
    for _, bytes in ipairs {
      png(W, H, rows(W, H, clear), "\8\6\0\0\0"),
      png(W, H, rows(W, H, rgb), nil, chunk("tRNS", be16(r) .. be16(g) .. be16(b))),
      png(W, H, rows(W, H, byte), "\8\3\0\0\0", chunk("PLTE", palette) .. chunk("tRNS", "\0")),
    } do
      assert.is_true(expected == repaint { bytes = bytes })
    end
  end)

  it("shows nothing of what memory held before", function()
    local png = pictures.whole_png
    local function beyond(x, y) return string.char(index(x, y) < 3 and index(x, y) or 255) end
    local function black(x, y) return index(x, y) < 3 and rgb(x, y) or "\0\0\0" end
    local palette = ""
    for i = 0, 2 do palette = palette .. string.char(colour(i)) end
    local indexed = png(W, H, rows(W, H, beyond), "\8\3\0\0\0", chunk("PLTE", palette))
    assert.is_true(repaint { bytes = indexed } == repaint { bytes = png(W, H, rows(W, H, black)) })
    -- A progressive JPEG without its first scan, which would have set what the others refine.
    local whole = pictures.read "fuzz/corpus/image/progressive.jpg"
    local scan = whole:find("\255\218", 1, true)
    local rest = whole:sub(1, scan - 1) .. whole:sub(whole:find("\255\196", scan, true), -1)
    local clean = assert(repaint { bytes = rest })
    local dirt = {}
    for size = 200, 6000, 3 do dirt[#dirt + 1] = ("U"):rep(size) end
    assert.equal(1934, #dirt)
    dirt = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_true(clean == repaint { bytes = rest })
  end)

  it("reads scans of any length, whatever stands where a piece of them ends", function()
    local grey = pictures.read "fuzz/corpus/image/grey.jpg"
    local restart = assert(grey:find("\255\208", 1, true))
    local expected = assert(repaint { bytes = grey })
    for _, fill in ipairs { 65000, 65535, 65536, 140000 } do
      local bytes = grey:sub(1, restart) .. ("\255"):rep(fill) .. grey:sub(restart + 1)
      assert.is_true(expected == repaint { bytes = bytes }, fill .. " bytes more")
    end
  end)

  it("decodes JPEGs as libjpeg does #once", function()
    if not pictures.output "convert -version" or not pictures.output "compare -version" then
      return pending "needs ImageMagick"
    end
    local names = { "baseline", "progressive", "grey", "sampled" }
    for i, name in ipairs(names) do names[i] = "fuzz/corpus/image/" .. name .. ".jpg" end
    for _, path in ipairs(pictures.photographs()) do
      if path:find "Picture_1A" then names[#names + 1] = path end -- the smallest
    end
    for _, path in ipairs(names) do
      local convert = "convert " .. path .. " -auto-orient +profile '*' -quality 10 png:-"
      local oracle = pictures.output(convert)
      local options = { bytes = pictures.read(path), width = 160, height = 160 }
      pictures.with_file(assert(repaint(options)), function(ours)
        options.bytes = oracle
        pictures.with_file(assert(repaint(options)), function(theirs)
          local said = pictures.output(
            ("(compare -metric RMSE png:%s png:%s null: 2>&1)"):format(ours, theirs))
          -- The ratio that is PSNR, of which some ImageMagick 7 say 0 where nothing differs.
          local error_of_one = tonumber(said:match "%(([%d.e-]+)%)")
          assert.is_true(error_of_one < 10 ^ (-38 / 20), path .. ": " .. said)
        end)
      end)
    end
  end)

  it("changes the picture, not its band alone, and writes what others can read #once", function()
    if not pictures.output "compare -version" then return pending "needs ImageMagick" end
    local path = "/usr/share/backgrounds/Picture_1A_by_freespace.jpg"
    local photograph = pictures.read(path)
    if not photograph then return pending "needs lomiri-wallpapers-16.04" end
    -- Returns how alike two pictures are, in decibels, above the band.
    local function alike(a, b)
      local ratio = 0
      pictures.with_file(a, function(one)
        pictures.with_file(b, function(other)
          local top = "[800x500+0+0]' "
          local said = pictures.output("(compare -metric PSNR '" .. one .. top .. "'" .. other ..
            top .. "null: 2>&1)")
          ratio = assert(tonumber(said:match "^[%d.]+"), said)
        end)
      end)
      return ratio
    end
    local options = { bytes = photograph, width = 800, height = 600, label = "a prompt" }
    local first = assert(repaint(options))
    options.format = "jpeg"
    assert.is_true(alike(first, assert(repaint(options))) > 30) -- libpng and libjpeg read the same
    options.seed = 2
    assert.is_true(alike(first, assert(repaint(options))) < 30)
    local scaled = pictures.output("convert " .. path .. " -resize 800x -gravity center " ..
      "-crop 800x600+0+0 +repage -quality 10 png:-")
    local change = alike(first, scaled)
    assert.is_true(change > 8 and change < 26, change .. " dB")
  end)

  it("shows any label, whatever its bytes", function()
    local seen = {}
    for _, label in ipairs {
      "", "\0", "\255\254\253", "Zo\195", "Zo\195\171's caf\195\169 \226\128\147 na\195\175ve",
      "\226\128", ("long "):rep(100000), ("\226\130\172"):rep(500), "\n\t \r",
    } do
      seen[assert(repaint { label = label, width = 200, height = 60 })] = true
    end
    local count = 0
    for _ in pairs(seen) do count = count + 1 end
    assert.equal(6, count) -- nothing but white space (three), and text that is drawn (five)
  end)

  it("paints a picture of its own where none is given or none can be decoded here", function()
    assert.equal(repaint {}, repaint { bytes = pictures.read "fuzz/corpus/image/lossy.webp" })
  end)

  it("says in words why a picture cannot be edited", function()
    local photograph = assert(repaint { width = 200, height = 200, format = "jpeg" })
    local frame = photograph:find("\255\192", 1, true)
    local table_free = photograph:sub(1, 20) .. photograph:sub(frame)
    for _, row in ipairs {
      { "empty", "" }, { "unknown", "text" }, { "foreign", "GIF89a\1\0\1\0\0\0\0" },
      { "cut", photograph:sub(1, 100) }, { "cut", photograph:sub(1, 1000) },
      { "cut", photograph:sub(1, -30) },
      { "quantization table that is not there", table_free },
      { "cannot be decoded", pictures.whole_png(W, H, rows(W, H - 1, rgb)) },
      { "cannot be decoded", pictures.png(W, H) },
      { "too_big", pictures.png(30000, 8000) },
    } do
      local made, message = repaint { bytes = row[2] }
      assert.is_nil(made)
      assert.matches(row[1], message)
    end
    for _, size in ipairs { { 15, 16 }, { 16, 15 }, { 16385, 16 }, { 16, 16385 }, { -1, 16 },
      { 8192, 8193 } } do
      local made, message = repaint { width = size[1], height = size[2] }
      assert.is_nil(made)
      assert.matches("16 to 16384", message)
    end
  end)

  it("inflates no PNG past what its header says", function()
    -- Codes of deflate's fixed table, first bit first: a zero, then "258 bytes as the last one".
    local bits, period = "110" .. "00110000", "11000101" .. "00000"
    local bytes = {}
    bits = bits .. period:rep(16)
    for i = 1, 15 do bytes[i] = string.char(tonumber(bits:sub(i * 8 - 7, i * 8):reverse(), 2)) end
    bytes = table.concat(bytes)
    local bomb = "\120\1" .. bytes:sub(1, 2) .. bytes:sub(3):rep(120000) -- 248 MB
    local png = pictures.png(W, H, chunk("IDAT", ""))
    png = png:sub(1, -17) .. pictures.be32(#bomb) .. "IDAT" .. bomb .. "\0\0\0\0" ..
      chunk("IEND", "")
    peak()
    local before = peak()
    local made, message = repaint { bytes = png }
    assert.is_nil(made)
    assert.matches("cannot be decoded", message)
    if before then assert.is_true(peak() - before < 24 * 1024, "24 MiB more at the most") end
  end)
end)
