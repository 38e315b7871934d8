-- --region, --mask, --keep-exif and --strip of edit and batch.
local command = require "spec.support.command"
local core = require "kontext.core"
local emulators = require "spec.support.emulator"
local json = require "kontext.json"
local pictures = require "spec.support.pictures"
local sandbox = require "spec.support.sandbox"

local run, done = command.run, command.done
local submits, refused = command.submits, command.refused

local width, height = 1500, 1100
local painted

-- Writes a photograph with an author's name into the sandbox.
local function photograph(name)
  painted = painted or assert(core.repaint { width = width, height = height, format = "png",
    seed = 3 })
  local author = pictures.chunk("tEXt", "Author\0Somebody")
  local file = assert(io.open(sandbox.path(name), "wb"))
  file:write(painted:sub(1, 33), author, painted:sub(34))
  file:close()
end

-- Writes a mask that is white from about 100, 200 to 400, 500.
local function mask(name)
  local black = "\0" .. ("\0"):rep(15 * 3)
  local white = "\0" .. ("\0"):rep(3) .. ("\255"):rep(9) .. ("\0"):rep(11 * 3)
  local small = pictures.whole_png(15, 11, black:rep(2) .. white:rep(3) .. black:rep(6))
  local file = assert(io.open(sandbox.path(name), "wb"))
  file:write((assert(core.thumbnail({ bytes = small }, width, height, "png"))))
  file:close()
end

local function size(name)
  local known = assert(core.check({ path = sandbox.path(name) }, {}))
  return known.format .. " " .. known.width .. "x" .. known.height
end

describe("kontext with a part of a picture #once", function()
  setup(function()
    sandbox.emulator()
    photograph "photo.png"
    mask "mask.png"
  end)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

  local prompt = "Make it red [emulate: shifted 2]"

  it("changes it alone, and tells machines where it is and how the answer lay", function()
    local told = json.decode(done("edit", "photo.png", prompt, "--region", "30%,200,600,400",
      "--json"))
    assert.equal("photo-edit.png", told.path)
    assert.equal("png 1500x1100", size "photo-edit.png")
    assert.same({ x = 450, y = 200, width = 600, height = 400 }, told.region)
    assert.is_true(told.window.width < width and told.window.x <= 450)
    assert.is_true(told.match > 0.8 and told.match <= 1, told.match)
    assert.is_true(math.abs(told.shift.x - 2) < 0.3 and math.abs(told.shift.y - 2) < 0.3)
    assert.equal(1, #submits())
    local other = json.decode(done("edit", "photo.png", "p", "-o", "whole.png", "--json"))
    assert.is_nil(other.window)
  end)

  it("changes what a mask is white at, from another folder too", function()
    local path = sandbox.path "photo.png"
    assert.equal("masked.png\n", done("edit", path, prompt, "--mask", "mask.png", "-o",
      "masked.png"))
    assert.equal("png 1500x1100", size "masked.png")
  end)

  it("gives a picture without a margin no match, says so, and keeps the answer", function()
    local output, errors, code = run("edit", "photo.png", prompt, "--region", "0,0,100%,100%",
      "-o", "all.png", "--json")
    assert.equal(0, code, errors)
    local told = json.decode(output)
    assert.same({ x = 0, y = 0, width = width, height = height }, told.region)
    assert.is_nil(told.match)
    assert.is_nil(told.shift)
    assert.matches("no margin", errors)
    assert.equal("png", core.sniff(sandbox.read "all-answer.png"))
  end)

  it("keeps metadata, or none, or what names nobody", function()
    local with = { { false, {} }, { true, { "--keep-exif", "no" } }, { true, { "--strip" } } }
    for i, case in ipairs(with) do
      local name = "kept-" .. i .. ".png"
      done("edit", "photo.png", prompt, "--region", "30%,200,600,400", "-o", name,
        case[2][1], case[2][2])
      assert.equal(case[1], sandbox.read(name):find("Somebody", 1, true) == nil)
    end
    -- A whole picture is stripped before the upload.
    sandbox.emulator():forget()
    done("edit", "photo.png", "p", "--strip", "-o", "stripped.png")
    assert.equal(emulators.sha256(painted), submits()[1].images.input_image.sha256)
  end)

  it("refuses a part that is none, or both, before it pays", function()
    refused(2, "neither X,Y,W,H", "edit", "photo.png", "p", "--region", "middle")
    refused(3, "outside", "edit", "photo.png", "p", "--region", "1500,0,9,9")
    refused(3, "both given", "edit", "photo.png", "p", "--region", "1,1,9,9", "--mask", "mask.png")
    refused(3, "is no PNG", "edit", "photo.png", "p", "--mask", "car.jpg")
    refused(3, "keep_metadata is for", "edit", "photo.png", "p", "--keep-exif", "yes")
  end)

  it("is told for each picture of a batch, whose list may name its own", function()
    photograph "two.png"
    local file = assert(io.open(sandbox.path "list.jsonl", "w"))
    file:write('{"input_image":"photo.png","prompt":"', prompt, '","save_as":"a.png",',
      '"region":{"x":450,"y":200,"width":600,"height":400}}\n',
      '{"input_image":"two.png","prompt":"', prompt, '","save_as":"b.png","mask":"mask.png"}\n',
      '{"input_image":"two.png","prompt":"', prompt, '","save_as":"c.png"}\n')
    file:close()
    local told = {}
    local output = done("batch", "list.jsonl", "--region", "10%,10%,30%,30%", "--json")
    for line in output:gmatch "[^\n]+" do
      local one = json.decode(line)
      told[one.path] = one
    end
    assert.same({ x = 450, y = 200, width = 600, height = 400 }, told["a.png"].region)
    local masked = told["b.png"].region
    assert.is_true(masked.x < 110 and masked.y > 90 and masked.width < 450, masked.x)
    assert.same({ x = 150, y = 110, width = 450, height = 330 }, told["c.png"].region)
    for _, one in pairs(told) do
      assert.is_true(one.match > 0.7 and one.window.width < width)
    end
    assert.equal(3, #submits())
    -- The same command again pays for nothing.
    done("batch", "list.jsonl", "--region", "10%,10%,30%,30%", "--json", "--quiet")
    assert.equal(3, #submits())
  end)
end)
