-- Regions of photographs, as Pillow sees what came of them. FULL=1: 40 regions of each of twelve,
-- or REGIONS= so many; campaign P1 asks the same of every kind of file, through whole edits.
local core = require "kontext.core"
local pictures = require "spec.support.pictures"
local region = require "kontext.job.region"
local support = require "spec.region.support"

local full = os.getenv "FULL" == "1"
local rounds = tonumber(os.getenv "REGIONS") or full and 40 or 2
local count = full and 12 or 1
local most = full and math.huge or 7e6 -- pixels

-- The largest photographs that are installed, not over `most`.
local function photographs()
  local found = {}
  local list = pictures.output "find /usr/share/backgrounds -name '*.jpg' -size +300k" or ""
  for path in list:gmatch "[^\n]+" do
    local known = core.check({ path = path }, {})
    if known and known.width * known.height > 5e6
      and known.width * known.height < most then
      found[#found + 1] = { path = path, width = known.width, height = known.height,
        bytes = known.bytes }
    end
  end
  table.sort(found, function(a, b)
    local p, q = a.width * a.height, b.width * b.height
    return p > q or p == q and a.path < b.path
  end)
  while #found > count do found[#found] = nil end
  return found
end

describe("a region of a photograph", function()
  local engine, folder
  local random = 7

  -- 1 … n, the same each time on every Lua.
  local function any(n)
    random = (random * 16807) % 2147483647
    return random % n + 1
  end

  setup(function()
    engine, folder = support.engine(), support.folder()
  end)
  teardown(function()
    engine:close()
    os.execute("rm -r " .. folder)
  end)

  -- Cuts a window out, has `change` make an answer of it, and puts that back into `to`.
  local function edit(path, format, plan, change, to, more)
    local source = { path = path }
    local cut = support.wait(engine, engine:region_cut(region.cut(plan, source, format)))
    assert.is_nil(cut.kind, cut.detail)
    local sent, answer = folder .. "/sent." .. format, folder .. "/answer.png"
    support.write(sent, cut.body)
    assert.equal("ok", change(sent, answer, cut.body))
    local given = { answer_path = answer, to = to }
    for name, value in pairs(more or {}) do given[name] = value end
    local event = support.wait(engine,
      engine:region_compose(region.compose(plan, source, given)))
    return event, sent
  end

  local function shifted(dx, dy, tint)
    return function(from, to) return support.ask_one("shift", from, to, dx, dy, tint or "plain") end
  end

  -- Returns a photograph made smaller, which is as good where its size does not matter.
  local function small_photograph()
    local photo = photographs()[1]
    if not photo then return nil end
    local small = { path = folder .. "/small.jpg", width = 2000, height = 1500 }
    assert.equal("ok", support.ask_one("scale", photo.path, small.path, small.width, small.height))
    return small
  end

  local function inside(rect) return rect.x, rect.y, rect.width, rect.height end

  it("differs nowhere outside of its window #once", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local found = photographs()
    if #found == 0 then return pending "no photographs" end
    for _, photo in ipairs(found) do
      for _ = 1, rounds do
        local rect = { any(photo.width - 300) - 1, any(photo.height - 300) - 1, 50 + any(900),
          50 + any(900) }
        local plan = region.plan(assert(region.read(rect, photo.width, photo.height)),
          photo.width, photo.height)
        local to = folder .. "/made.jpg"
        local event = edit(photo.path, "jpeg", plan, function(from, answer)
          local x = math.floor(plan.upload.width / 3)
          return support.ask_one("paint", from, answer, x, x, x, x)
        end, to)
        assert.is_nil(event.kind, event.detail)
        local outside = assert(support.ask_one("compare", photo.path, to,
          inside(plan.window))):match "^(%d+) "
        assert.equal("0", outside, photo.path)
      end
    end
  end)

  it("shows no seam where the answer was moved and tinted", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local photo = small_photograph()
    if not photo then return pending "no photographs" end
    for _, how in ipairs { { 3.5, 0 }, { 3.5, -2.25, "tint" }, { -9, 6.5 } } do
      local plan = region.plan(
        assert(region.read({ 700, 500, 600, 500 }, photo.width, photo.height)), photo.width,
        photo.height)
      local to = folder .. "/made.jpg"
      local event = edit(photo.path, "jpeg", plan, shifted(how[1], how[2], how[3]), to)
      assert.is_nil(event.kind, event.detail)
      assert.is_nil(event.warning)
      assert.is_true(event.match > 0.9, event.match)
      assert.is_true(math.abs(event.shift_x - how[1]) < 0.15, event.shift_x)
      assert.is_true(math.abs(event.shift_y - how[2]) < 0.15, event.shift_y)
      local x, y, width, height = inside(plan.region)
      local seam = tonumber(support.ask_one("seam", photo.path, to, x, y, width, height, 24))
      assert.is_true(seam < 1.5, seam)
    end
  end)

  it("puts an answer of another size back to the window's", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local photo = photographs()[1]
    if not photo then return pending "no photographs" end
    local plan = region.plan(
      assert(region.read({ 1200, 900, 600, 500 }, photo.width, photo.height)), photo.width,
      photo.height)
    for _, by in ipairs { 0.75, 1.5 } do
      local to = folder .. "/made.jpg"
      local event = edit(photo.path, "jpeg", plan, function(from, answer)
        return support.ask_one("scale", from, answer, math.floor(plan.output.width * by),
          math.floor(plan.output.height * by))
      end, to)
      assert.is_nil(event.kind, event.detail)
      assert.is_true(event.match > 0.85, event.match)
      local outside, error = support.ask_one("compare", photo.path, to, inside(plan.window))
        :match "^(%d+) (%S+)"
      assert.equal("0", outside)
      assert.is_true(tonumber(error) < 3, error)
    end
  end)

  it("composes and warns where the answer is another picture", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local photo = photographs()[1]
    if not photo then return pending "no photographs" end
    local plan = region.plan(
      assert(region.read({ 1200, 900, 600, 500 }, photo.width, photo.height)), photo.width,
      photo.height)
    local to = folder .. "/made.jpg"
    local event = edit(photo.path, "jpeg", plan, function(from, answer)
      return support.ask_one("invert", from, answer)
    end, to)
    assert.is_nil(event.kind, event.detail)
    assert.is_true(event.match < 0.6, event.match)
    assert.truthy(event.warning:find("may show", 1, true))
    assert.equal("0", support.ask_one("compare", photo.path, to, inside(plan.window)):match "^%d+")
  end)

  it("is edited in every kind of JPEG and PNG that Pillow writes", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local photo = photographs()[1]
    if not photo then return pending "no photographs" end
    local width, height = assert(support.ask_one("coded", folder, photo.path)):match "(%d+) (%d+)"
    width, height = tonumber(width), tonumber(height)
    local files = { ["444.jpg"] = "jpeg", ["422.jpg"] = "jpeg", ["420.jpg"] = "jpeg",
      ["444p.jpg"] = "jpeg", ["422p.jpg"] = "jpeg", ["420p.jpg"] = "jpeg", ["grey.jpg"] = "jpeg",
      ["rgb.png"] = "png", ["palette.png"] = "png", ["grey.png"] = "png", ["bit.png"] = "png",
      ["rgba.png"] = "png", ["la.png"] = "png", ["grey16.png"] = "png" }
    for name, format in pairs(files) do
      local path, to = folder .. "/" .. name, folder .. "/made-" .. name
      local window = { x = any(100), y = any(60), width = 400, height = 300 }
      local plan = { window = window, upload = { width = 400, height = 300 },
        region = { x = window.x + 60, y = window.y + 60, width = 250, height = 170 } }
      local event = edit(path, format, plan, function(from, answer)
        return support.ask_one("paint", from, answer, 100, 100, 120, 90)
      end, to)
      assert.is_nil(event.kind, event.detail)
      local outside, error = assert(support.ask_one("compare", path, to, inside(window)))
        :match "^(%d+) (%S+)"
      assert.equal("0", outside, name)
      assert.is_true(name == "grey16.png" or tonumber(error) > 2, name)
      local before, after = support.ask_one("kind", path), support.ask_one("kind", to)
      if name == "palette.png" then before = before:gsub(" P ", " RGB ") end
      if name == "bit.png" then before = before:gsub(" 1 ", " L ") end
      assert.equal(before, after)
    end
    assert.is_true(width > 0 and height > 0)
  end)

  it("is refused in CMYK and WebP with what to do", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local photo = photographs()[1]
    if not photo then return pending "no photographs" end
    support.ask_one("coded", folder, photo.path)
    for name, words in pairs { ["cmyk.jpg"] = "convert it to RGB", ["picture.webp"] = "dwebp" } do
      local path = folder .. "/" .. name
      assert.truthy(core.region_look({ path = path }, 100, 100):find(words, 1, true))
      local plan, message, err = region.region(path, { 0, 0, 100, 100 })
      assert.is_nil(plan)
      assert.truthy(message:find(words, 1, true))
      assert.equal("image", err.kind)
      assert.is_false(err.charged)
    end
  end)
end)
