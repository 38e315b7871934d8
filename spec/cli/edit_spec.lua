-- kontext edit: one picture, in steps and in versions, and where its result goes.
local command = require "spec.support.command"
local json = require "kontext.json"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"

local unpack = table.unpack or rawget(_G, "unpack") -- luacheck: ignore 143
local run = command.run
local done = command.done
local submits = command.submits
local refused = command.refused

describe("kontext edit #once", function()
  setup(sandbox.emulator)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

  it("edits a picture with one submit and prints where the result is", function()
    assert.equal("red.jpg\n", done("edit", "car.jpg", "Make it red", "-o", "red.jpg"))
    assert.equal(1, #submits())
    assert.same({ prompt = "Make it red", input_image = true, output_format = "jpeg" },
      submits()[1].params)
    local info = assert(kontext.check(sandbox.path "red.jpg"))
    assert.same({ 1248, 832, "jpeg" }, { info.width, info.height, info.format })
  end)

  it("sends each option as its parameter", function()
    local seed = "123456789012345678901"
    done("edit", "car.jpg", "p", "-o", "x.png", "--aspect", "1:1", "--seed", seed, "--safety", "0",
      "--upsample", "--model", "max", "--reference", "car.jpg", "--reference", "red.jpg")
    local submit = submits()[1]
    assert.equal("/v1/flux-kontext-max", submit.path)
    assert.matches('"seed":' .. seed .. "[,}]", sandbox.shell "curl -sS $BFL_BASE_URL/_ledger")
    submit.params.seed = nil
    assert.same({ prompt = "p", output_format = "png", aspect_ratio = "1:1", safety_tolerance = 0,
      prompt_upsampling = true, input_image = true, input_image_2 = true, input_image_3 = true },
      submit.params)
    local images = submit.images
    assert.equal(images.input_image.sha256, images.input_image_2.sha256)
    assert.is_truthy(images.input_image_3.sha256)
    assert.equal("png", assert(kontext.check(sandbox.path "x.png")).format)
  end)

  it("finds a name that no file has where none is given", function()
    assert.equal("car-edit.jpg\n", done("edit", "car.jpg", "p"))
    assert.equal("car-edit-2.jpg\n", done("edit", "car.jpg", "p"))
    sandbox.shell "mkfifo car-edit.png"
    assert.equal("car-edit-2.png\n", done("edit", "car.jpg", "p", "--format", "png"))
  end)

  it("reads standard input and writes standard output", function()
    local output = sandbox.shell(sandbox.command("bin/kontext", "edit", "-", "p", "-o", "-")
      .. " <car.jpg >piped.jpg")
    assert.equal("", output)
    assert.equal(1248, assert(kontext.check(sandbox.path "piped.jpg")).width)
    output = sandbox.shell("echo Make it red | "
      .. sandbox.command("bin/kontext", "edit", "car.jpg", "-", "-o", "from-stdin.jpg"))
    assert.equal("from-stdin.jpg\n", output)
    assert.equal("Make it red\n", submits()[2].params.prompt)
  end)

  it("tells machines all that is known of the picture", function()
    local told = json.decode(done("edit", "car.jpg", "p", "-o", "j.jpg", "--seed", "7", "--json"))
    assert.same({ "j.jpg", "jpeg", 1248, 832, 7 },
      { told.path, told.format, told.width, told.height, told.seed })
    assert.equal(#sandbox.read "j.jpg", told.bytes)
    assert.matches("^%x+%-", told.id)
  end)

  it("ends with the exit code of the kind of error, in one sentence, and for machines", function()
    for words, code in pairs {
      ["request moderated"] = 9, ["content moderated"] = 9, ["error"] = 10, ["out of credits"] = 7,
    } do
      local output, errors, exit = run("edit", "car.jpg", "[emulate: " .. words .. "]", "--json")
      assert.equal(code, exit, words)
      assert.matches("^kontext: [^\n]+\n$", errors)
      local told = json.decode(output)
      assert.equal(errors, "kontext: " .. told.message .. "\n")
    end
  end)

  it("gives what goes on with an edit that did not end in time", function()
    local output, errors, code = run("edit", "car.jpg", "[emulate: slow 4]", "--timeout", "3",
      "-o", "late.jpg", "--json")
    assert.equal(15, code)
    local token = json.decode(output).token
    assert.matches("kontext resume '" .. token .. "'", errors, 1, true)
    assert.equal("late.jpg\n", done("resume", token))
    assert.equal(1248, assert(kontext.check(sandbox.path "late.jpg")).width)
    assert.equal("again.jpg\n", done("resume", token, "-o", "again.jpg"))
    assert.equal(sandbox.read "late.jpg", sandbox.read "again.jpg")
    assert.equal(1, #submits())
  end)

  it("edits the result of each prompt with the next one", function()
    assert.equal("steps-1.jpg\nsteps-2.jpg\n", done("edit", "car.jpg", "remove the hat",
      "now it snows", "-o", "steps.jpg"))
    local first, second = submits()[1], submits()[2]
    assert.equal("now it snows", second.params.prompt)
    assert.not_equal(first.images.input_image.sha256, second.images.input_image.sha256)
    assert.equal(second.images.input_image.sha256, command.digest("steps-1.jpg"):match "%x+")
    assert.equal(2, #submits())
  end)

  it("ends after the step that fails, and gives back the names of the others", function()
    local output, errors, code = run("edit", "car.jpg", "remove the hat",
      "now [emulate: request moderated]", "and it snows")
    assert.equal(9, code)
    assert.matches("step 2 of 3", errors, 1, true)
    assert.equal("car-edit-1.jpg\n", output)
    assert.equal("car-edit-1.jpg\n", (sandbox.shell "ls car-edit-?.jpg | grep -v edit-2; true"))
    assert.equal(2, #submits())
    -- The same again pays for the step that failed, and not for the one that did not.
    output = run("edit", "car.jpg", "remove the hat", "now [emulate: request moderated]",
      "and it snows")
    assert.equal("car-edit-1.jpg\n", output)
    assert.equal(3, #submits())
    sandbox.shell "rm .state/kontext/edit-steps-*"
  end)

  it("goes on with the steps that a kill has left, and pays for none twice", function()
    sandbox.shell "cp car.jpg steps.jpg"
    local words = { "edit", "steps.jpg", "remove the hat", "now [emulate: slow 3] it snows",
      "it is night" }
    command.ended_by("KILL", 2, false, unpack(words))
    assert.equal(2, #submits())
    local output, errors, code = run(unpack(words))
    assert.equal("steps-edit-1.jpg\nsteps-edit-2.jpg\nsteps-edit-3.jpg\n", output)
    assert.equal("kontext: step 1 was made by an earlier run\n", errors)
    assert.equal(0, code)
    assert.equal(3, #submits())
    assert.equal(command.digest "steps-edit-2.jpg":match "%x+",
      submits()[3].images.input_image.sha256)
    assert.equal("3\n", (sandbox.shell "ls steps-edit-* | wc -l"))
    assert.equal("", (sandbox.shell "ls .state/kontext"))
    -- What is done is done: the next run is another edit.
    assert.matches("^steps%-edit%-2%-1.jpg\n", done("edit", "steps.jpg", "remove the hat",
      "it snows"))
  end)

  it("keeps what steps were made while resume fetches the one that was under way", function()
    sandbox.shell "cp car.jpg kept.jpg"
    local words = { "edit", "kept.jpg", "remove the hat", "now [emulate: slow 3] it snows",
      "it is night", "--json" }
    local _, code = command.ended_by("INT", 2, false, unpack(words))
    assert.equal(130, code)
    local output, errors = run "resume"
    assert.equal("kept-edit-2.jpg\n", output)
    assert.matches("2 of 3 steps are made: the same edit again", errors, 1, true)
    output = run(unpack(words))
    local made = {}
    for line in output:gmatch "[^\n]+" do made[#made + 1] = json.decode(line) end
    assert.same({ "kept-edit-1.jpg", "kept-edit-2.jpg", "kept-edit-3.jpg" },
      { made[1].path, made[2].path, made[3].path })
    for _, image in ipairs(made) do assert.equal(1248, image.width) end
    assert.equal(3, #submits())
    assert.equal("", (sandbox.shell "ls .state/kontext"))
  end)

  it("does not send a step again that may have been paid for", function()
    sandbox.shell "cp car.jpg doubt.jpg"
    local words = { "edit", "doubt.jpg", "remove the hat", "now [emulate: lost answer]",
      "it is night", "--journal", "steps-doubt" }
    for _ = 1, 2 do
      local _, errors, code = run(unpack(words))
      assert.equal(18, code)
      assert.matches("step 2 of 3 was the last one", errors, 1, true)
    end
    assert.equal(2, #submits())
    local _, errors = run(unpack(words))
    assert.matches("step 2 was sent by an earlier run, but no answer to it was noted: it may have "
      .. "been paid for; look at your account, then forget it, to pay again: kontext jobs --forget "
      .. "steps-doubt", errors, 1, true)
  end)

  it("makes versions with seeds that follow on the given one", function()
    assert.equal("version-1.jpg\nversion-2.jpg\nversion-3.jpg\n", done("edit", "car.jpg", "p",
      "--count", "3", "--seed", "7", "-o", "version.jpg"))
    local seeds = {}
    for _, submit in ipairs(submits()) do seeds[submit.params.seed] = true end
    assert.same({ [7] = true, [8] = true, [9] = true }, seeds)
  end)

  it("pays nothing for a result that could not be saved", function()
    sandbox.shell "mkdir dir"
    for _, name in ipairs { "nodir/o.jpg", "o.jpg/", "dir", "/proc/x.jpg", "/dev/full",
      ("x"):rep(300) .. ".jpg" } do
      refused(5, "nothing was sent", "edit", "car.jpg", "p", "-o", name)
    end
    refused(5, "nothing was sent", "batch", "--prompt", "p", "-d", "nodir", "car.jpg")
  end)

  it("never replaces the picture that is edited, whatever it is called", function()
    local before = command.digest "car.jpg"
    sandbox.shell "ln car.jpg hard.jpg; ln -s car.jpg soft.jpg"
    for _, name in ipairs { "car.jpg", "./car.jpg", "hard.jpg", "soft.jpg" } do
      refused(3, "is the picture that is edited", "edit", "car.jpg", "p", "-o", name)
    end
    refused(3, "is the picture that is edited", "edit", "red.jpg", "p", "--reference", "car.jpg",
      "-o", "hard.jpg")
    assert.equal(before, command.digest "car.jpg")
    sandbox.shell "cp car.jpg own.jpg"
    done("edit", "own.jpg", "p", "-o", "own.jpg", "--force")
    assert.not_equal(before, command.digest "own.jpg")
    sandbox.shell "rm hard.jpg soft.jpg"
  end)

  it("gives runs at the same time names of their own", function()
    sandbox.shell "cp car.jpg twin.jpg"
    local output = sandbox.shell("for i in 1 2 3 4; do "
      .. sandbox.command("bin/kontext", "edit", "twin.jpg", "[emulate: slow 1]") .. " & done; wait")
    local names = {}
    for name in output:gmatch "[^\n]+" do names[#names + 1] = name end
    table.sort(names)
    assert.same({ "twin-edit-2.jpg", "twin-edit-3.jpg", "twin-edit-4.jpg", "twin-edit.jpg" }, names)
    assert.equal(4, #submits())
    for _, name in ipairs(names) do
      assert.equal(1248, assert(kontext.check(sandbox.path(name))).width)
    end
  end)

  it("leaves no empty file and no journal behind an edit that fails", function()
    sandbox.shell "cp car.jpg failing.jpg"
    run("edit", "failing.jpg", "[emulate: error]")
    assert.equal("", (sandbox.shell "ls failing-edit* 2>/dev/null"))
    assert.equal("", (sandbox.shell "ls .state/kontext"))
  end)
end)
