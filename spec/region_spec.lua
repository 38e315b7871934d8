-- Edits of a region without other programs: the plan, masks, turned pictures, the host meanwhile.
local core = require "kontext.core"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local region = require "kontext.job.region"
local support = require "spec.region.support"

-- Returns a PNG of RGB whose pixels are what `at` returns.
local function png(width, height, at)
  local rows = {}
  for y = 0, height - 1 do
    rows[#rows + 1] = "\0"
    for x = 0, width - 1 do rows[#rows + 1] = string.char(at(x, y)) end
  end
  return pictures.whole_png(width, height, table.concat(rows))
end

local function plan_of(rect, width, height, options)
  return region.plan(assert(region.read(rect, width, height)), width, height, options)
end

local function is_inside(inner, outer)
  return inner.x >= outer.x and inner.y >= outer.y
    and inner.x + inner.width <= outer.x + outer.width
    and inner.y + inner.height <= outer.y + outer.height
end

describe("a region's plan", function()
  it("sends a region that fits one of the model's sizes pixel for pixel", function()
    for _, size in ipairs { { 700, 700 }, { 1024, 1024 }, { 1500, 600 }, { 50, 50 }, { 640, 1500 },
      { 1392, 752 } } do
      local plan = plan_of({ 1200, 900, size[1], size[2] }, 5312, 2988)
      assert.equal(1, plan.scale)
      assert.equal(plan.output.width, plan.window.width)
      assert.equal(plan.output.height, plan.window.height)
      assert.same({ plan.output.width, plan.output.height },
        { kontext.output_size(plan.upload.width, plan.upload.height) })
    end
  end)

  it("has the region in its middle, with context on every side", function()
    local plan = plan_of({ 2000, 1000, 700, 600 }, 5312, 2988)
    assert.is_true(is_inside(plan.region, plan.window))
    local left = plan.region.x - plan.window.x
    local right = plan.window.x + plan.window.width - plan.region.x - plan.region.width
    assert.is_true(math.abs(left - right) <= 1 and left >= 64)
  end)

  it("stays inside of the picture at its borders", function()
    for _, rect in ipairs { { 0, 0, 90, 90 }, { 5300, 2980, 12, 8 }, { 5000, 0, 312, 300 },
      { 0, 2900, 5312, 88 } } do
      local plan = plan_of(rect, 5312, 2988)
      assert.is_true(is_inside(plan.window, { x = 0, y = 0, width = 5312, height = 2988 }))
      assert.is_true(is_inside(plan.region, plan.window))
    end
  end)

  it("says how much a larger region is scaled, the same both ways", function()
    local plan = plan_of({ 900, 400, 2000, 1500 }, 5312, 2988)
    assert.is_true(plan.scale < 1)
    assert.is_true(plan.stretch < 1.01)
    assert.is_true(math.abs(plan.upload.width / plan.window.width - plan.scale) < 0.01)
    assert.is_true(math.abs(plan.upload.height / plan.window.height - plan.scale) < 0.01)
  end)

  it("keeps a margin that is asked for, at the cost of the scale", function()
    assert.equal(1, plan_of({ 900, 400, 1000, 1000 }, 5312, 2988).scale)
    local plan = plan_of({ 900, 400, 1000, 1000 }, 5312, 2988, { margin = 200 })
    assert.is_true(plan.window.width >= 1400 and plan.scale < 1)
  end)

  it("reads pixels and per cent, by name, in order and as a text", function()
    local wanted = { x = 1000, y = 500, width = 400, height = 200 }
    for _, given in ipairs { wanted, { 1000, 500, 400, 200 }, "1000,500,400,200",
      "25%,25%,10%,10%", { "25%", 500, 400, "10%" } } do
      assert.same(wanted, region.read(given, 4000, 2000))
    end
    assert.same({ x = 3990, y = 0, width = 10, height = 5 },
      region.read("3990,0,100,5", 4000, 2000))
  end)

  it("refuses what is empty, outside or no number, and names it", function()
    for given, words in pairs { ["4000,0,10,10"] = "outside", ["10,10,0,10"] = "empty",
      ["a,1,2,3"] = "region.x", ["1,2,3"] = "four numbers", ["1,2,nan,4"] = "region.width",
      ["-5,0,10,10"] = "region.x" } do
      local rect, message = region.read(given, 4000, 2000)
      assert.is_nil(rect)
      assert.truthy(message:find(words, 1, true), message)
    end
  end)

  it("is told of a file, before anything is sent", function()
    local bytes = png(60, 40, function(x, y) return x * 4, y * 6, 9 end)
    local plan = assert(region.region({ bytes = bytes }, { x = 5, y = 5, width = 10, height = 10 }))
    assert.is_true(plan.upload.bytes > 0 and plan.memory > 0)
    local none, message, err = region.region({ bytes = bytes }, "60,0,5,5")
    assert.is_nil(none)
    assert.equal("invalid", err.kind)
    assert.truthy(message:find("outside", 1, true))
  end)
end)

describe("a region", function()
  local engine, folder
  local memory = 64 * 2 ^ 20

  before_each(function() engine, folder = support.engine(), support.folder() end)
  after_each(function()
    engine:close()
    os.execute("rm -r " .. folder)
  end)

  local function texture(x, y) return (x * 37 + y * 91) % 256, (x * y * 7) % 256, (x + y) % 256 end

  local function pixels_of(bytes, width, height)
    return assert(core.thumbnail({ bytes = bytes }, width, height, "rgb"))
  end

  it("changes where its mask is white, and nowhere else", function()
    local photo = png(96, 80, texture)
    local answer = png(96, 80, function() return 255, 0, 0 end)
    local mask = folder .. "/mask.png"
    local function white(x, y) return x >= 20 and x < 50 and y >= 30 and y < 60 end
    support.write(mask, png(96, 80, function(x, y)
      local light = white(x, y) and 255 or 0
      return light, light, light
    end))
    local known = assert(core.region_mask { path = mask })
    assert.same({ x = 20, y = 30, width = 30, height = 30 }, known.box)
    assert.same(known.box, support.wait(engine, engine:region_mask { path = mask }).box)
    local event = support.wait(engine, engine:region_compose { bytes = photo, mask_path = mask,
      answer = answer, window = { x = 0, y = 0, width = 96, height = 80 }, memory = memory })
    assert.is_nil(event.kind, event.detail)
    local before, after = pixels_of(photo, 96, 80), pixels_of(event.body, 96, 80)
    local changed = 0
    for y = 0, 79 do
      for x = 0, 95 do
        local at = (y * 96 + x) * 3 + 1
        if before:sub(at, at + 2) ~= after:sub(at, at + 2) then
          changed = changed + 1
          assert.is_true(white(x, y))
        end
      end
    end
    assert.is_true(changed > 500)
    local at = (45 * 96 + 35) * 3 + 1
    assert.equal("\255\0\0", after:sub(at, at + 2))
  end)

  it("is given its colours back where a tint has cut the highlights off", function()
    local function light(x, y) return math.min(255, 150 + (x * 37 + y * 91) % 140) end
    local photo = png(128, 128, function(x, y)
      local level = light(x, y)
      return level, level, level
    end)
    local answer = png(96, 96, function(x, y)
      local level = light(x + 16, y + 16)
      return math.min(255, math.floor(level * 1.06 + 3.5)), level, level
    end)
    local event = support.wait(engine, engine:region_compose { bytes = photo, answer = answer,
      window = { x = 16, y = 16, width = 96, height = 96 }, memory = memory,
      region = { x = 42, y = 42, width = 44, height = 44 } })
    assert.is_nil(event.kind, event.detail)
    local after, sum = pixels_of(event.body, 128, 128), 0
    for y = 44, 83 do
      for x = 44, 83 do sum = sum + math.abs(after:byte((y * 128 + x) * 3 + 1) - light(x, y)) end
    end
    assert.is_true(sum / 1600 < 2.5, sum / 1600)
    assert.is_true(event.match > 0.9, event.match)
  end)

  it("refuses a mask of another size, or one that is black", function()
    local photo, mask = folder .. "/photo.png", folder .. "/mask.png"
    support.write(photo, png(40, 30, texture))
    support.write(mask, png(41, 30, texture))
    local plan, message = region.region(photo, { mask = mask })
    assert.is_nil(plan)
    assert.truthy(message:find("41 x 30", 1, true))
    support.write(mask, png(40, 30, function() return 0, 0, 0 end))
    plan, message = region.region(photo, { mask = mask })
    assert.is_nil(plan)
    assert.truthy(message:find("black everywhere", 1, true))
  end)

  it("is cut upright, whichever way the picture is stored", function()
    -- How stored columns and rows follow from upright ones: exchanged, from the other end.
    local turns = { {}, { column = true }, { column = true, row = true }, { row = true },
      { swap = true }, { swap = true, row = true }, { swap = true, column = true, row = true },
      { swap = true, column = true } }
    local upright = pixels_of(png(60, 48, texture), 60, 48)
    for orientation, turn in ipairs(turns) do
      local width, height = turn.swap and 48 or 60, turn.swap and 60 or 48
      local stored = png(width, height, function(x, y)
        if turn.column then x = width - 1 - x end
        if turn.row then y = height - 1 - y end
        if turn.swap then x, y = y, x end
        return texture(x, y)
      end)
      local bytes = stored:sub(1, 33) .. pictures.chunk("eXIf", pictures.exif(orientation)) ..
        stored:sub(34)
      local window = { x = 10, y = 4, width = 33, height = 21 }
      local event = support.wait(engine, engine:region_cut { bytes = bytes, window = window,
        width = 33, height = 21, quality = 0, memory = memory })
      assert.is_nil(event.kind, event.detail)
      local got = pixels_of(event.body, 33, 21)
      for y = 0, 20 do
        local from = ((y + 4) * 60 + 10) * 3
        assert.equal(upright:sub(from + 1, from + 99), got:sub(y * 99 + 1, y * 99 + 99))
      end
      -- Back in its place, what was cut changes nothing.
      event = support.wait(engine, engine:region_compose { bytes = bytes, window = window,
        answer = event.body, memory = memory })
      assert.is_nil(event.kind, event.detail)
      assert.equal(upright, pixels_of(event.body, 60, 48))
    end
  end)

  it("says what is wrong with an answer, and leaves no file", function()
    local photo = png(64, 64, texture)
    local window = { x = 0, y = 0, width = 64, height = 64 }
    for _, answer in ipairs { "", "no picture", photo:sub(1, 200) } do
      local event = support.wait(engine, engine:region_compose { bytes = photo, answer = answer,
        window = window, memory = memory, to = folder .. "/made.png" })
      assert.equal("image", event.kind)
      assert.truthy(event.detail:find("the answer: ", 1, true), event.detail)
    end
    assert.is_nil(pictures.output("ls -A " .. folder))
  end)

  it("takes no more memory than it may, and is told how much before", function()
    local photo = png(64, 64, texture)
    local refusal, need = core.region_look({ bytes = photo }, 64, 64)
    assert.is_nil(refusal)
    assert.is_true(need > 64 * 64 * 3 and need < 4 * 2 ^ 20)
    local event = support.wait(engine, engine:region_cut { bytes = photo, memory = need - 1,
      window = { x = 0, y = 0, width = 64, height = 64 }, width = 64, height = 64 })
    assert.truthy(event.detail:find("more memory", 1, true))
  end)

  it("notices a picture that has changed since it was checked", function()
    local path = folder .. "/photo.png"
    support.write(path, png(64, 64, texture))
    local known = assert(core.check({ path = path }, {}))
    support.write(path, png(64, 63, texture))
    local event = support.wait(engine, engine:region_cut { path = path, stamp = known.stamp,
      window = { x = 0, y = 0, width = 64, height = 63 }, width = 64, height = 63,
      memory = memory })
    assert.equal("file", event.kind)
    assert.equal("ESTALE", event.code)
  end)

  it("is cancelled at once and holds nobody up", function()
    local photo = pictures.photographs()[1]
    if not photo then return pending "no photographs" end
    local ids, longest = {}, 0
    for i = 1, 6 do
      ids[i] = assert(engine:region_cut { path = photo, width = 500, height = 500,
        window = { x = 0, y = 0, width = 500, height = 500 }, memory = 4 * memory })
    end
    for _ = 1, 20 do
      local begun = core.now()
      engine:step(0.001)
      longest = math.max(longest, core.now() - begun)
    end
    local begun = core.now()
    for i = 1, 6 do engine:cancel(ids[i]) end
    assert.is_true(core.now() - begun < 0.2)
    assert.is_true(longest < 0.2, longest)
    local last = support.wait(engine, engine:region_mask { bytes = png(9, 9, texture) })
    assert.is_nil(last.kind)
    assert.is_true(core.now() - begun < 2, "the worker went on with what nobody wants")
  end)
end)
