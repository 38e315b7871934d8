-- Each example, run as its first lines say, against the emulator; and what the emulator saw of it.
local core = require "kontext.core"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"

-- Runs an example; returns what it printed and the bodies of its submits.
local function run(name, ...)
  local service = sandbox.emulator()
  service:forget()
  local output, code = sandbox.file("examples/" .. name, ...)
  assert.equal(0, code, output)
  return output, service:requests("POST", "^/v1/flux%-kontext%-pro")
end

-- Returns the digest by which the emulator's ledger knows a picture.
local function digest_of(name)
  local file = assert(io.open(sandbox.path(name), "rb"))
  local digest = core.sha256(file:read "*a"):gsub(".", function(char)
    return ("%02x"):format(char:byte())
  end)
  file:close()
  return digest
end

local function size_of(name)
  local info = assert(kontext.check(sandbox.path(name)))
  return info.width .. "x" .. info.height
end

describe("the example #once", function()
  teardown(sandbox.close)

  it("edit.lua edits a picture once and tells its progress", function()
    local output, submits = run("edit.lua", "car.jpg", "Make it red", "red.jpg")
    assert.equal(1, #submits)
    local seed = output:match "uploading.*pending.*downloading.*red.jpg: 1248 x 832, seed (.*)\n"
    -- The service tells the seed in some answers only, and the emulator does as it does.
    assert.is_true(seed == "not told" or tonumber(seed) ~= nil, output)
    assert.equal("1248x832", size_of "red.jpg")
  end)

  it("region.lua changes a part of a picture that stays as large as it was", function()
    local before = size_of "car.jpg"
    local output, submits = run("region.lua", "car.jpg", "Make it red [emulate: shifted 1]",
      "30%,30%,30%,30%", "door.jpg")
    assert.equal(1, #submits)
    assert.truthy(output:find("door.jpg: .* match [01]%.%d%d\n"), output)
    assert.equal(before, size_of "door.jpg")
  end)

  it("text.lua asks for the new text in the guide's words", function()
    local output, submits = run("text.lua", "car.jpg", "joy", "BFL", "bfl.jpg")
    assert.equal("Replace 'joy' with 'BFL'", submits[1].params.prompt)
    assert.equal(1, #submits)
    assert.equal("Replace 'joy' with 'BFL'\nbfl.jpg\n", output)
    assert.equal("1248x832", size_of "bfl.jpg")
  end)

  it("iterate.lua makes three edits, each of the picture before", function()
    local output, submits = run("iterate.lua", "car.jpg", "step")
    assert.equal(3, #submits)
    assert.equal("step-1.jpg\nstep-2.jpg\nstep-3.jpg\n", output)
    local before = "car.jpg"
    for i, submit in ipairs(submits) do
      assert.equal(digest_of(before), submit.images.input_image.sha256)
      before = ("step-%d.jpg"):format(i)
    end
    assert.equal("1248x832", size_of(before))
  end)

  it("many.lua makes twenty edits, each once", function()
    local output, submits = run("many.lua", "car.jpg", "Make it red", ".")
    assert.equal(20, #submits)
    assert.equal("20 of 20 made\n", output)
    local seeds = {}
    for _, submit in ipairs(submits) do seeds[submit.params.seed] = true end
    for seed = 1, 20 do assert.is_true(seeds[seed]) end
    for seed = 1, 20 do assert.equal("1248x832", size_of(("seed-%02d.jpg"):format(seed))) end
  end)

  it("coroutine.lua runs two chains of two side by side", function()
    local output, submits = run("coroutine.lua", "car.jpg", ".")
    assert.equal(4, #submits)
    -- Side by side: both are half done before either has ended.
    assert.matches("is half done.*is half done.*%.jpg", output)
    for _, name in ipairs { "winter.jpg", "summer.jpg" } do
      assert.equal("1248x832", size_of(name))
    end
  end)
end)
