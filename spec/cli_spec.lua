-- The command, run as a program against the emulator, and what the emulator saw of it.
local json = require "kontext.json"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"

local service

-- Runs the command with these words; returns standard output, standard error and the exit code.
local function run(...)
  local output, code = sandbox.shell(sandbox.command("bin/kontext", ...) .. " 2>stderr")
  return output, sandbox.read "stderr", code
end

-- Runs the command and returns its standard output; it must have done what was asked.
local function done(...)
  local output, errors, code = run(...)
  assert.equal("", errors)
  assert.equal(0, code)
  return output
end

-- Returns the submits that the emulator has seen since `forget`.
local function submits()
  return service:requests("POST", "^/v1/flux")
end

-- Asserts an exit code and one sentence on standard error, and nothing sent.
local function refused(code, pattern, ...)
  service:forget()
  local output, errors, exit = run(...)
  assert.equal("", output)
  assert.equal(code, exit, errors)
  assert.matches("^kontext: [^\n]*" .. pattern .. "[^\n]*\n$", errors)
  assert.equal(0, #service:requests())
end

describe("the command", function()
  setup(function() service = sandbox.emulator() end)
  before_each(function() service:forget() end)
  teardown(sandbox.close)

  it("refuses before anything is sent what can be known here", function()
    refused(2, "a command is required")
    refused(2, "unknown command 'edti'; Did you mean 'edit'", "edti")
    refused(2, "missing argument .prompt.", "edit", "car.jpg")
    refused(2, "'x' is not a number", "edit", "car.jpg", "p", "--timeout", "x")
    refused(3, "prompt is empty", "edit", "car.jpg", " ")
    refused(3, "aspect_ratio", "edit", "car.jpg", "p", "--aspect", "9:1")
    refused(3, "seed", "edit", "car.jpg", "p", "--seed", "1.5")
    refused(3, "output_format", "edit", "car.jpg", "p", "-o", "a.jpg", "--format", "png")
    refused(3, "base_url", "edit", "car.jpg", "p", "--base-url", "ftp://x")
    refused(5, "no%-such%.jpg", "edit", "no-such.jpg", "p")
    refused(4, "stderr is ", "edit", "stderr", "p")
  end)

  it("refuses a token that is not whole", function()
    refused(3, "token", "resume", "kontext1:id=a")
    refused(2, "a token or %-%-journal", "resume")
  end)

  it("tells what pictures are, each in a line, and sends nothing", function()
    local output, errors, code = run("check", "car.jpg", "stderr", "no-such.jpg", "car.jpg")
    local line = "car.jpg: jpeg, 1248 x 832 (1.0 MP), "
    assert.equal(line, output:sub(1, #line))
    assert.equal(2, select(2, output:gsub("\n", "")))
    assert.equal(2, select(2, errors:gsub("kontext: [^\n]+\n", "")))
    assert.equal(4, code) -- the first error's
    local told = json.decode(done("check", "car.jpg", "--json"))
    assert.same({ 1248, 832, 1248 }, { told.width, told.height, told.output_width })
    assert.equal(0, #service:requests())
  end)

  it("tells a result's size of a ratio, a size and a file", function()
    assert.equal("1392x752\n", done("size", "16:9"))
    assert.equal("1248x832\n", done("size", "2048x1365"))
    assert.equal("1248x832\n", done("size", "car.jpg"))
    assert.equal('{"width":1392,"height":752}\n', done("size", "16:9", "--json"))
    refused(3, "is no ratio", "size", "9:1")
    refused(5, "no%-such", "size", "no-such.jpg")
  end)

  it("tells the credits", function()
    assert.matches("^%d+\n$", done "credits")
    assert.matches('^{"credits":%d+}\n$', done("credits", "--json"))
    assert.equal(2, #service:requests("GET", "^/v1/credits$"))
  end)

  it("documents its exit codes where it documents itself", function()
    local help = done "--help"
    for _, row in ipairs(require "kontext.cli".codes) do
      assert.matches(("\n  %3d  %-12s  %s"):format(row[1], row[2], row[3]), help, 1, true)
    end
  end)

  it("tells its version", function()
    assert.matches("^kontext %d+%.%d+[^\n]+libcurl %d[^\n]+\n$", done "--version")
  end)
end)

describe("the command #once", function()
  setup(function() service = sandbox.emulator() end)
  before_each(function() service:forget() end)
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
    local ledger = service:curl(service.url .. "/_ledger")
    assert.matches('"seed":' .. seed .. "[,}]", ledger)
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
    assert.equal("car-edit.png\n", done("edit", "car.jpg", "p", "--format", "png"))
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

  it("tells a key that is missing from one that is wrong", function()
    refused(6, "BFL_API_KEY", "credits", "--base-url", "https://api.bfl.ai")
    local output, code = sandbox.shell("BFL_API_KEY=bad "
      .. sandbox.command("bin/kontext", "edit", "car.jpg", "p"))
    assert.equal(6, code)
    assert.matches("refuses the API key", output, 1, true)
    assert.not_matches("bad", output, 1, true)
  end)

  it("gives what goes on with an edit that did not end in time", function()
    local output, errors, code = run("edit", "car.jpg", "[emulate: slow 2]", "--timeout", "1",
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

  it("loses nothing to Ctrl-C", function()
    local command = sandbox.command("bin/kontext", "edit", "car.jpg", "[emulate: slow 3]", "--json",
      "-o", "interrupted.jpg")
    local output, code = sandbox.shell("timeout -s INT 1.5 " .. command .. " 2>/dev/null")
    assert.is_true(code == 130 or code == 124, "exit code " .. code)
    local told = json.decode(output)
    assert.equal("interrupted", told.error)
    assert.equal("interrupted.jpg\n", done("resume", told.token))
    assert.equal(1, #submits())
  end)

  it("serves the emulator until it is told to end", function()
    local output, code = sandbox.shell("timeout 2 "
      .. sandbox.command("bin/kontext", "emulator", "--ready-after", "0") .. " >emulated & pid=$!; "
      .. "for i in 1 2 3 4 5 6 7 8 9; do [ -s emulated ] || sleep 0.1; done; "
      .. "curl -sS -o /dev/null -w '%{http_code}' -H 'x-key: k' $(head -1 emulated)/v1/credits; "
      .. "wait $pid")
    assert.equal("200", output)
    assert.is_true(code == 0 or code == 124)
  end)
end)
