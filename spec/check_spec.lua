local check = require "kontext.job.check"
local core = require "kontext.core"
local pictures = require "spec.support.pictures"

local jpeg, png, segment, chunk = pictures.jpeg, pictures.png, pictures.segment, pictures.chunk

local flipped = png(4, 3):sub(1, 19) .. "\5" .. png(4, 3):sub(21) -- one byte of its width

-- What the corpus holds: the bytes up to the end of the header, and what the check must tell.
local corpus = {
  { "baseline.jpg", "jpeg", 6 }, { "cmyk.jpg", "jpeg", 1 }, { "grey.jpg", "jpeg", 1 },
  { "progressive.jpg", "jpeg", 1 }, { "sampled.jpg", "jpeg", 1 },
  { "bit.png", "png", 1 }, { "la.png", "png", 1 }, { "palette.png", "png", 1 },
  { "rgb.png", "png", 6 }, { "rgba.png", "png", 1 },
  { "extended.webp", "webp", 6 }, { "lossless.webp", "webp", 1 }, { "lossy.webp", "webp", 1 },
}

-- Where a file's header ends, found another way than by walking it: a JPEG's with its first scan's
-- header, a PNG's with its first pixels (their checksum and IEND are 16 bytes), a WebP's with the
-- file.
local function header_end(format, bytes)
  if format == "jpeg" then
    local scan = bytes:find("\255\218\0", 1, true)
    return scan + 1 + bytes:byte(scan + 3)
  end
  return format == "png" and #bytes - 16 or #bytes
end

local function outcome(bytes)
  local known, kind, detail = core.check { bytes = bytes }
  if known then return "ok", known end
  return kind, detail
end

-- Returns what a check of this file reads, in bytes and in system calls; nil where the system
-- does not tell.
local function reads(path)
  local function counters()
    local text = pictures.read "/proc/self/io"
    if text then return tonumber(text:match "rchar: (%d+)"), tonumber(text:match "syscr: (%d+)") end
  end
  if not counters() then return end
  local bytes0, calls0 = counters()
  local bytes1, calls1 = counters()
  core.check { path = path }
  local bytes2, calls2 = counters()
  return bytes2 - bytes1 - (bytes1 - bytes0), calls2 - calls1 - (calls1 - calls0)
end

