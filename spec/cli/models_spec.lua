-- kontext models, and edits by other models than Kontext from the command line.
local command = require "spec.support.command"
local core = require "kontext.core"
local json = require "kontext.json"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"

local unpack = table.unpack or rawget(_G, "unpack") -- luacheck: ignore 143
local run = command.run
local done = command.done
local submits = command.submits
local refused = command.refused

-- Returns what the emulator has charged since `forget`.
local function charged()
  return sandbox.emulator():ledger().totals.charged
end

describe("kontext models #once", function()
  setup(function()
    sandbox.emulator()
    sandbox.write("mask.png", assert(core.repaint { width = 1248, height = 832, format = "png",
      seed = 1 }))
  end)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

  it("lists every model, and for programs all that is known of each", function()
    local _, lines = done "models":gsub("\n", "")
    assert.equal(#kontext.models(), lines)
    local names = {}
    for line in done("models", "--json"):gmatch "[^\n]+" do
      local told = json.decode(line)
      names[#names + 1] = told.name
      assert.equal(kontext.models(told.name).path, told.path)
      assert.equal(#kontext.models(told.name).fields, #told.fields)
    end
    assert.same(kontext.models(), names)
    assert.matches("\n  guidance +number, 1.5 to 10, default 5\n", done("models", "flux-2-flex"))
    assert.same({ "max" }, json.decode(done("models", "max", "--json")).aliases)
    refused(3, 'there is no model "flux%-9"', "models", "flux-9")
    assert.equal(0, #sandbox.emulator():requests())
  end)

  it("edits by each model with its own fields, and names the file as the format is", function()
    assert.equal("car-edit.jpg\n", done("edit", "car.jpg", "p", "--model", "flux-2-flex", "--set",
      "guidance=4.5", "--set", "prompt_upsampling=no", "--set", "width=512", "--set", "height=256"))
    assert.equal("car-edit.webp\n", done("edit", "car.jpg", "p", "--model", "flux-2-pro",
      "--format", "webp"))
    assert.equal("car-edit.png\n", done("edit", "car.jpg", "p", "--model", "flux-3-image",
      "--reference", "car.jpg", "--set", "resolution=1k"))
    assert.equal("worn.jpg\n", done("edit", "car.jpg", "p", "--model", "flux-tools/vto-v2",
      "--set", "garment=mask.png", "-o", "worn.jpg"))
    local sent = submits()
    assert.same({ prompt = "p", input_image = true, guidance = 4.5, prompt_upsampling = false,
      width = 512, height = 256, output_format = "jpeg" }, sent[1].params)
    assert.same({ prompt = "p", images = { true, true }, resolution = "1k" }, sent[3].params)
    assert.is_true(sent[4].params.garment)
    assert.equal("webp", assert(kontext.check(sandbox.path "car-edit.webp")).format)
    assert.equal(512, assert(kontext.check(sandbox.path "car-edit.jpg")).width)
  end)

  it("erases and paints around a picture", function()
    assert.equal("clean.png\n", done("erase", "car.jpg", "mask.png", "-o", "clean.png", "--set",
      "dilate_pixels=3"))
    assert.equal("wide.png\n", done("outpaint", "car.jpg", "a beach", "--left", "64", "--bottom",
      "32", "-o", "wide.png"))
    local sent = submits()
    assert.equal("/v1/flux-tools/erase-v1", sent[1].path)
    assert.same({ image = true, mask = true, dilate_pixels = 3, output_format = "png" },
      sent[1].params)
    assert.same({ 1312, 864, 64, 0, "a beach" }, { sent[2].params.width, sent[2].params.height,
      sent[2].params.reference_offset_x, sent[2].params.reference_offset_y, sent[2].params.prompt })
    local wide = assert(kontext.check(sandbox.path "wide.png"))
    assert.same({ 1312, 864 }, { wide.width, wide.height })
    refused(3, "%-%-left, %-%-right", "outpaint", "car.jpg")
    refused(4, "they must have the same size", "erase", "wide.png", "mask.png")
    refused(3, "mask.png is the picture that is edited: ", "erase", "car.jpg", "mask.png", "-o",
      "mask.png")
  end)

  it("edits without words by a model that takes none, one or many", function()
    assert.equal("sharp.png\n", done("edit", "car.jpg", "--model", "flux-tools/deblur-v1", "-o",
      "sharp.png"))
    sandbox.shell "mkdir many; cp car.jpg many/a.jpg; cp car.jpg many/b.jpg"
    local output = done("batch", "many/a.jpg", "many/b.jpg", "--model", "flux-tools/deblur-v1")
    assert.equal(2, select(2, output:gsub("many/[ab]%-edit%.png\n", "")))
    assert.equal(3, #submits())
    refused(2, "takes no prompt: leave 'make it sharp' out", "edit", "car.jpg", "make it sharp",
      "--model", "flux-tools/deblur-v1")
    refused(3, "%-%-prompt: flux%-tools/deblur%-v1 has no such field", "batch", "--prompt", "p",
      "car.jpg", "--model", "flux-tools/deblur-v1")
    refused(2, "missing argument 'prompt'", "edit", "car.jpg", "--model", "flux-2-pro")
    refused(2, "no prompt says what to change", "batch", "car.jpg", "--model", "flux-2-pro")
  end)

  it("refuses in the command's own words what a model does not take", function()
    refused(3, "%-%-seed: flux%-3%-image has no such field", "edit", "car.jpg", "p", "--model",
      "flux-3-image", "--seed", "4")
    refused(3, "%-%-set guidance: flux%-kontext%-pro has no such field", "edit", "car.jpg", "p",
      "--set", "guidance=4")
    refused(3, "guidance is 14: it must be a number from 1.5 to 10", "edit", "car.jpg", "p",
      "--model", "flux-2-flex", "--set", "guidance=14")
    refused(3, "garment is missing", "edit", "car.jpg", "p", "--model", "flux-tools/vto-v2")
    refused(3, 'did you mean "flux%-2%-pro"', "edit", "car.jpg", "p", "--model", "flux-2-pr0")
    refused(2, "no model has a field promt", "edit", "car.jpg", "p", "--set", "promt=x")
    refused(2, "no model has a field save_as", "edit", "car.jpg", "p", "--set", "save_as=x")
    refused(2, "'x' is no NAME=VALUE", "edit", "car.jpg", "p", "--set", "x")
  end)

  it("tells beforehand what the emulator then charges, for chains too", function()
    sandbox.write("list", [[
{"input_image":"car.jpg","prompt":"base","key":"base","save_as":"base.jpg"}
{"input_image":{"result":"base"},"prompt":"x","key":"../x","model":"flux-2-pro"}
{"input_image":{"result":"../x"},"prompt":"y","model":"flux-2-max","save_as":"y.webp"}
{"images":["car.jpg",{"result":"base"}],"prompt":"z","model":"flux-3-image"}
{"input_image":"car.jpg","width":1400,"height":900,"model":"flux-tools/outpainting-v1"}
]])
    for _, words in ipairs {
      { "edit", "car.jpg", "p", "--model", "flux-2-max", "--count", "3" },
      { "edit", "car.jpg", "a b", "c d", "--model", "flux-2-pro" },
      { "edit", "car.jpg", "p", "--model", "flux-3-image", "--set", "resolution=2k" },
      { "erase", "car.jpg", "mask.png" },
      { "outpaint", "car.jpg", "--left", "500", "--top", "100" },
      { "batch", "list", "-d", "." },
    } do
      local dry = { unpack(words) }
      dry[#dry + 1], dry[#dry + 2] = "--dry-run", "--json"
      local output, errors, code = run(unpack(dry))
      assert.equal(0, code, errors)
      local told = json.decode(output)
      assert.equal(0, #submits())
      _, errors, code = run(unpack(words))
      assert.equal(0, code, errors)
      assert.near(told.credits, charged(), 1e-6)
      assert.equal(told.edits, #submits())
      sandbox.emulator():forget()
    end
    refused(22, "the edit would cost 4 credits", "edit", "car.jpg", "p", "--budget", "3.9")
    assert.equal(22, (select(3, run("edit", "car.jpg", "p", "--budget", "3.9", "--dry-run"))))
  end)

  it("names a result by its key where it has no picture of its own", function()
    sandbox.write("list", [[
{"input_image":"car.jpg","prompt":"base","key":"b"}
{"input_image":{"result":"b"},"prompt":"x","key":"../up"}
{"input_image":{"result":"../up"},"prompt":"y"}
]])
    sandbox.shell "mkdir out"
    done("batch", "list", "-d", "out")
    assert.equal("_up-edit.jpg\nb-edit.jpg\ncar-edit.jpg\n", (sandbox.shell "ls out"))
  end)

  it("refuses a list whose results cannot be had, before anything is sent", function()
    for text, pattern in pairs {
      ['{"input_image":{"result":"bse"},"prompt":"p","key":"a"}'] =
        'list:1: takes the result of "bse", and no item has that key',
      ['{"input_image":{"result":"a"},"prompt":"p","key":"a"}'] =
        'list:1: takes its own result "a"',
      ['{"input_image":{"result":"b"},"prompt":"p","key":"a"}\n'
        .. '{"input_image":{"result":"a"},"prompt":"p","key":"b"}'] = "wait for each other",
      ['{"input_image":"car.jpg","prompt":"p","key":"a"}\n'
        .. '{"prompt":"p","key":"a"}'] = "list:1 and list:2 have the same key",
    } do
      sandbox.write("list", text)
      refused(3, pattern, "batch", "list")
    end
  end)
end)
