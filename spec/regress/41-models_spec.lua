-- What strangers' scripts found wrong in models: rows of a program's own that raised in the middle
-- of an edit, or had a price that no budget could hold; sentences that led astray.

local core = require "kontext.core"
local fields = require "kontext.job.fields"
local kontext = require "kontext"
local models = require "kontext.models"
local support = require "spec.support.emulator"

local picture = assert(core.repaint { width = 256, height = 256, format = "png", seed = 1 })

local prompt = { name = "prompt", type = "text", required = true }
local image = { name = "picture", type = "image" }

-- Returns a sound row, with some parts in place of its own.
local function row_with(parts)
  local row = { path = "/v1/x", fields = { prompt, image },
    images = { style = "single", first = "picture", max = 1 }, sizes = { rule = "input" },
    formats = { "png" }, default_format = "png", price = { rule = "flat", credits = 2.5 } }
  for name, value in pairs(parts) do row[name] = value end
  return row
end

-- Returns a row with one field more.
local function row_with_field(field)
  return row_with { fields = { prompt, image, field } }
end

describe("a row of a program's own", function()
  local nan = 0 / 0
  for what, row in pairs {
    ["a price of megapixels without numbers"] = row_with { price = { rule = "megapixels" } },
    ["a price by resolution without credits"] = row_with { price = { rule = "resolution" } },
    ["a price by mode without modes"] = row_with { price = { rule = "mode" } },
    ["a price by mode of which one is missing"] = row_with { price = { rule = "mode",
      default = "high", high = { credits = 1 } },
      fields = { prompt, image, { name = "mode", type = "choice", choices = { "high", "low" } } } },
    ["a price of first input without numbers"] = row_with { price = { rule = "first input" } },
    ["a price below 0"] = row_with { price = { rule = "flat", credits = -4 } },
    ["a price that is no number"] = row_with { price = { rule = "flat", credits = nan } },
    ["a price as text"] = row_with { price = { rule = "flat", credits = "4" } },
    ["sizes without limits"] = row_with { sizes = { rule = "width x height" } },
    ["sizes by resolution without areas"] = row_with { sizes = { rule = "ratio and resolution" } },
    ["exact sizes without fields"] = row_with { sizes = { rule = "exact" } },
    ["doubts that are no table"] = row_with { sizes = { rule = "input", doubts = 5 } },
    ["pictures without a most"] = row_with { images = { style = "list", first = "picture" },
      fields = { prompt, { name = "picture", type = "images" } } },
    ["choices of numbers"] = row_with_field { name = "c", type = "choice", choices = { 1, 2 } },
    ["a choice of none"] = row_with_field { name = "c", type = "choice", choices = {} },
    ["a limit as text"] = row_with_field { name = "c", type = "integer", min = "1" },
    ["a range upside down"] = row_with_field { name = "c", type = "integer", min = 5, max = 1 },
    ["a part of no name"] = row_with { strikt = true },
    ["a field's part of no name"] = row_with_field { name = "c", type = "integer", maximum = 4 },
    ["a picture's limit as text"] = row_with { images = { style = "single", first = "picture",
      min_side = "4" } },
    ["no task at once"] = row_with { active = 0 },
    ["formats that nobody makes"] = row_with { formats = { "gif" }, default_format = "gif" },
    ["a default that is no format of it"] = row_with { default_format = "jpeg" },
    ["a cost told never"] = row_with { cost_at = "never" },
    ["a path that leaves"] = row_with { path = "/v1/../../x" },
    ["a mask that is the picture"] = row_with { mask = { name = "picture" } },
  } do
    it("is refused with " .. what .. ", and edits nothing", function()
      local done, message = pcall(function() models.define("stranger", row) end)
      assert.is_false(done)
      assert.matches("41%-models_spec.lua:%d+: the model stranger: ", message)
      assert.is_nil((kontext.models "stranger"))
    end)
  end

  it("has no field of the name of a parameter of ours", function()
    for _, field in ipairs(fields.ours) do
      local row = row_with_field { name = field.name, type = "text" }
      local wrong = models.wrong(row)
      if field.name == "mask" then
        assert.is_nil(wrong) -- a model may have a mask of its own
      else
        assert.matches("has the name of a parameter of kontext's own", wrong, 1, true)
      end
    end
  end)

  it("may have a ratio and a URL without limits", function()
    local row = row_with { fields = { prompt, image, { name = "shape", type = "ratio" },
      { name = "call", type = "url" } } }
    models.define("shaped", row)
    local edit = { model = "shaped", prompt = "x", picture = picture, shape = "1:1",
      call = "https://a.b/c" }
    assert.equal(2.5, assert(kontext.estimate(edit)).credits)
    edit.shape = "9:1"
    assert.equal("invalid", select(3, kontext.estimate(edit)).kind)
  end)

  it("may be what another model is described as, under another name", function()
    for _, name in ipairs(models.names()) do
      if models.is_own(name) then
        assert.is_nil(models.wrong(models(name)), name)
        models.define("copy-of-" .. name:gsub("[^%w]", "-"), models(name))
      end
    end
  end)
end)

describe("the pictures of a list", function()
  local function refused(edit)
    edit.model, edit.prompt = "flux-3-image", "x"
    local done, message = pcall(kontext.estimate, edit)
    assert.is_false(done)
    return message
  end

  it("are wrong in a sentence that names what was given", function()
    assert.matches("images and input_image are both given",
      refused { images = { picture }, input_image = picture }, 1, true)
    assert.matches("input_image_3 is given and a picture before it is not",
      refused { input_image = picture, input_image_3 = picture }, 1, true)
    assert.matches("images[2] must be a string or table, not number",
      refused { images = { picture, 5 } }, 1, true)
  end)

  it("that are given twice under two names are refused for a single one too", function()
    local done, message = pcall(kontext.estimate, { model = "flux-tools/deblur-v1",
      image = picture, input_image = picture })
    assert.is_false(done)
    assert.matches("image and input_image are both given", message, 1, true)
  end)
end)

it("margins around a URL say that the canvas must be given", function()
  local done, message = pcall(function()
    local job = kontext.outpaint { input_image = "https://example.com/a.jpg", left = 3 }
    return job
  end)
  assert.is_false(done)
  assert.matches("41-models_spec.lua:", message, 1, true)
  assert.matches("give the width and height of the canvas", message, 1, true)
end)

describe("one budget", function()
  local server, client
  setup(function()
    server = support.start { ready_after = 0, seed = 7 }
    client = kontext.new { api_key = "k", base_url = server.url, poll_interval = 0.02, budget = 20 }
  end)
  teardown(function()
    client:close()
    server:stop()
  end)

  it("is shared by batches at the same time, and by short names of the model", function()
    local function edits(words)
      local list = {}
      for i = 1, 5 do
        list[i] = { prompt = words .. i, input_image = picture, seed = i,
          model = i % 2 == 0 and "pro" or nil }
      end
      return list
    end
    local first, second = client:batch(edits "one "), client:batch(edits "another ")
    local made, refused = 0, 0
    for _, batch in ipairs { first, second } do
      for _, result in ipairs(assert(batch:wait())) do
        if result.error then
          assert.equal("budget", result.error.kind)
          assert.is_false(result.error.charged)
          refused = refused + 1
        else
          made = made + 1
        end
      end
    end
    assert.same({ 5, 5 }, { made, refused })
    assert.equal(5, server:ledger().totals.submits)
    assert.equal(20, server:ledger().totals.charged)
  end)
end)
