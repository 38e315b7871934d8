-- `fit = true` by what the server saw: the pictures that arrived, or that none did.

local clock = require "spec.support.clock"
local core = require "kontext.core"
local kontext = require "kontext"
local mime = require "mime"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

-- A grey JPEG of any size in a few bytes: every block is a zero for its mean and one for its end.
local function grey(width, height, codes)
  local blocks = math.ceil(width / 8) * math.ceil(height / 8)
  local table_of_one = "\1" .. ("\0"):rep(15) .. "\0"
  return "\255\216" .. pictures.segment(0xDB, "\0" .. ("\1"):rep(64)) ..
    pictures.sof(width, height, "\1\17\0") ..
    pictures.segment(0xC4, "\0" .. table_of_one .. "\16" .. table_of_one) ..
    pictures.segment(0xDA, "\1\1\0\0\63\0") .. (codes or "\0"):rep(math.ceil(blocks / 4)) ..
    "\255\217"
end

local function painted(format, width, height)
  return assert(core.repaint { width = width, height = height, format = format, seed = 5 })
end

-- A BMP of these rows, each padded by the caller; `more` follows the header: masks or a palette.
local function bmp(width, height, bits, rows, more, method)
  local le16, le32 = pictures.le16, pictures.le32
  more = more or ""
  return "BM" .. le32(54 + #more + #rows) .. "\0\0\0\0" .. le32(54 + #more) .. le32(40) ..
    le32(width) .. le32(height % 2 ^ 32) .. le16(1) .. le16(bits) .. le32(method or 0) ..
    le32(#rows) .. ("\0"):rep(8) .. le32(bits == 8 and #more / 4 or 0) .. le32(0) .. more .. rows
end

local huge = grey(5000, 4100) -- 20.5 megapixels

-- The largest photograph that Debian's wallpapers have.
local function photograph()
  local best, most = nil, 0
  for _, path in ipairs(pictures.photographs()) do
    local known = kontext.check { path = path }
    if known and known.megapixels > most then best, most = path, known.megapixels end
  end
  return best, most
end

-- Returns "WIDTH HEIGHT FORMAT" and the PSNR in dB, as Pillow sees it, of a picture beside the
-- original's reference scaling; nil where there is no Pillow.
local function compare(original, fitted)
  local line
  pictures.with_file(original, function(from)
    pictures.with_file(fitted, function(to)
      line = pictures.output(("/usr/bin/python3 bench/psnr.py %s %s"):format(from, to))
    end)
  end)
  if not line then return nil end
  local what, psnr = line:match "^(%d+ %d+ %u+) (%S+)"
  return what, tonumber(psnr) or math.huge -- "inf": the same
end

-- How many descriptors this process has open (and one for the pipe that counts them), or nil.
local function descriptors()
  local file = io.open "/proc/self/stat"
  local pid = file and file:read "*n"
  if file then file:close() end
  return pid and tonumber(pictures.output(("ls /proc/%d/fd | wc -l"):format(pid)))
end

-- Calls until it gives true, for twenty seconds at most.
local function eventually(fn)
  local limit = core.now() + 20
  repeat if fn() then return true end until core.now() > limit
  return false
end

describe("fit", function()
  local server, client, at_first

  setup(function()
    server = raw.start()
    at_first = descriptors()
  end)
  teardown(function() server:stop() end)

  before_each(function()
    server:script(raw.service({}, ""))
    client = kontext.new { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
  end)
  after_each(function() client:close() end)

  local function begin(image, more)
    local params = { prompt = "Change it", input_image = image, fit = true }
    for name, value in pairs(more or {}) do params[name] = value end
    return client:edit(params)
  end

  -- The picture that the one submit brought in this field.
  local function arrived(field)
    local posts = server:requests "POST"
    assert.equal(1, #posts)
    local body = posts[1].body or assert(pictures.read(posts[1].file))
    local bytes = mime.unb64(assert(body:match(('"%s":"([^"]*)"'):format(field or "input_image"))))
    return bytes, assert(kontext.check { bytes = bytes })
  end

  local function edited(image, more)
    assert(begin(image, more):wait(60))
    return arrived()
  end

  local function refused(image, more)
    local _, message, err = begin(image, more):wait(60)
    assert.truthy(err)
    assert.equal(0, #server:requests "POST")
    assert.equal("image", err.kind)
    assert.equal("check", err.stage)
    assert.is_false(err.charged)
    return message
  end

  it("brings a large photograph as a JPEG of just the service's size, under 1 MB", function()
    local path, megapixels = photograph()
    if not path then return pending "no photographs: make deps-demo installs them" end
    assert.is_true(megapixels > 5)
    local original = pictures.read(path)
    local bytes, known = edited { path = path }
    local width, height = kontext.output_size { path = path }
    assert.equal("jpeg", known.format)
    assert.same({ width, height }, { known.width, known.height })
    assert.is_true(#bytes < 1e6, ("%d bytes"):format(#bytes))
    local what, psnr = compare(original, bytes)
    if not what then return pending "no Pillow to compare with" end
    assert.equal(("%d %d JPEG"):format(width, height), what)
    assert.is_true(psnr > 37, ("%g dB"):format(psnr))
  end)

  it("leaves a picture alone, to the byte, that is no larger than the service's", function()
    for _, bytes in ipairs { painted("jpeg", 1248, 832), painted("png", 400, 300),
      pictures.jpeg(1100, 900) .. ("\85"):rep(1e5) } do
      server:script(raw.service({}, ""))
      assert.is_true(bytes == edited { bytes = bytes })
    end
  end)

  it("scales neither side up", function()
    local _, known = edited { bytes = painted("jpeg", 4000, 300) }
    assert.same({ 1568, 300 }, { known.width, known.height })
  end)

  it("turns a photograph upright that says it lies on its side", function()
    local stored = painted("jpeg", 1600, 1200)
    for orientation = 2, 8 do
      local exif = pictures.segment(0xE1, "Exif\0\0" .. pictures.exif(orientation))
      local lying = stored:sub(1, 2) .. exif .. stored:sub(3)
      server:script(raw.service({}, ""))
      local bytes, known = edited { bytes = lying }
      local across = orientation >= 5
      assert.same({ across and 880 or 1184, across and 1184 or 880, 1 },
        { known.width, known.height, known.orientation })
      local what, psnr = compare(lying, bytes)
      if not what then return pending "no Pillow to compare with" end
      assert.is_true(psnr > 30, ("orientation %d: %g dB"):format(orientation, psnr))
    end
  end)

  it("takes more than 20 megapixels, which are refused without", function()
    assert.matches("has 20,500,000 pixels .*: scale it, or pass fit = true$",
      refused({ bytes = huge }, { fit = false }))
    local _, known = edited { bytes = huge }
    assert.same({ "jpeg", 1104, 944 }, { known.format, known.width, known.height })
  end)

  it("keeps a PNG a PNG", function()
    local original = painted("png", 1600, 1200)
    local bytes, known = edited { bytes = original }
    assert.same({ "png", 1184, 880 }, { known.format, known.width, known.height })
    local what, psnr = compare(original, bytes)
    if not what then return pending "no Pillow to compare with" end
    assert.equal("1184 880 PNG", what)
    assert.is_true(psnr > 40, ("%g dB"):format(psnr))
  end)

  it("keeps what says what the colours mean, so that Display P3 stays Display P3", function()
    local function part(number, count, bytes)
      return pictures.segment(0xE2, "ICC_PROFILE\0" .. string.char(number, count) .. bytes)
    end
    local function lay(whole, at, more) return whole:sub(1, at) .. more .. whole:sub(at + 1) end
    local jpeg, png = painted("jpeg", 1600, 1200), painted("png", 1600, 1200)
    local profile = part(1, 2, ("P3"):rep(30000)) .. part(2, 2, "end")
    local chunks = pictures.chunk("iCCP", "Display P3\0\0zipped") ..
      pictures.chunk("gAMA", "\0\0\177\143") .. pictures.chunk("cICP", "\12\13\0\1")
    for _, row in ipairs {
      { lay(jpeg, 20, profile), profile, 20 }, { lay(png, 33, chunks), chunks, 33 },
      { lay(png, 33, chunks:sub(1, -2) .. "x"), chunks:sub(1, -17), 33 }, -- a wrong checksum
    } do
      server:script(raw.service({}, ""))
      local sent, known = edited { bytes = row[1] }
      assert.same({ 1184, 880 }, { known.width, known.height })
      assert.is_true(sent:sub(row[3] + 1, row[3] + #row[2]) == row[2])
      local plain = sent:sub(1, row[3]) .. sent:sub(row[3] + #row[2] + 1)
      assert.is_nil(plain:find("ICC_PROFILE", 1, true) or plain:find("cICP", 1, true))
      assert.truthy(core.thumbnail({ bytes = sent }, 2, 2))
    end
    -- What is not the colours of the result any more, or more than 4 MiB, is left out.
    for _, bytes in ipairs {
      lay(grey(1600, 1200), 2, profile), lay(jpeg, 20, part(1, 99, ("x"):rep(60000)):rep(75)),
    } do
      server:script(raw.service({}, ""))
      local sent = edited { bytes = bytes }
      assert.is_nil(sent:find("ICC_PROFILE", 1, true))
      assert.is_true(#sent < 1e6)
    end
  end)

  it("makes a BMP a PNG of the same pixels, which is refused without", function()
    local function row(from, to, size)
      local bytes = {}
      for i = from, to do bytes[#bytes + 1] = string.char(i * 7 % 256) end
      return table.concat(bytes) .. ("\0"):rep(size - #bytes)
    end
    local three = row(1, 15, 16) .. row(20, 34, 16) .. row(50, 64, 16)
    for what, bytes in pairs {
      ["24 bits"] = bmp(5, 3, 24, three), ["the top row first"] = bmp(5, -3, 24, three),
      ["32 bits"] = bmp(2, 2, 32, row(1, 16, 16)),
      masks = bmp(2, 2, 32, row(1, 16, 16), "\0\0\255\0\0\255\0\0\255\0\0\0", 3),
      ["a palette"] = bmp(3, 2, 8, "\0\1\2\0\2\1\0\0", row(1, 12, 12)),
    } do
      server:script(raw.service({}, ""))
      assert.matches("^the image is BMP; .*: convert it, or pass fit = true$",
        refused({ bytes = bytes }, { fit = false }))
      local sent, known = edited { bytes = bytes }
      assert.equal("png", known.format)
      local seen, psnr = compare(bytes, sent)
      if not seen then return pending "no Pillow to compare with" end
      assert.equal(("%d %d PNG"):format(known.width, known.height), seen)
      assert.equal(math.huge, psnr, what)
    end
    server:script(raw.service({}, ""))
    local _, known = edited { bytes = bmp(1500, 1200, 24, ("\1\2\3"):rep(1500 * 1200)) }
    assert.same({ "png", 1104, 944 }, { known.format, known.width, known.height })
    server:script(raw.service({}, ""))
    for _, bytes in ipairs { bmp(5, 3, 24, three:sub(2)), bmp(5, 3, 16, three),
      bmp(3, 2, 8, three, "", 1), bmp(0, 3, 24, three) } do
      assert.matches("^the image is BMP; .*: convert it$", refused { bytes = bytes })
    end
  end)

  it("refuses what takes too much memory to decode, before it takes any", function()
    assert.equal("the image cannot be made to fit: it takes more memory to decode than is allowed",
      refused { bytes = grey(16000, 16000) })
  end)

  it("sends nothing of a picture whose header is good and whose rest is not", function()
    local whole = grey(1600, 1200)
    for _, bytes in ipairs { whole:sub(1, -1000), pictures.png(2000, 1000),
      pictures.jpeg(2000, 1000), grey(1600, 1200, "\170") } do
      assert.matches("^the image cannot be made to fit: .", refused { bytes = bytes })
    end
  end)

  it("says of a file that is gone by then that it cannot be read", function()
    local job
    pictures.with_file(huge, function(path) job = begin { path = path } end)
    local _, _, err = job:wait(30)
    assert.equal("file", err.kind)
    assert.equal("ENOENT", err.code)
    assert.equal(0, #server:requests "POST")
  end)

  it("sends nothing of a file that is another one than was checked", function()
    local rows = ("\1\2\3"):rep(64):rep(64)
    for _, checked in ipairs { huge, bmp(64, 64, 24, rows) } do
      pictures.with_file(checked, function(path)
        local job = begin { path = path }
        pictures.with_file(painted("png", 1500, 1500), function(other)
          assert(os.rename(other, path))
        end)
        local _, message, err = job:wait(30)
        assert.equal("file", err.kind)
        assert.equal("ESTALE", err.code)
        assert.equal("check", err.stage)
        assert.truthy(message:find("has changed since it was checked", 1, true))
      end)
    end
    assert.equal(0, #server:requests "POST")
  end)

  it("makes both pictures of an edit fit", function()
    local job = begin({ bytes = painted("png", 1500, 1500) }, { input_image_2 = { bytes = huge } })
    assert(job:wait(60))
    local _, first = arrived "input_image"
    local _, second = arrived "input_image_2"
    assert.same({ "png", 1024, 1024 }, { first.format, first.width, first.height })
    assert.same({ "jpeg", 1104, 944 }, { second.format, second.width, second.height })
  end)

  it("lets many edits have their pictures made to fit, one after the other", function()
    local jobs = {}
    for i = 1, 5 do jobs[i] = begin { bytes = grey(1500 + i, 1500) } end
    jobs[3]:cancel()
    for i = 1, 5 do jobs[i]:wait(60) end
    for i = 1, 5 do assert.equal(i == 3 and "cancelled" or "ready", jobs[i].status) end
    assert.equal(4, #server:requests "POST")
  end)

  it("ends an edit whose time is over while its picture is made to fit #plain", function()
    local job
    assert.is_true(clock(function()
      job = begin({ bytes = grey(10000, 8000) }, { timeout = 0.05 })
      job:wait(30)
    end) < 0.25)
    local err = job.error
    assert.equal("timeout", err.kind)
    assert.equal("check", err.stage)
    assert.is_true(err.retryable)
    client:close()
    assert.equal(0, #server:requests "POST")
  end)

  it("lets go at once of a picture that is being decoded, and of its descriptors #plain", function()
    -- How soon the thread is through depends on the machine: the wait is halved until that is seen.
    local missed = 0
    local function caught()
      local wait = 0.1
      while true do
        client:close()
        client = kontext.new { base_url = server.url, api_key = raw.key }
        local job = begin { bytes = grey(10000, 8000) }
        local began = core.now()
        repeat client:poll(wait / 10) until core.now() > began + wait
        if job.status == "waiting" then return job end
        assert(job:wait(60))
        missed, wait = missed + 1, wait / 2
        assert.is_true(wait > 0.001, "the picture was never seen being decoded")
      end
    end
    for _, how in ipairs { "cancel", "close" } do
      local job = caught()
      local held_up = how == "cancel" and clock(job.cancel, job) or clock(client.close, client)
      assert.is_true(held_up < 0.05, how)
      assert.truthy(job:ended())
      client:close()
    end
    if at_first then
      assert.is_true(eventually(function() return descriptors() <= at_first end))
    end
    assert.equal(missed, #server:requests "POST")
  end)

  it("holds up no host #plain", function()
    local steps, longest
    for _ = 1, 3 do -- a page that the system had to fetch is not ours
      steps, longest = 0, 0
      local job = begin { bytes = huge }
      while job.status == "waiting" do
        longest = math.max(longest, (clock(client.step, client)))
        steps = steps + 1
        client:poll(0.002)
      end
      job:cancel()
      if longest < 0.02 then break end
    end
    assert.is_true(steps > 10, ("%d steps"):format(steps))
    assert.is_true(longest < 0.02, ("a step of %g s"):format(longest))
  end)
end)
