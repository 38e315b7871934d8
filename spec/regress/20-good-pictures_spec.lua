-- Good pictures that were called damaged, and results that were judged as if they were inputs.
local check = require "kontext.job.check"
local core = require "kontext.core"
local pictures = require "spec.support.pictures"
local size = require "kontext.size"

local chunk, segment = pictures.chunk, pictures.segment

-- A JPEG of 32 x 24 pixels that the emulator's painter made, with tables and an end mark.
local photo = assert(core.repaint { width = 32, height = 24, format = "jpeg", seed = 5 })
local whole_png = assert(core.repaint { width = 32, height = 24, format = "png", seed = 5 })

local has_libjpeg = core.info().jpeg ~= "stb_image"

local function decodes(bytes)
  return (core.thumbnail({ bytes = bytes }, 32, 24))
end

-- Returns the picture with something after its first segment.
local function with(what)
  return photo:sub(1, 20) .. what .. photo:sub(21)
end

describe("a picture that decoders take", function()
  it("is taken whatever number of segments or chunks it has", function()
    local pixels = assert(decodes(photo))
    for _, more in ipairs { segment(0xFE, "frame"):rep(20000),
      segment(0xEB, ("x"):rep(1000)):rep(5000), segment(0xFE, "a") .. ("\0"):rep(60000) } do
      assert.equal(32, assert(core.check { bytes = with(more) }).width)
      assert.is_true(pixels == decodes(with(more)))
    end
    pixels = assert(decodes(whole_png))
    local more = whole_png:sub(1, 33) .. chunk("tEXt", "k\0v"):rep(5000) .. whole_png:sub(34)
    assert.equal(32, assert(core.check { bytes = more }).width)
    assert.is_true(pixels == decodes(more))
  end)

  it("is taken in every kind of PNG, with any version of stb_image", function()
    for kind, depths in pairs { [0] = { 1, 2, 4, 8, 16 }, [2] = { 8, 16 }, [3] = { 1, 2, 4, 8 },
      [4] = { 8, 16 }, [6] = { 8, 16 } } do
      for _, depth in ipairs(depths) do
        local channels = ({ [0] = 1, [2] = 3, [3] = 1, [4] = 2, [6] = 4 })[kind]
        local row = "\0" .. ("\1"):rep(math.ceil(8 * channels * depth / 8))
        local palette = kind == 3 and chunk("PLTE", ("abc"):rep(2)) or ""
        local png = pictures.whole_png(8, 8, row:rep(8),
          string.char(depth, kind, 0, 0, 0), palette)
        assert.equal(8, assert(core.check { bytes = png }).width)
        assert.equal(192, #assert(core.thumbnail({ bytes = png }, 8, 8)))
      end
    end
  end)

  it("is taken without its end mark when all of the picture is there, and only then", function()
    if not has_libjpeg then return pending "stb_image cannot tell" end
    local pixels = assert(decodes(photo))
    local bare = photo:sub(1, -3)
    for _, tail in ipairs { "", "\0\0\1\nImage_UTC_Data", "\255\229\255\255abc", photo,
      "\255\0" } do
      assert.is_true(pixels == decodes(bare .. tail), ("%q"):format(tail:sub(1, 20)))
    end
    for cut = 30, 300, 30 do assert.is_nil((decodes(photo:sub(1, -cut)))) end
  end)

  it("is taken with scan parameters that only a progressive JPEG needs", function()
    local pixels = assert(decodes(photo))
    local at = assert(photo:find("\255\218\0\12\3", 1, true))
    for _, three in ipairs { "\0\0\0", "\1\63\0", "\0\63\16" } do
      local other = photo:sub(1, at + 10) .. three .. photo:sub(at + 14)
      assert.equal(#photo, #other)
      assert.is_true(pixels == decodes(other))
    end
  end)

  it("is taken without the standard's Huffman tables, as cameras' motion JPEG is", function()
    local at, bare = 3, "\255\216"
    while photo:byte(at + 1) ~= 0xDA do
      local long = photo:byte(at + 2) * 256 + photo:byte(at + 3) + 2
      if photo:byte(at + 1) ~= 0xC4 then bare = bare .. photo:sub(at, at + long - 1) end
      at = at + long
    end
    assert.is_true(#bare + #photo - at + 1 < #photo)
    assert.is_true(assert(decodes(photo)) == decodes(bare .. photo:sub(at)))
  end)

  it("is refused for our own limit in words that say so", function()
    local _, message = check.image { bytes = with(segment(0xE1, ("x"):rep(1000)):rep(17000)) }
    assert.equal("the image cannot be used: more metadata stands before its picture than kontext "
      .. "looks through; save it again as an ordinary JPEG or PNG", message)
  end)
end)

describe("Exif's orientation", function()
  local function exif(kind, value, magic)
    return (magic or "II*\0") .. pictures.le32(8) .. pictures.le16(1) .. pictures.le16(0x0112) ..
      pictures.le16(kind) .. pictures.le32(1) .. value .. pictures.le32(0)
  end
  local function text(name, bytes)
    local digits = bytes:gsub(".", function(c) return ("%02x"):format(c:byte()) end)
    return ("Raw profile type %s\0"):format(name),
      ("\n%s\n%8d\n%s\n"):format(name, #bytes, digits:gsub(("."):rep(72), "%0\n"))
  end
  local function told(bytes) return assert(core.check { bytes = bytes }).orientation end

  it("is read as a number of any width", function()
    for kind, value in pairs { [1] = "\6\0\0\0", [3] = "\6\0\0\0", [4] = "\6\0\0\0" } do
      assert.equal(6, told(with(segment(0xE1, "Exif\0\0" .. exif(kind, value)))))
    end
    assert.equal(6, told(with(segment(0xE1, "Exif\0\0" .. exif(3, "\6\0\0\0", "II\0*")))))
    assert.equal(6, told(with(segment(0xE1, "Exif\0\0" .. pictures.exif(6, true, 200)))))
    assert.equal(1, told(with(segment(0xE1, "Exif\0\0" .. exif(2, "\6\0\0\0")))))
    assert.equal(1, told(with(segment(0xE1, "Exif\0\0" .. exif(4, "\6\0\0\1")))))
  end)

  it("is read from a PNG's text, plain or compressed, and behind its pixels", function()
    local six = "Exif\0\0" .. exif(3, "\6\0\0\0")
    for _, name in ipairs { "exif", "APP1" } do
      local keyword, lines = text(name, six)
      local plain = chunk("tEXt", keyword .. lines)
      local compressed = chunk("zTXt", keyword .. "\0" .. pictures.stored(lines))
      for _, it in ipairs { plain, compressed, chunk("eXIf", exif(3, "\6\0\0\0")) } do
        assert.equal(6, told(whole_png:sub(1, 33) .. it .. whole_png:sub(34)))
        assert.equal(6, told(whole_png:sub(1, -13) .. it .. whole_png:sub(-12)))
      end
    end
    local keyword, lines = text("exif", "Exif\0\0" .. exif(3, "\3\0\0\0"))
    assert.equal(6, told(whole_png:sub(1, 33) .. chunk("tEXt", keyword .. lines) ..
      chunk("eXIf", exif(3, "\6\0\0\0")) .. whole_png:sub(34)))
    assert.equal(1, told(whole_png:sub(1, 33) .. chunk("zTXt", keyword .. "\0damaged") ..
      whole_png:sub(34)))
  end)

  it("counts for the size that an answer will have", function()
    local lying = pictures.png(1600, 1200, chunk("eXIf", exif(3, "\6\0\0\0")))
    assert.same({ 880, 1184 }, { size.output_size { bytes = lying } })
    assert.same({ 1600, 1200, 6 }, (function(info)
      return { info.width, info.height, info.orientation }
    end)(check.image { bytes = lying }))
  end)
end)