describe("the picture check", function()
  it("tells format, size and orientation of JPEG, PNG and WebP by their content", function()
    for _, row in ipairs(corpus) do
      local bytes = assert(pictures.read("fuzz/corpus/image/" .. row[1]))
      local kind, known = outcome(bytes)
      assert.equal("ok", kind, row[1])
      assert.same({ row[2], 19, 13, row[3], #bytes },
        { known.format, known.width, known.height, known.orientation, known.bytes }, row[1])
    end
  end)

  it("agrees with file(1) on photographs #once", function()
    local photographs = pictures.photographs()
    if #photographs == 0 then return pending "needs lomiri-wallpapers-16.04" end
    if not pictures.output "file --version" then return pending "needs file(1)" end
    for _, path in ipairs(photographs) do
      local said = pictures.output("file -b " .. path)
      local width, height = said:match ", (%d+)x(%d+), components"
      local known = assert(core.check { path = path })
      assert.same({ "jpeg", tonumber(width), tonumber(height) },
        { known.format, known.width, known.height }, path)
    end
  end)

  it("reads Exif's orientation in all three formats and both byte orders", function()
    for orientation = 1, 8 do
      for _, little in ipairs { true, false } do
        local exif = pictures.exif(orientation, little)
        for _, bytes in ipairs {
          jpeg(40, 30, segment(0xE1, "Exif\0\0" .. exif)),
          png(40, 30, chunk("eXIf", exif)),
          pictures.vp8x(40, 30, 8, "EXIF" .. pictures.le32(#exif) .. exif),
          pictures.vp8x(40, 30, 8, "EXIF" .. pictures.le32(#exif + 6) .. "Exif\0\0" .. exif),
        } do
          local kind, known = outcome(bytes)
          assert.equal("ok", kind)
          assert.same({ 40, 30, orientation }, { known.width, known.height, known.orientation })
        end
      end
    end
  end)

  it("believes the first of two Exif segments", function()
    local six, three = pictures.exif(6, true), pictures.exif(3, true)
    local _, known = outcome(jpeg(4, 3, segment(0xE1, "Exif\0\0" .. six) ..
      segment(0xE1, "http://ns.adobe.com/xap/1.0/\0") .. segment(0xE1, "Exif\0\0" .. three)))
    assert.equal(6, known.orientation)
  end)

  it("takes damaged Exif for none", function()
    local exif = pictures.exif(6, true)
    for _, bad in ipairs {
      "", "Exif\0\0", "Exif\0\0" .. exif:sub(1, 30), "Exif\0\0XX" .. exif:sub(3),
      "Exif\0\0II*\0\255\255" .. exif:sub(7), "http://ns.adobe.com/xap/1.0/\0" .. exif,
      "Exif\0\0" .. pictures.exif(9, true), "Exif\0\0" .. pictures.exif(0, false),
    } do
      local kind, known = outcome(jpeg(4, 3, segment(0xE1, bad)))
      assert.equal("ok", kind)
      assert.equal(1, known.orientation)
    end
    -- Of five entries three are there: the fifth would lie in the comment that follows.
    local short = "Exif\0\0II*\0\8\0\0\0\5\0" .. exif:sub(11, 46)
    local comment = ("x"):rep(8) .. exif:sub(47, 58)
    local _, known = outcome(jpeg(4, 3, segment(0xE1, short) .. segment(0xFE, comment)))
    assert.equal(1, known.orientation)
  end)

  it("names other formats by their first bytes", function()
    local heic = "\0\0\0\24ftyp%s\0\0\0\0mif1%s"
    for label, bytes in pairs {
      GIF = "GIF89a\1\0\1\0\0\0\0", TIFF = "II*\0\8\0\0\0", BMP = "BM\62\0\0\0\0\0\0\0\62\0\0\0",
      HEIC = heic:format("heic", "heic"), AVIF = heic:format("avif", "miaf"),
      HEIF = heic:format("mif1", "miaf"), ["JPEG XL"] = "\255\10\250\31", ICO = "\0\0\1\0\1\0",
      ["Photoshop (PSD)"] = "8BPS\0\1\0\0", PDF = "%PDF-1.7\n", ["JPEG 2000"] = "\255\79\255\81\0",
      SVG = "\239\187\191<?xml version='1.0'?>\n<!-- me -->\n<svg width='1'/>",
      ["a web page (HTML)"] = "\n<!DOCTYPE html><title>404</title>", PNM = "P6\n1 1\n255\nabc",
      ["a video (MP4)"] = "\0\0\0\24ftypisom\0\0\2\0", ["the base64 text of a JPEG"] = "/9j/4AAQ",
      ["a ZIP archive"] = "PK\3\4\20\0", TGA = "\0\0\2\0\0\0\0\0\0\0\0\0\1\0\1\0\24\0",
    } do
      local kind, detail = outcome(bytes)
      assert.same({ "foreign", label }, { kind, detail.label })
    end
    assert.equal("unknown", (outcome "once upon a time"))
    assert.equal("unknown", (outcome(("\0"):rep(600))))
    assert.equal("empty", (outcome ""))
  end)

  it("says what is wrong with a damaged or unusual header", function()
    local sof, sos = pictures.sof, pictures.sos
    local function raw(...) return "\255\216" .. table.concat({ ... }) end
    local counts = ("\0"):rep(14)
    for _, row in ipairs {
      { "odd", "height", raw(sof(4, 0), sos) },
      { "odd", "lossless", raw(sof(4, 3, nil, 0xC3), sos) },
      { "odd", "hierarchical", raw(sof(4, 3, nil, 0xC5), sos) },
      { "odd", "arithmetic", raw(sof(4, 3, nil, 0xC9), sos) },
      { "odd", "arithmetic", raw(sof(4, 3, nil, 0xCA), sos) },
      { "odd", "JPEG%-LS", raw(sof(4, 3, nil, 0xF7), sos) },
      { "odd", "12 bits", raw(sof(4, 3, nil, 0xC1, 12), sos) },
      { "odd", "components", raw(sof(4, 3, "\1\17\0\2\17\1"), sos) },
      { "odd", "components", raw(sof(4, 3, ("\1\17\0"):rep(5)), sos) },
      { "odd", "fractional", raw(sof(4, 3, "\1\51\0\2\34\1\3\17\1"), sos) },
      { "odd", "CgBI", "\137PNG\r\n\26\n" .. chunk("CgBI", "\80\0\32\2") .. png(4, 3):sub(9) },
      { "no_size", nil, raw(sof(0, 3), sos) },
      { "no_size", nil, png(0, 3) },
      { "no_size", nil, png(4, 0) },
      { "huge", nil, png(65535, 65535) },
      { "huge", nil, png(2 ^ 31 - 1, 1) },
      { "cut", nil, raw("\255\225\255\255", sof(4, 3), sos) },
      { "damaged", "two frame", raw(sof(4, 3), sof(4, 3), sos) },
      { "damaged", "frame header", raw(segment(0xC0, "\8\0\3\0\4\3\1\34\0"), sos) },
      { "damaged", "sampling", raw(sof(4, 3, "\1\80\0\2\17\1\3\17\1"), sos) },
      { "damaged", "quantization", raw(sof(4, 3, "\1\34\9\2\17\1\3\17\1"), sos) },
      { "damaged", "bits", raw(sof(4, 3, nil, 0xC0, 7), sos) },
      { "damaged", "scan", raw(sos) },
      { "damaged", "scan", raw(sof(4, 3), segment(0xDA, "\9\1\0\0\63\0")) },
      { "damaged", "ends before", raw(sof(4, 3), "\255\217") },
      { "damaged", "begins twice", raw("\255\216", sof(4, 3), sos) },
      { "damaged", "shorter", raw("\255\224\0\1") },
      { "damaged", "reserved", raw(segment(0xC8, "x"), sof(4, 3), sos) },
      { "damaged", "256 symbols", raw(segment(0xC4, "\0" .. counts .. "\200\200")) },
      { "damaged", "more codes", raw(segment(0xC4, "\0\3" .. counts .. "\0abc")) },
      { "damaged", "Huffman", raw(segment(0xC4, "\0\1" .. counts .. "\0")) },
      { "damaged", "Huffman", raw(segment(0xC4, "\36\1" .. counts .. "\0a")) },
      { "damaged", "quantization", raw(segment(0xDB, "\0abc")) },
      { "odd", "more metadata .* than kontext looks", raw(segment(0xE1, ("x"):rep(996)):rep(16400),
        sof(4, 3), sos) },
      { "odd", "more metadata .* than kontext looks", raw(segment(0xFE, ""), ("x"):rep(9e6),
        sof(4, 3), sos) },
      { "damaged", "checksum", flipped },
      { "damaged", "first chunk", "\137PNG\r\n\26\n" .. chunk("tEXt", "a") .. png(4, 3):sub(9) },
      { "damaged", "depth", png(4, 3, nil, "\3\2\0\0\0") },
      { "damaged", "colour", png(4, 3, nil, "\8\5\0\0\0") },
      { "damaged", "colour", png(4, 3, nil, "\8\200\0\0\0") },
      { "damaged", "method", png(4, 3, nil, "\8\2\0\0\2") },
      { "damaged", "two headers", png(4, 3, pictures.ihdr(4, 3)) },
      { "damaged", "palette", png(4, 3, nil, "\8\3\0\0\0") },
      { "damaged", "palette", png(4, 3, chunk("PLTE", "abcd"), "\8\3\0\0\0") },
      { "damaged", "tRNS", png(4, 3, chunk("tRNS", "a")) },
      { "damaged", "letters", png(4, 3, chunk("a\0b1", "")) },
      { "damaged", "absurd length", png(4, 3, "\255\255\255\255tEXt") },
      { "odd", "more metadata .* than kontext looks", png(4, 3, chunk("tEXt",
        ("x"):rep(988)):rep(16400)) },
      { "damaged", "ends before", "\137PNG\r\n\26\n" .. pictures.ihdr(4, 3) .. chunk("IEND", "") },
      { "damaged", "no picture", pictures.webp("ALPH\0\0\0\0") },
      { "damaged", "key frame", pictures.webp("VP8 \10\0\0\0\1\0\0\157\1\42\4\0\3\0") },
      { "damaged", "frame header", pictures.webp("VP8 \10\0\0\0\0\0\0\157\1\43\4\0\3\0") },
      { "damaged", "frame header", pictures.webp("VP8L\6\0\0\0\46\0\0\0\0\0") },
      { "damaged", "too short", pictures.webp("VP8L\2\0\0\0\47\0") },
      { "damaged", "longer", pictures.webp("VP8 \99\0\0\0\0\0\0\157\1\42\4\0\3\0") },
      { "no_size", nil, pictures.webp("VP8 \10\0\0\0\0\0\0\157\1\42\0\0\3\0") },
    } do
      local kind, detail = outcome(row[3])
      assert.equal(row[1], kind, row[2])
      if row[2] then assert.matches(row[2], detail.why) end
    end
  end)

  it("tolerates what decoders tolerate", function()
    local fill = ("\255"):rep(40)
    for _, bytes in ipairs {
      jpeg(4, 3, fill .. segment(0xFE, "a comment") .. fill), -- fill bytes before a marker
      jpeg(4, 3, segment(0xFE, "a") .. "\0\0\0"),             -- rubbish behind a segment
      jpeg(4, 3, segment(0xE0, "")), jpeg(4, 3, "\255\1\255\208"),
      jpeg(4, 3, segment(0xE2, ("x"):rep(65533)):rep(306)),   -- 20 MB of metadata
      png(4, 3, chunk("tEXt", ("x"):rep(9999)):rep(60)), png(4, 3, chunk("tRNS", "abcdef")),
      png(4, 3, chunk("PLTE", "abcabc") .. chunk("tRNS", "a"), "\1\3\0\0\0"),
      png(4, 3, nil, "\16\6\0\0\1"), png(4, 3) .. "rubbish at the end",
      jpeg(4, 3, segment(0xFE, "a") .. ("x"):rep(70000)),
      jpeg(4, 3, segment(0xFE, "frame"):rep(70000)),
      jpeg(4, 3, segment(0xE1, ("x"):rep(1000)):rep(9999)),
      png(4, 3, chunk("tEXt", ""):rep(70000)), png(4, 3, chunk("PLTE", "abcd")),
      png(4, 3, chunk("WHAT", "")), png(4, 3, chunk("tRNS", "a") .. chunk("PLTE", "abcabc"),
        "\1\3\0\0\0"),
    } do
      local kind, known = outcome(bytes)
      assert.equal("ok", kind)
      assert.same({ 4, 3 }, { known.width, known.height })
    end
  end)

  it("calls no picture good before its header is whole, at any byte", function()
    local before = { empty = true, unknown = true, cut = true }
    for _, row in ipairs(corpus) do
      local bytes = assert(pictures.read("fuzz/corpus/image/" .. row[1]))
      local ends = header_end(row[2], bytes)
      for size = 0, #bytes do
        local kind = outcome(bytes:sub(1, size))
        if size < ends then
          assert.is_true(before[kind], ("%s cut to %d: %s"):format(row[1], size, kind))
        else
          assert.equal("ok", kind, ("%s cut to %d"):format(row[1], size))
        end
      end
    end
  end)

  it("reads a file as it reads bytes", function()
    for _, row in ipairs(corpus) do
      local path = "fuzz/corpus/image/" .. row[1]
      local known = assert(core.check { path = path })
      assert.is_string(known.stamp)
      known.stamp = nil
      assert.same(assert(core.check { bytes = pictures.read(path) }), known)
    end
  end)

  it("reads at most 20 KB of a file, with 8 MB of Exif too, under 1 KB of most #plain", function()
    local exif = segment(0xE1, "Exif\0\0" .. pictures.exif(3, true) .. ("x"):rep(60000))
    local more = exif .. segment(0xE2, ("x"):rep(65533)):rep(130)
    local pixels = ("\0"):rep(3000000)
    for _, row in ipairs {
      { jpeg(4000, 3000) .. pixels, 1024 }, { jpeg(4000, 3000, exif) .. pixels, 2048 },
      { jpeg(4000, 3000, more) .. pixels, 20480 },
      { png(40, 30, chunk("iCCP", ("x"):rep(3000)):rep(20)) .. pixels, 4096 },
      { pictures.vp8x(40, 30, 8, "ALPH" .. pictures.le32(#pixels) .. pixels), 1024 },
    } do
      pictures.with_file(row[1], function(path)
        local bytes, calls = reads(path)
        if not bytes then return end
        assert.is_true(bytes > 0 and bytes <= row[2], bytes .. " bytes read")
        assert.is_true(calls <= 150, calls .. " reads")
      end)
    end
  end)

  it("gives hostile files up soon #plain", function()
    for _, bytes in ipairs {
      "\255\216" .. ("\255\254\0\2"):rep(100000), -- 10^5 comments
      "\255\216" .. ("\255"):rep(400000), "\255\216" .. ("\255\0"):rep(200000),
      "\255\216" .. segment(0xE1, ("x"):rep(1000)):rep(4000),
      "\255\216" .. segment(0xE1, ("x"):rep(1000)):rep(30000), "\255\216" .. ("x"):rep(2e7),
      pictures.png(4, 3):sub(1, 33) .. (chunk("tEXt", "")):rep(30000),
      pictures.webp(("ABCD\0\0\0\0"):rep(50000)),
    } do
      pictures.with_file(bytes, function(path)
        assert.is_nil((core.check { path = path }))
        local read, calls = reads(path)
        if read then assert.is_true(read < 9e6 and calls <= 16390, read .. ", " .. calls) end
        local start = os.clock()
        for _ = 1, 20 do core.check { path = path } end
        assert.is_true(os.clock() - start < 1, "50 ms each at the very most")
      end)
    end
  end)

  it("tells a picture's bytes from a path that begins like one", function()
    for _, path in ipairs {
      "car.jpg", "BMW.jpg", "GIF89a.gif", "RIFF1234WEBP.webp", "8BPS", "/9j/photo.jpg",
      "%PDF-x.jpg", "P6\n", "icns.png", "data:image/x.png", "",
    } do
      assert.is_nil(core.sniff(path), path)
    end
    for _, row in ipairs(corpus) do
      assert.equal(row[2], core.sniff(pictures.read("fuzz/corpus/image/" .. row[1])))
    end
    assert.equal("gif", core.sniff "GIF89a\1\0\1\0\0\0\0")
    assert.equal("bmp", core.sniff "BM\62\0\0\0\0\0\0\0\62\0\0\0")
    assert.equal("base64", core.sniff("/9j/" .. ("4AAQ"):rep(1024)))
    assert.equal("svg", core.sniff "<svg/>")
  end)

  it("tells a user what to do, with the numbers", function()
    for _, row in ipairs {
      { "the image is TIFF; the service takes JPEG, PNG or WebP: convert it$",
        "II*\0\8\0\0\0" },
      { "is the base64 text of a JPEG; the service takes JPEG, PNG or WebP: decode it first$",
        "/9j/" .. ("4AAQ"):rep(20) },
      { "has 24,000,000 pixels %(6000 x 4000%); the service takes up to 20,000,000: scale it, " ..
        "or pass fit = true", png(6000, 4000) },
      { "the image says it is 65535 x 65535 pixels", png(65535, 65535) },
      { "the image is cut: its JPEG header ends after 30 bytes", jpeg(40, 30):sub(1, 30) },
      { "the image is damaged: its header's checksum is wrong", flipped },
      { "cannot be used: it is a lossless JPEG",
        "\255\216" .. pictures.sof(4, 3, nil, 0xC3) .. pictures.sos },
    } do
      local known, message, err = check.image { bytes = row[2] }
      assert.is_nil(known)
      assert.matches(row[1], message)
      assert.equal("image", err.kind)
    end
  end)

  it("takes exactly 20,000,000 bytes and 20,000,000 pixels, and not one more", function()
    local header = jpeg(4000, 5000)
    assert.equal(20, assert(check.image { bytes = header }).megapixels)
    local whole = header .. ("\85"):rep(20000000 - #header)
    assert.equal(20000000, assert(check.image { bytes = whole }).bytes)
    local known, message, err = check.image { bytes = whole .. "\85" }
    assert.is_nil(known)
    assert.equal("image", err.kind)
    assert.equal("the image has 20,000,001 bytes; the service takes up to 20,000,000: scale it, "
      .. "or pass fit = true", message)
    known, message = check.image { bytes = png(2857143, 7) }
    assert.is_nil(known)
    assert.equal("the image has 20,000,001 pixels (2857143 x 7); the service takes up to "
      .. "20,000,000: scale it, or pass fit = true", message)
  end)

  it("tells which file it is, and what the system says of it", function()
    for path, wanted in pairs {
      ["/no/such.jpg"] = { "cannot read /no/such.jpg: No such file or directory", "ENOENT" },
      ["/tmp"] = { "cannot read /tmp: Is a directory", "EISDIR" },
      ["/dev/null"] = { "cannot read /dev/null: ", "ENOTSUP" },
      ["a\0b.jpg"] = { "cannot read a?b.jpg: its name contains a NUL byte" },
      ["/no\nsuch\27[31m"] = { "cannot read /no?such?[31m: No such file", "ENOENT" },
    } do
      local known, message, err = check.image { path = path }
      assert.is_nil(known)
      assert.equal(wanted[1], message:sub(1, #wanted[1]))
      assert.equal("file", err.kind)
      assert.equal(wanted[2], err.code)
      assert.equal("check", err.stage)
      assert.is_false(err.charged)
    end
  end)

  it("calls what is no source invalid, and raises at its caller for what is no image", function()
    for _, given in ipairs { "", "https://a/b.jpg", "data:image/png;base64,iVBORw0KGgo=", {},
      { path = "a", bytes = "b" }, { path = 5 } } do
      local known, message, err = check.image(given)
      assert.is_nil(known)
      assert.equal("invalid", err.kind)
      assert.matches("^the image ", message)
    end
    for _, given in ipairs { 5, true, print } do
      local done, message = pcall(function() check.image(given) end)
      assert.is_false(done)
      assert.matches("check_spec.lua:%d+: image must be a string or a table, not ", message)
    end
  end)
end)
