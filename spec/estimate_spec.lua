-- What an edit will cost, told beforehand, and a budget that is never passed.

local budget = require "kontext.budget"
local core = require "kontext.core"
local kontext = require "kontext"
local models = require "kontext.models"
local random = require "kontext.emulator.random"
local support = require "spec.support.emulator"

-- Small pictures and one of more than a megapixel.
local sizes = { { 256, 256 }, { 320, 256 }, { 256, 400 }, { 1100, 1000 } }
local pictures = {}
for i, size in ipairs(sizes) do
  pictures[i] = assert(core.repaint { width = size[1], height = size[2], format = "jpeg",
    seed = i })
end

-- Returns an edit of the model whose parameters chance chooses.
local function any_edit(row, chance)
  local edit = { model = row.name }
  if row.by_name.prompt then edit.prompt = "Make it snow" end
  local which = chance(row.images.min_side and row.images.min_side > 64 and 3 or #pictures)
  for i, field in ipairs(row.fields) do
    if field.type == "image" and (field.required or chance(3) == 1 or field.name == "mask") then
      edit[field.name] = pictures[row.mask and which or (which + i) % 3 + 1]
    elseif field.type == "images" and chance(3) > 1 then
      edit[field.name] = { pictures[which], chance(2) == 1 and pictures[1] or nil }
    elseif field.type == "choice" and field.name ~= "output_format" and chance(2) == 1 then
      edit[field.name] = field.choices[chance(#field.choices)]
    end
  end
  if edit.resolution == "4k" then edit.resolution = "2k" end -- painting 16 megapixels takes seconds
  if row.sizes.rule == "width x height" and chance(2) == 1 then
    edit.width, edit.height = 16 * (3 + chance(70)), 16 * (3 + chance(70))
  elseif row.sizes.rule == "exact" then
    edit.width, edit.height = 1100 + chance(400), 1000 + chance(400)
  elseif row.sizes.rule == "margins" then
    edit.top, edit.left = chance(200) - 1, chance(200) - 1
  end
  return edit
end

describe("an estimate", function()
  it("is the emulator's bill, and the size of the answer, for edits at random", function()
    -- 1,000 in all by KONTEXT_ESTIMATES; painting makes the run long.
    local count = tonumber(os.getenv "KONTEXT_ESTIMATES") or 120
    local server = support.start { ready_after = 0, max_active = 1000, seed = 5 }
    local client = kontext.new { api_key = "k", base_url = server.url, timeout = 600,
      poll_interval = 0.2 }
    local names, chance = models.names(), random "estimates"
    local told, jobs = {}, {}
    for i = 1, count do
      local edit = any_edit(models.find(names[(i - 1) % #names + 1]), chance)
      told[i] = assert(kontext.estimate(edit))
      jobs[i] = client:edit(edit)
      if i % 12 == 0 then
        for j = i - 11, i do assert(jobs[j]:wait()) end
      end
    end
    for i = 1, count do assert(jobs[i]:wait()) end
    local billed = {}
    for _, task in ipairs(server:ledger().tasks) do billed[task.id] = task end
    for i, job in ipairs(jobs) do
      local task, estimate = billed[job.id], told[i]
      assert.near(task.charged, estimate.credits, 1e-9, estimate.model)
      assert.near(estimate.usd, estimate.credits / 100, 1e-12)
      assert.same({ task.width, task.height }, { estimate.width, estimate.height })
      assert.same({ job.image.width, job.image.height }, { estimate.width, estimate.height })
      if job.cost then assert.near(task.charged, job.cost, 1e-9, estimate.model) end
    end
    client:close()
    server:stop()
  end)

  it("is what the price sheet says", function()
    local one, big = pictures[1], pictures[4]
    for _, row in ipairs {
      { 4, { input_image = one } }, { 8, { model = "max", input_image = one } },
      { 3, { model = "flux-2-pro" } }, { 4.5, { model = "flux-2-pro", input_image = one } },
      { 6, { model = "flux-2-pro", input_image = one, input_image_2 = one } },
      { 13, { model = "flux-2-max", input_image = one, width = 1440, height = 1440 } },
      { 7.5, { model = "flux-2-pro", input_image = big, width = 1440, height = 1456 } },
      { 1.4, { model = "flux-2-klein-4b" } }, { 1.5, { model = "flux-2-klein-9b" } },
      { 4.8, { model = "flux-3-image", images = { one, one } } },
      { 60.7, { model = "flux-3-image", resolution = "4k" } },
      { 20, { model = "flux-tools/outpainting-v1", input_image = one, width = 1448,
        height = 1448 } },
      { 4.75, { model = "flux-tools/vto-v2", person = one, garment = one } },
      { 5, { model = "flux-pro-1.0-fill", image = one, mask = one } },
    } do
      local estimate = assert(kontext.estimate(row[2]))
      assert.equal(row[1], estimate.credits)
    end
  end)

  it("says what it stands on", function()
    local sure = assert(kontext.estimate { input_image = pictures[1] })
    assert.is_true(sure.confirmed)
    assert.equal("flux-kontext-pro", sure.model)
    assert.matches("^20%d%d%-%d%d$", sure.as_of)
    assert.equal(0.04, sure.usd)
    assert.same({ 1024, 1024 }, { sure.width, sure.height })
    assert.is_false(kontext.estimate { model = "flux-tools/deblur-v1",
      image = pictures[1] }.confirmed)
    assert.is_true(kontext.estimate { model = "flux-2-pro" }.confirmed)
    assert.is_false(kontext.estimate { model = "flux-2-pro", input_image = pictures[1] }.confirmed)
  end)

  it("is the most that a picture can cost which only the service sees", function()
    local told = assert(kontext.estimate { model = "flux-2-pro",
      input_image = { url = "https://example.com/a.jpg" } })
    assert.equal(3 + 1.5 * 3 + 1.5 * 4, told.credits)
    assert.is_nil(told.width)
    assert.is_false(told.confirmed)
  end)

  it("takes a picture as it is seen, not as it is stored", function()
    local shapes = require "spec.support.pictures"
    local turned = shapes.whole_png(64, 96, ("\0" .. ("\7"):rep(64 * 3)):rep(96), nil,
      shapes.chunk("eXIf", shapes.exif(6, true)))
    local told = assert(kontext.estimate { model = "flux-2-pro", input_image = turned })
    assert.same({ 96, 64 }, { told.width, told.height })
  end)

  it("ends as the edit itself would", function()
    for _, row in ipairs {
      { "file", { input_image = "/no/such.jpg" } },
      { "invalid", { input_image = pictures[1], aspect_ratio = "9:1" } },
      { "invalid", { model = "flux-2", input_image = pictures[1] } },
    } do
      local told, message, err = kontext.estimate(row[2])
      assert.is_nil(told)
      assert.equal(row[1], err.kind)
      assert.equal(message, err.message)
    end
    local done, message = pcall(function()
      local told = kontext.estimate { promt = "x" }
      return told
    end)
    assert.is_false(done)
    assert.matches("estimate_spec.lua:%d+: unknown key", message)
  end)
end)

describe("a budget", function()
  local function costs(credits) return { credits = credits, model = "flux-2-pro" } end

  it("is never passed, whatever is reserved, settled and released", function()
    local chance, left = random "budget", 0
    for _ = 1, 200 do
      local limit = chance(100) / 10
      local own, open, spent = budget.new(limit), {}, 0
      for _ = 1, 40 do
        if chance(3) > 1 then
          local reservation = own:reserve(costs(chance(30) / 10))
          if reservation then open[#open + 1] = reservation end
        elseif #open > 0 then
          local reservation = table.remove(open, chance(#open))
          if chance(3) == 1 then
            own:release(reservation)
          else
            own:settle(reservation, chance(2) == 1 and reservation.credits or nil)
            spent = spent + reservation.credits
          end
        end
        assert.is_true(own.spent + own.reserved <= limit + 1e-6)
        assert.near(spent, own.spent, 1e-6)
      end
      left = left + own:left()
    end
    assert.is_true(left > 0)
  end)

  it("takes tenths to the last one", function()
    local own = budget.new(0.3)
    for _ = 1, 3 do assert.is_table(own:reserve(costs(0.1))) end
    local reservation, message = own:reserve(costs(0.1))
    assert.is_nil(reservation)
    assert.equal("the edit would cost 0.1 credits, and 0 of the budget of 0.3 are left: nothing "
      .. "was sent; raise the budget to go on", message)
  end)

  it("is settled by what the service says, also when it says it late or twice", function()
    local own = budget.new(10)
    local reservation = own:reserve(costs(6))
    own:settle(reservation)
    assert.equal(6, own.spent)
    own:settle(reservation, 7)
    own:settle(reservation, 7)
    assert.same({ 7, 0, 3 }, { own.spent, own.reserved, own:left() })
    own:release(reservation)
    own:release(reservation)
    assert.same({ 0, 10 }, { own.spent, own:left() })
  end)

  it("lets nothing go whose price is not known", function()
    local reservation, message = budget.new(5):reserve { model = "mine" }
    assert.is_nil(reservation)
    assert.matches("the price of mine is not known", message)
  end)
end)
