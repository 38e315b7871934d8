-- What strangers found in edits of a region: pictures that came back lying on their side, masks
-- that were paid for and changed nothing, and a rehearsal that repainted what it was to leave.
local core = require "kontext.core"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local support = require "spec.region.support"

local memory = 64 * 2 ^ 20

-- Returns a PNG whose pixels are the three levels that `at` returns.
local function png(width, height, at, between)
  local rows = {}
  for y = 0, height - 1 do
    rows[#rows + 1] = "\0"
    for x = 0, width - 1 do rows[#rows + 1] = string.char(at(x, y)) end
  end
  local made = pictures.whole_png(width, height, table.concat(rows))
  return made:sub(1, 33) .. (between or "") .. made:sub(34)
end

local function texture(x, y) return (x * 37 + y * 91) % 256, (x * y * 7) % 256, (x + y) % 256 end

-- Returns Exif as ImageMagick keeps it in a PNG: as hexadecimal digits in a text.
local function text_exif(orientation)
  local exif = "Exif\0\0" .. pictures.exif(orientation)
  local digits = exif:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end)
  return pictures.chunk("tEXt", ("Raw profile type exif\0\nexif\n%8d\n%s\n"):format(#exif, digits))
end

describe("an edit of a region", function()
  local engine, folder

  before_each(function() engine, folder = support.engine(), support.folder() end)
  after_each(function()
    engine:close()
    os.execute("rm -r " .. folder)
  end)

  local function levels(bytes, width, height)
    return assert(core.thumbnail({ bytes = bytes }, width, height, "rgb"))
  end

  local function compose(given)
    given.memory = memory
    local event = support.wait(engine, engine:region_compose(given))
    assert.is_nil(event.kind, event.detail)
    return event.body
  end

  it("keeps a picture upright whose Exif stands in a text that is removed", function()
    local photo = png(48, 32, texture, text_exif(6))
    assert.equal(6, core.check({ bytes = photo }, {}).orientation)
    local stripped = support.wait(engine, engine:region_strip { bytes = photo }).body
    assert.is_nil(stripped:find("Raw profile", 1, true))
    assert.equal(6, core.check({ bytes = stripped }, {}).orientation)
    for _, metadata in ipairs { "strip", "none", "keep" } do
      local made = compose { bytes = photo, metadata = metadata, answer = png(24, 24, texture),
        window = { x = 0, y = 0, width = 24, height = 24 } }
      assert.equal(6, core.check({ bytes = made }, {}).orientation, metadata)
      assert.equal(metadata == "keep", made:find("Raw profile", 1, true) ~= nil)
    end
  end)

  -- Returns how much redder a red answer makes a black picture where a mask is `at` so light.
  local function redden(at)
    local mask, width, height = folder .. "/mask.png", 40, 30
    support.write(mask, png(width, height, function(x, y)
      local level = at(x, y)
      return level, level, level
    end))
    local made = levels(compose { mask_path = mask,
      bytes = png(width, height, function() return 0, 0, 0 end),
      answer = png(width, height, function() return 255, 0, 0 end),
      window = { x = 0, y = 0, width = width, height = height } }, width, height)
    return function(x, y) return made:byte((y * width + x) * 3 + 1) end
  end

  it("changes where a mask's white is a line or a dot", function()
    local red = redden(function(x, y)
      return (y == 5 or x == 30 and y == 20 or x < 20 and y > 12) and 255 or 0
    end)
    assert.same({ 255, 255, 0, 0 }, { red(20, 5), red(30, 20), red(30, 21), red(20, 6) })
    -- A surface fades towards its edge, as before.
    assert.equal(255, red(9, 21))
    assert.is_true(red(19, 21) > 0 and red(19, 21) < 128, red(19, 21))
    assert.equal(0, red(20, 21))
  end)

  it("changes as much as a mask's grey says", function()
    local red = redden(function(x) return x > 10 and x < 30 and 90 or 0 end)
    assert.is_true(math.abs(red(20, 15) - 90) <= 1, red(20, 15))
    assert.equal(0, red(5, 15))
  end)

  it("is refused in its plan for an animated PNG", function()
    local animated = png(40, 30, texture, pictures.chunk("acTL", "\0\0\0\2\0\0\0\0"))
    local plan, message, err = kontext.region({ bytes = animated }, "0,0,10,10")
    assert.is_nil(plan)
    assert.truthy(message:find("animated", 1, true))
    assert.equal("image", err.kind)
  end)

  it("says of a JPEG that is cut what to do", function()
    local jpeg = assert(core.repaint { width = 640, height = 480, format = "jpeg", seed = 3 })
    local event = support.wait(engine, engine:region_cut {
      bytes = jpeg:sub(1, math.floor(#jpeg * 2 / 3)),
      window = { x = 0, y = 0, width = 64, height = 64 }, width = 64, height = 64, quality = 95,
      memory = memory })
    assert.equal("image", event.kind)
    assert.truthy(event.detail:find("get the whole file", 1, true), event.detail)
  end)

  it("names the option of a plan that is misused", function()
    local photo = { bytes = png(40, 30, texture) }
    for words, options in pairs { ["margin must be"] = { margin = -1 },
      ["margin must be a number"] = { margin = "a" }, ["sizes must be"] = { sizes = {} },
      ["unknown key \"nonsense\""] = { nonsense = 1 }, ["sizes must be a list"] = {
        sizes = { { 0, 9 } } } } do
      local good, message = pcall(kontext.region, photo, "0,0,10,10", options)
      assert.is_false(good)
      assert.truthy(message:find(words, 1, true), message)
      assert.is_nil(message:find("job/region.lua", 1, true), message)
    end
  end)

  it("is rehearsed with its margin unchanged, in a window smaller than the answer", function()
    local function slope(x, y) return x * 4, y * 5, 90 end
    local made = assert(core.repaint { bytes = png(60, 48, slope), width = 120, height = 96,
      format = "png", seed = 3, inner = true })
    local before = levels(png(60, 48, slope), 60, 48)
    local after, most, middle = levels(made, 60, 48), 0, 0
    for y = 2, 45 do
      for x = 2, 57 do
        local at = (y * 60 + x) * 3
        for k = 1, 3 do
          local far = math.abs(before:byte(at + k) - after:byte(at + k))
          if x < 18 or x > 41 or y < 14 or y > 33 then most = math.max(most, far) end
          if x == 30 and y == 24 then middle = math.max(middle, far) end
        end
      end
    end
    assert.is_true(most <= 3, most)
    assert.is_true(middle > 3, middle)
  end)
end)
