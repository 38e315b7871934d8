-- Edits of a region from the photograph to the photograph, over the emulator: what changes, what is
-- kept when it goes wrong, and who gets the paid picture.
local core = require "kontext.core"
local emulators = require "spec.support.emulator"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local support = require "spec.region.support"

local width, height = 1800, 1300
-- Larger than what the emulator edits of any window.
local rect = { x = 580, y = 360, width = 640, height = 560 }

local emulator, folder, client

local painted = {}

-- Returns the path of a picture that is in the folder.
local function photograph(format)
  local path = folder .. (format == "png" and "/photo.png" or "/photo.jpg")
  painted[format] = painted[format] or assert(core.repaint { width = width, height = height,
    format = format, seed = 5 })
  support.write(path, painted[format])
  return path
end

local function new(options)
  local given = { api_key = "a-key", base_url = emulator.url, poll_interval = 0.05, timeout = 60 }
  for name, value in pairs(options or {}) do given[name] = value end
  return kontext.new(given)
end

local function params(given)
  local all = { prompt = "Make it red [emulate: shifted 0]", region = rect, timeout = 60 }
  for name, value in pairs(given) do all[name] = value end
  return all
end

-- Waits, and returns the image.
local function made(job)
  local image, message = job:wait(60)
  return assert(image, message)
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local bytes = file:read "*a"
  file:close()
  return bytes
end

local function charged()
  return emulator:ledger().totals.charged or 0
end

-- Returns how many pixels differ outside of the window that the region is planned to have.
local function differing(before, after)
  local plan = assert(kontext.region(before, rect))
  local window = plan.window
  return support.ask_one("compare", before, after, window.x, window.y, window.width, window.height)
end

setup(function() emulator = emulators.start { ready_after = 0.1 } end)
teardown(function() emulator:stop() end)

local function begin()
  folder = support.folder()
  emulator:forget()
  client = new()
end

local function finish()
  client:close()
  os.execute("rm -r " .. folder)
end

