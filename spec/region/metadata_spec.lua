-- What a region's edit keeps beside the pixels, byte by byte and as Pillow reads it.
local core = require "kontext.core"
local pictures = require "spec.support.pictures"
local support = require "spec.region.support"

local be16, be32, le16, le32 = pictures.be16, pictures.be32, pictures.le16, pictures.le32

-- Returns Exif as a camera writes it: orientation, sizes that are wrong, a maker note, serial
-- numbers, a place, and a thumbnail.
local function camera(orientation, little)
  local u16, u32 = little and le16 or be16, little and le32 or be32
  local function entry(tag, kind, count, value)
    return u16(tag) .. u16(kind) .. u32(count) .. value
  end
  local head = (little and "II*\0" or "MM\0*") .. u32(8)
  -- 8: IFD0 of 5 entries (66 bytes) · 74: Exif of 5 (66) · 140: GPS of 2 (30) · 170: IFD1 of 2 (30)
  local texts = 200
  local make, note, serial, place = "Camera maker\0\0", "SECRET MAKER NOTE\0", "SERIAL-4711\0", 24
  local at_note, at_serial = texts + #make, texts + #make + #note
  local at_place = at_serial + #serial
  local at_thumbnail = at_place + place
  local thumbnail = "\255\216THUMBNAIL BYTES\255\217"
  local ifd0 = u16(5) .. entry(0x010F, 2, #make, u32(texts)) ..
    entry(0x0112, 3, 1, u16(orientation) .. "\0\0") .. entry(0x0100, 4, 1, u32(1)) ..
    entry(0x8769, 4, 1, u32(74)) .. entry(0x8825, 4, 1, u32(140)) .. u32(170)
  local exif = u16(5) .. entry(0x927C, 7, #note, u32(at_note)) ..
    entry(0x9003, 2, 4, "2026") .. entry(0xA002, 4, 1, u32(7)) ..
    entry(0xA003, 3, 1, u16(9) .. "\0\0") ..
    entry(0xA431, 2, #serial, u32(at_serial)) .. u32(0)
  local gps = u16(2) .. entry(1, 2, 2, "N\0\0\0") .. entry(2, 5, 3, u32(at_place)) .. u32(0)
  local ifd1 = u16(2) .. entry(0x0201, 4, 1, u32(at_thumbnail)) ..
    entry(0x0202, 4, 1, u32(#thumbnail)) .. u32(0)
  return head .. ifd0 .. exif .. gps .. ifd1 .. make .. note .. serial ..
    (u32(48) .. u32(1)):rep(3) .. thumbnail
end

-- Of more than one segment.
local profile = ("\0"):rep(16) .. "RGB " .. ("an ICC profile"):rep(6000)

local function icc(part, parts, bytes)
  return pictures.segment(0xE2, "ICC_PROFILE\0" .. string.char(part, parts) .. bytes)
end

-- Returns the JPEG with all that a camera and an editor put before its picture.
local function with_metadata(jpeg, exif)
  return "\255\216" .. pictures.segment(0xE1, "Exif\0\0" .. exif) ..
    icc(1, 2, profile:sub(1, 60000)) .. icc(2, 2, profile:sub(60001)) ..
    pictures.segment(0xE1, "http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>GPSLatitude</x:xmpmeta>") ..
    pictures.segment(0xED, "Photoshop 3.0\0IPTC city") .. pictures.segment(0xFE, "a comment") ..
    jpeg:sub(3)
end

describe("metadata", function()
  local engine, folder, jpeg, png

  setup(function()
    engine, folder = support.engine(), support.folder()
    jpeg = assert(core.thumbnail({ path = assert(pictures.photographs()[1]) }, 240, 180, "jpeg"))
    png = assert(core.thumbnail({ bytes = jpeg }, 240, 180, "png"))
  end)
  teardown(function()
    engine:close()
    os.execute("rm -r " .. folder)
  end)

  local window = { x = 0, y = 0, width = 160, height = 160 }
  local memory = 64 * 2 ^ 20

  -- Puts a grey answer into the file; returns the event.
  local function compose(given)
    given.window, given.memory = window, memory
    given.region = { x = 40, y = 40, width = 60, height = 60 }
    given.answer = png
    local event = support.wait(engine, engine:region_compose(given))
    assert.is_nil(event.kind, event.detail)
    return event
  end

  local function contains(bytes, text) return bytes:find(text, 1, true) ~= nil end

  it("stays in order, the thumbnail gone and the sizes true", function()
    for _, little in ipairs { true, false } do
      local made = compose { bytes = with_metadata(jpeg, camera(1, little)) }.body
      local at = 0
      for _, text in ipairs { "Exif\0\0", "Camera maker", "SECRET MAKER NOTE", "SERIAL-4711",
        "ICC_PROFILE\0\1\2", "ICC_PROFILE\0\2\2", "GPSLatitude", "IPTC city", "a comment" } do
        local here = assert(made:find(text, at + 1, true), text)
        assert.is_true(here > at)
        at = here
      end
      assert.is_false(contains(made, "THUMBNAIL BYTES"))
      local u32 = little and le32 or be32
      local u16 = little and le16 or be16
      assert.truthy(contains(made, u16(0xA002) .. u16(4) .. u32(1) .. u32(240)))
      assert.truthy(contains(made, u16(0xA003) .. u16(3) .. u32(1) .. u16(180)))
    end
  end)

  it("is stripped of place, names, serial numbers and maker notes", function()
    for _, little in ipairs { true, false } do
      local source = with_metadata(jpeg, camera(6, little))
      for _, made in ipairs { compose { bytes = source, metadata = "strip" }.body,
        support.wait(engine, engine:region_strip { bytes = source }).body } do
        for _, text in ipairs { "SECRET MAKER NOTE", "SERIAL-4711", "GPSLatitude", "IPTC city",
          "a comment", "THUMBNAIL BYTES", (little and le16 or be16)(0x8825),
          (little and le32 or be32)(48) .. (little and le32 or be32)(1) } do
          assert.is_false(contains(made:sub(1, made:find("ICC_PROFILE", 1, true)), text), text)
          if #text > 4 then assert.is_false(contains(made, text), text) end
        end
        assert.is_true(contains(made, "Camera maker"))
        assert.is_true(contains(made, "ICC_PROFILE\0\2\2"))
        assert.equal(6, core.check({ bytes = made }, {}).orientation)
      end
    end
  end)

  it("is stripped without touching a coded pixel", function()
    local source = with_metadata(jpeg, camera(1))
    local made = support.wait(engine, engine:region_strip { bytes = source }).body
    local scan = assert(jpeg:find("\255\218", 1, true))
    assert.equal(jpeg:sub(scan), made:sub(-(#jpeg - scan + 1)))
    local stripped = support.wait(engine, engine:region_strip {
      bytes = png:sub(1, 33) .. pictures.chunk("tEXt", "Author\0a name") .. png:sub(34) }).body
    assert.equal(png, stripped)
  end)

  it("tells which way is up, whatever else is left out", function()
    local made = compose { bytes = with_metadata(jpeg, camera(8)), metadata = "none" }.body
    assert.equal(8, core.check({ bytes = made }, {}).orientation)
    assert.is_false(contains(made, "Camera maker"))
    assert.is_true(contains(made, "ICC_PROFILE\0\1\2"))
  end)

  it("sends the colour profile along with the window", function()
    local source = with_metadata(jpeg, camera(1))
    for _, quality in ipairs { 0, 95 } do
      local event = support.wait(engine, engine:region_cut { bytes = source, window = window,
        width = 160, height = 160, quality = quality, memory = memory })
      assert.is_nil(event.kind, event.detail)
      assert.is_true(contains(event.body, quality == 0 and "iCCP" or "ICC_PROFILE\0\2\2"))
      assert.is_false(contains(event.body, "Exif"))
      if support.has_oracle() then
        support.write(folder .. "/sent", event.body)
        assert.truthy(support.ask_one("kind", folder .. "/sent"):find("RGB 160x160", 1, true))
      end
    end
  end)

  it("keeps the file's time, and replaces only what it may", function()
    local from, to = folder .. "/from.jpg", folder .. "/to.jpg"
    support.write(from, with_metadata(jpeg, camera(1)))
    os.execute(("touch -d '2020-02-03 04:05:06' %s"):format(from))
    local event = compose { path = from, to = to, no_replace = true }
    assert.equal("", event.body)
    local bytes = pictures.read(to)
    assert.equal(#bytes, event.size)
    assert.equal(core.base64(core.md5(bytes)), event.md5)
    assert.equal(pictures.output("stat -c %Y " .. from), pictures.output("stat -c %Y " .. to))
    local before = pictures.read(to)
    event = support.wait(engine, engine:region_compose { path = from, to = to, no_replace = true,
      window = window, memory = memory, answer = png })
    assert.equal("file", event.kind)
    assert.equal("EEXIST", event.code)
    assert.equal(before, pictures.read(to))
    compose { path = from, to = from }
    assert.not_equal(before, pictures.read(from):sub(1, 10))
  end)

  it("drops what vouches for the untouched picture, and says so", function()
    local source = "\255\216" .. pictures.segment(0xEB, "JP\0\1 c2pa manifest") .. jpeg:sub(3)
    local event = compose { bytes = source }
    assert.is_false(contains(event.body, "c2pa manifest"))
    assert.truthy(event.warning:find("content credentials", 1, true))
    event = compose { bytes = jpeg .. ("a motion photo's film"):rep(10) }
    assert.truthy(event.warning:find("film", 1, true))
  end)

  it("survives an Exif that is cut anywhere", function()
    local whole = camera(1)
    for size = 0, #whole, 3 do
      local event = support.wait(engine, engine:region_strip {
        bytes = with_metadata(jpeg, whole:sub(1, size)) })
      assert.is_nil(event.kind, event.detail)
      assert.is_false(contains(event.body, "SERIAL-4711"))
      compose { bytes = with_metadata(jpeg, whole:sub(1, size)) }
    end
  end)
end)
