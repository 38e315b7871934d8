-- What a download brought is judged by its format's own end mark, not by what an input must be.
local answer = require "spec.support.answer"
local core = require "kontext.core"
local pictures = require "spec.support.pictures"

local le16, le32, segment, chunk = pictures.le16, pictures.le32, pictures.segment, pictures.chunk

local jpeg = assert(core.repaint { width = 320, height = 240, format = "jpeg", seed = 5 })
local png = assert(core.repaint { width = 32, height = 24, format = "png", seed = 5 })

local function in_jpeg(more) return jpeg:sub(1, 20) .. more .. jpeg:sub(21) end

-- Returns what engine:check tells of these bytes, fetched into memory, or into a file for a path.
local function arrived(bytes, path)
  local base, drive = answer("HTTP/1.1 200 OK\r\nContent-Length: " .. #bytes .. "\r\n\r\n" .. bytes)
  local engine = assert(core.engine {})
  local id = assert(engine:fetch { url = base .. "/", allow_http = true, no_proxy = true,
    hold = true, cap = 64e6, path = path })
  local done = {}
  drive({ poll = function()
    engine:wait(core.now() + 0.01)
    local events = engine:step(0.01)
    done.error = events and events[1]
  end }, done, 10)
  local found, message, code = engine:check(id)
  engine:close()
  assert(found, message)
  assert.is_nil(code)
  assert.equal(#bytes, found.bytes)
  return found
end

local thumbnail = "\255\216" .. segment(0xFE, "small") .. "\255\217"

local webp = pictures.vp8x(40, 30, 0)
local gif = "GIF89a" .. le16(7) .. le16(5) .. "\128\0\0" .. ("\1"):rep(6) ..
  "\33\249\4\0\0\0\0\0" .. "\44\0\0\0\0" .. le16(7) .. le16(5) .. "\0\2\3abc\0"
local bmp = "BM" .. le32(58) .. "\0\0\0\0" .. le32(54) .. le32(40) .. le32(1) .. le32(1) ..
  le16(1) .. le16(24) .. ("\0"):rep(24) .. "abc\0"

describe("a result that arrived whole", function()
  it("has its end mark, whatever follows it and however many parts it has", function()
    for label, row in pairs {
      JPEG = { { jpeg, jpeg .. ("\0"):rep(50000), jpeg .. "SEFT",
        in_jpeg(segment(0xEB, "c2pa"):rep(600)),
        in_jpeg(segment(0xEB, ("x"):rep(600)):rep(5000)) }, { 320, 240 } },
      PNG = { { png, png .. "more",
        png:sub(1, 33) .. chunk("caBX", "c2pa"):rep(600) .. png:sub(34) }, { 32, 24 } },
      WebP = { { webp, webp .. "\0" }, { 40, 30 } },
      GIF = { { gif .. ";", gif .. ";more" }, { 7, 5 } },
      BMP = { { bmp, bmp .. "\0\0" }, { 1, 1 } },
    } do
      for i, bytes in ipairs(row[1]) do
        local found = arrived(bytes)
        assert.same({ label, true }, { found.label, found.ended }, label .. i)
        if not (found.why or ""):find "metadata" then
          assert.same(row[2], { found.width, found.height }, label .. i)
        end
      end
    end
  end)

  it("may be in any format, and only warns of what an input would be refused for", function()
    assert.equal("it is GIF", arrived(gif .. ";").why)
    assert.is_nil(arrived(jpeg).why)
    for _, bytes in ipairs { "\0\0\0\28ftypavif\0\0\0\0avifmif1miaf" .. ("x"):rep(300),
      "II*\0\8\0\0\0", "once upon a time" } do
      local found = arrived(bytes)
      assert.is_nil(found.ended)
      assert.is_string(found.why)
      assert.equal(found.format ~= nil, found.label ~= nil)
    end
    local lossless = "\255\216" .. pictures.sof(4, 3, nil, 0xC3) .. "codes\255\217"
    local found = arrived(lossless)
    assert.same({ true, "it is a lossless JPEG" }, { found.ended, found.why })
  end)

  it("is judged in the file that it is saved to, too", function()
    pictures.with_file("", function(path)
      assert.is_true(arrived(jpeg, path).ended)
      assert.is_false(arrived(jpeg:sub(1, 3000), path).ended)
    end)
  end)
end)

describe("a result of which a part arrived", function()
  it("lacks its end mark at any length, also with a small picture within", function()
    for label, whole in pairs { JPEG = in_jpeg(segment(0xE1, "Exif\0\0" .. thumbnail)), PNG = png,
      WebP = webp, GIF = gif .. ";", BMP = bmp } do
      for part = 1, 9 do
        local found = arrived(whole:sub(1, math.max(20, math.floor(#whole * part / 10))))
        assert.same({ label, false }, { found.label, found.ended }, label .. part)
      end
      assert.is_false(arrived(whole:sub(1, -2)).ended, label)
    end
    assert.is_false(arrived("").ended)
  end)

  it("lacks it where the pieces meet in which it is looked for", function()
    for more = 16380, 16388 do
      assert.is_true(arrived(jpeg .. ("\0"):rep(more)).ended)
      assert.is_false(arrived(jpeg:sub(1, -3) .. ("\0"):rep(more)).ended)
    end
  end)

  it("is told soon, with 60 MB of it #plain", function()
    local big = jpeg:sub(1, -3) .. ("\1"):rep(6e7)
    local base, drive = answer("HTTP/1.1 200 OK\r\nContent-Length: " .. #big .. "\r\n\r\n" .. big)
    local engine = assert(core.engine {})
    local id = assert(engine:fetch { url = base .. "/", allow_http = true, no_proxy = true,
      hold = true, cap = 64e6 })
    local done = {}
    drive({ poll = function()
      local events = engine:step(0.01)
      done.error = events and events[1]
    end }, done, 20)
    local start = os.clock()
    assert.is_false(engine:check(id).ended)
    assert.is_true(os.clock() - start < 0.2)
    engine:close()
  end)
end)