describe("an edit of a region", function()
  before_each(begin)
  after_each(finish)

  it("changes nothing outside of its window and tells how the answer lay #once", function()
    if not support.has_oracle() then return pending "no Pillow" end
    local large = pictures.photographs()[1]
    if not large then return pending "no photographs" end
    for _, format in ipairs { "jpeg", "png" } do
      local from = photograph(format)
      assert.equal("ok", support.ask_one("scale", large, from, width, height))
      local to = from:gsub("photo", "made")
      for _, how in ipairs { "shifted 3.5", "tinted", "scaled 0.5" } do
        local image = made(client:edit(params { input_image = from, save_as = to,
          prompt = "Make it red [emulate: " .. how .. "]" }))
        assert.equal(to, image.path)
        assert.same({ format, width, height }, { image.format, image.width, image.height })
        local outside, inside = differing(from, to):match "^(%d+) (%S+)"
        assert.equal("0", outside, how)
        assert.is_true(tonumber(inside) > 1, "nothing was changed")
        assert.is_true(image.match > 0.8, how .. image.match)
        local wanted = how == "shifted 3.5" and 3.5 or 0
        assert.is_true(math.abs(image.shift.x - wanted) < 0.2, how .. image.shift.x)
        assert.is_true(math.abs(image.shift.y - wanted) < 0.2, how .. image.shift.y)
        local seam = tonumber(support.ask_one("seam", from, to, rect.x, rect.y, rect.width,
          rect.height, 24))
        assert.is_true(seam < 1.5, how .. seam)
        assert.is_nil(io.open(folder .. "/made-answer.png"))
        assert.equal("png", core.sniff(image.original_answer))
      end
    end
  end)

  it("sends the window alone, as large as its plan says", function()
    local from = photograph "jpeg"
    local plan = assert(kontext.region(from, rect))
    made(client:edit(params { input_image = from }))
    local task = emulator:ledger().tasks[1]
    assert.same({ plan.output.width, plan.output.height }, { task.width, task.height })
    assert.is_true(plan.output.width < width)
  end)

  it("is estimated by its window", function()
    local from = photograph "jpeg"
    local plan = assert(kontext.region(from, rect))
    local told = assert(kontext.estimate(params { input_image = from }))
    assert.same({ plan.output.width, plan.output.height, 4 },
      { told.width, told.height, told.credits })
    assert.is_true(told.upload >= plan.upload.bytes * 4 / 3)
  end)

  it("gives the whole photograph's bytes where no name is given", function()
    local from = photograph "jpeg"
    local image = made(client:edit(params { input_image = { bytes = read(from) } }))
    assert.is_nil(image.path)
    local known = assert(core.check({ bytes = image.bytes }, {}))
    assert.same({ "jpeg", width, height }, { known.format, known.width, known.height })
  end)

  -- Writes a mask that is white from about 700, 500 to 1000, 700, or nowhere.
  local function write_mask(is_black)
    local mask, rows = folder .. "/mask.png", {}
    for y = 0, height / 50 - 1 do
      local white = y >= 10 and y < 14 and not is_black
      rows[y + 1] = "\0" .. ("\0"):rep(14 * 3) .. (white and "\255" or "\0"):rep(6 * 3)
        .. ("\0"):rep((width / 50 - 20) * 3)
    end
    local small = pictures.whole_png(width / 50, height / 50, table.concat(rows))
    support.write(mask, assert(core.thumbnail({ bytes = small }, width, height, "png")))
    return mask
  end

  it("changes what a mask is white at", function()
    local from, mask = photograph "png", write_mask()
    local given = params { input_image = from, mask = mask, save_as = folder .. "/made.png" }
    given.region = nil
    made(client:edit(given))
    if not support.has_oracle() then return pending "no Pillow" end
    -- The mask's edge is softened by some pixels.
    local outside = support.ask_one("compare", from, folder .. "/made.png", 640, 440, 420, 320)
    assert.equal("0", outside:match "^%d+")
  end)

  it("reads a mask on the worker, and refuses a bad one before it pays", function()
    local from = photograph "png"
    local region_mask = core.region_mask
    core.region_mask = function() error "the host was held up" end
    local outcomes = {}
    for _, name in ipairs { "good", "black", "changed" } do
      local mask = write_mask(name == "black")
      local given = params { input_image = from, mask = mask, key = name }
      given.region = nil
      local job = client:edit(given)
      local told = kontext.estimate(given)
      assert.same({ 4, nil }, { told.credits, told.width })
      if name == "changed" then support.write(mask, painted.png) end
      local image, message = job:wait(60)
      outcomes[name] = image and "made" or message
      if not image then assert.equal(false, job.error.charged) end
      if image then
        local x, y = image.region.x, image.region.y
        assert.is_true(x > 640 and x <= 700 and y > 440 and y <= 500, x .. "," .. y)
      end
    end
    core.region_mask = region_mask
    assert.equal("made", outcomes.good)
    assert.truthy(outcomes.black:find("black everywhere", 1, true), outcomes.black)
    assert.truthy(outcomes.changed:find("mask", 1, true), outcomes.changed)
    assert.equal(1, #emulator:requests("POST"))
  end)

  it("tells batches where it is, of a photograph that is too large for the service", function()
    local from, journal = folder .. "/large.jpg", folder .. "/journal"
    support.write(from, assert(core.repaint { width = 5201, height = 4001, format = "jpeg",
      seed = 1 }))
    local own = new { journal = journal }
    local items = { params { input_image = from, save_as = folder .. "/made.jpg" } }
    local results = assert(own:batch(items):wait(200))
    assert.is_nil(results[1].error and results[1].error.message)
    assert.same(rect, results[1].region)
    assert.is_true(results[1].window.width >= rect.width)
    results = assert(own:batch(items):wait(200))
    assert.is_true(results[1].skipped)
    items[1].strip = true -- another edit: what is sent is not the same
    items[1].save_as = folder .. "/stripped.jpg"
    results = assert(own:batch(items):wait(200))
    assert.is_nil(results[1].skipped)
    own:close()
    assert.equal(8, charged())
  end)

  it("saves the service's own picture beside one that fits badly, and warns", function()
    local from, to = photograph "jpeg", folder .. "/made.jpg"
    local job = client:edit(params { input_image = from, save_as = to,
      prompt = "Make it red [emulate: repainted]" })
    local image = made(job)
    assert.is_true(image.match < 0.7, image.match)
    assert.equal(image.original_answer, read(folder .. "/made-answer.png"))
    assert.truthy(table.concat(job.warnings, "\n"):find("made-answer.png", 1, true))
    assert.is_string(read(to))
  end)

  it("refuses before it pays", function()
    local jpeg, png = photograph "jpeg", photograph "png"
    for words, given in pairs {
      ["stays one"] = { input_image = jpeg, save_as = folder .. "/made.png" },
      ["outside"] = { input_image = jpeg, region = "1800,0,5,5" },
      ["cannot be used with"] = { input_image = jpeg, model = "flux-2-pro" },
      ["keeps its shape"] = { input_image = jpeg, aspect_ratio = "1:1" },
      ["needs the picture here"] = { input_image = "https://example.com/a.jpg" },
      ["both given"] = { input_image = png, mask = png },
      ["has no width"] = { input_image = png, region = { x = 1, y = 2 } },
      ["cannot save"] = { input_image = png, save_as = folder .. "/none/made.png" },
    } do
      local _, message, err = client:edit(params(given)):wait(60)
      assert.truthy(message and message:find(words, 1, true), words .. ": " .. tostring(message))
      assert.equal(false, err.charged)
    end
    assert.equal(0, #emulator:requests("POST"))
  end)

  it("replaces no file that another program put at the destination meanwhile", function()
    local from, to = photograph "png", folder .. "/red.png"
    local job = client:edit(params { input_image = from, save_as = to })
    repeat client:poll(0.01) until job.id
    support.write(to, "another's")
    local image = made(job)
    assert.equal("another's", read(to))
    assert.equal(folder .. "/red-2.png", image.path)
    assert.equal(width, image.width)
    assert.truthy(job.warnings[1]:find(to, 1, true))
    assert.equal(1, #emulator:requests("POST"))
  end)

  it("keeps the answer where the photograph is changed or gone meanwhile", function()
    for _, what in ipairs { "changed", "gone" } do
      local from, to = photograph "jpeg", folder .. "/" .. what .. ".jpg"
      local job = client:edit(params { input_image = from, save_as = to })
      repeat client:poll(0.01) until job.id
      if what == "gone" then os.remove(from) else support.write(from, "another file") end
      local image = made(job)
      assert.equal(folder .. "/" .. what .. "-answer.png", image.path)
      assert.equal(image.original_answer, read(image.path))
      assert.is_nil(read(to))
      assert.truthy(table.concat(job.warnings, "\n"):find("was not put back", 1, true))
    end
  end)

  it("keeps the answer where the result cannot be saved", function()
    local from, place = photograph "jpeg", folder .. "/place"
    os.execute("mkdir " .. place)
    local job = client:edit(params { input_image = from, save_as = place .. "/made.jpg" })
    repeat client:poll(0.01) until job.id
    os.execute("rmdir " .. place)
    local image, message, err = job:wait(60)
    assert.is_nil(image)
    assert.same({ "file", true }, { err.kind, err.charged })
    local aside = assert(message:match "put aside as (%S+)", message)
    assert.equal(job.image.original_answer, read(aside))
    os.remove(aside)
    assert.is_string(err.token)
  end)

  it("can be resumed when it is cancelled or closed while it is put back", function()
    local region = require "kontext.job.region"
    local compose = region.compose
    for _, how in ipairs { "cancel", "close" } do
      local from, to = photograph "jpeg", folder .. "/" .. how .. ".jpg"
      local own = new()
      local begun
      region.compose = function(...)
        begun = true
        return compose(...)
      end
      local job = own:edit(params { input_image = from, save_as = to })
      repeat own:poll(0.01) until begun or job:ended()
      region.compose = compose
      if how == "cancel" then job:cancel() else own:close() end
      assert.is_string(job.error.token)
      local aside = job.error.message:match "put aside as (%S+)"
      if how == "close" then assert.is_true(os.remove(assert(aside))) end
      -- Without the journal nobody knows the photograph: its name must not get the window.
      local again = client:resume(job.error.token, { save_as = to })
      local image = made(again)
      assert.equal(folder .. "/" .. how .. "-answer.png", image.path)
      assert.is_nil(read(to))
      if how == "cancel" then own:close() end
    end
    assert.equal(8, charged())
  end)

  it("ends at its deadline while the window is cut, and sends nothing", function()
    local from = photograph "jpeg"
    local job = client:edit(params { input_image = from, timeout = 0.001 })
    local image, _, err = job:wait(60)
    assert.is_nil(image)
    assert.equal("timeout", err.kind)
    assert.equal(0, #emulator:requests("POST"))
  end)

  it("goes on after a kill while it was put back, and pays once", function()
    local from, to, journal = photograph "jpeg", folder .. "/made.jpg", folder .. "/journal"
    local actor = folder .. "/actor.lua"
    support.write(actor, ([[
      package.path, package.cpath = %q, %q
      local region = require "kontext.job.region"
      local compose = region.compose
      region.compose = function(...)
        os.execute "(sleep 0.02; kill -9 $PPID) & sleep 0.01"
        return compose(...)
      end
      local client = require "kontext".new { api_key = "a-key", base_url = %q, journal = %q,
        poll_interval = 0.05 }
      client:edit { prompt = "Make it red [emulate: shifted 2]", input_image = %q, save_as = %q,
        region = "%d,%d,%d,%d" }:wait()
    ]]):format(package.path, package.cpath, emulator.url, journal, from, to, rect.x, rect.y,
      rect.width, rect.height))
    local lua = arg and arg[-1] or "lua5.4"
    for i = -1, -9, -1 do if arg and arg[i] then lua = arg[i] end end
    os.execute(("%s %s 2>/dev/null"):format(lua, actor))
    assert.is_nil(read(to))
    local own = new { journal = journal }
    local jobs = own:resume { journal = journal }
    assert.equal(1, #jobs)
    local image = made(jobs[1])
    assert.same({ to, width, height }, { image.path, image.width, image.height })
    assert.is_true(math.abs(image.shift.x - 2) < 0.2)
    own:close()
    assert.equal(4, charged())
    -- A second resume finds nothing to do.
    own = new { journal = journal }
    assert.equal(0, #own:resume { journal = journal })
    own:close()
  end)

  it("is told from other regions by its key, and joined by its equal", function()
    local from, journal = photograph "jpeg", folder .. "/journal"
    local own = new { journal = journal }
    local first = own:edit(params { input_image = from, key = "k", save_as = folder .. "/a.jpg" })
    local same = own:edit(params { input_image = from, key = "k", save_as = folder .. "/a.jpg",
      region = "580,360,640,560" })
    assert.equal(first, same)
    made(first)
    local items = { params { input_image = from, key = "k", save_as = folder .. "/a.jpg" } }
    local results = assert(own:batch(items):wait(60))
    assert.is_true(results[1].skipped)
    items[1].region = { x = 0, y = 0, width = 9, height = 9 }
    results = assert(own:batch(items):wait(60))
    assert.equal("invalid", results[1].error.kind)
    own:close()
    assert.equal(4, charged())
  end)

  it("gives two actors a file each", function()
    local from = photograph "jpeg"
    local others = new()
    local to = folder .. "/made.jpg"
    local one = client:edit(params { input_image = from, save_as = to, no_replace = true })
    local two = others:edit(params { input_image = from, save_as = to, no_replace = true })
    local deadline = core.now() + 60
    repeat
      client:poll(0.01)
      others:poll(0.01)
    until one:ended() and two:ended() or core.now() > deadline
    local paths = { made(one).path, made(two).path }
    table.sort(paths)
    assert.same({ folder .. "/made-2.jpg", to }, paths)
    for _, path in ipairs(paths) do
      assert.equal(width, assert(core.check({ path = path }, {})).width)
    end
    others:close()
  end)
end)

describe("strip", function()
  before_each(begin)
  after_each(finish)

  it("takes the camera out before the upload", function()
    local from = photograph "png"
    local bytes = read(from)
    local exif = pictures.chunk("tEXt", "Author\0Somebody")
    support.write(from, bytes:sub(1, 33) .. exif .. bytes:sub(34))
    local given = params { input_image = from, strip = true }
    given.region = nil
    made(client:edit(given))
    local submit = emulator:requests("POST")[1]
    assert.equal(emulators.sha256(bytes), submit.images.input_image.sha256)
    assert.is_true(#read(from) > #bytes)
  end)
end)
