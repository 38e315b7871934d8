-- The command, run as a program against the emulator, and what the emulator saw of it.
local json = require "kontext.json"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"

local unpack = table.unpack or rawget(_G, "unpack") -- luacheck: ignore 143

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

-- Returns the emulator's ledger as it was sent, every digit there.
local function service_text()
  return (sandbox.shell("curl -sS $BFL_BASE_URL/_ledger"))
end

-- Runs the command with these words and interrupts it once `accepted` tasks are known to it;
-- returns what it wrote (standard error only where `both` is set) and the exit code. It is timeout
-- that gets the signal and hands it on: a shell's background job ignores it.
local function interrupted(accepted, both, ...)
  return sandbox.shell(("timeout 60 %s%s & job=$!; for i in $(seq 200); do "
    .. "curl -sS $BFL_BASE_URL/_ledger | grep -q '\"accepted\":%d[,}]' && break; sleep 0.1; done; "
    .. "sleep 0.5; kill -INT $job; wait $job"):format(sandbox.command("bin/kontext", ...),
    both and "" or " 2>/dev/null", accepted))
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
    refused(3, "base_url", "edit", "car.jpg", "p", "--base-url", "ftp://x")
    refused(5, "no%-such%.jpg", "edit", "no-such.jpg", "p")
    refused(4, "stderr is ", "edit", "stderr", "p")
  end)

  it("refuses a token that is not whole", function()
    refused(3, "token", "resume", "kontext1:id=a")
    refused(2, "resume takes a token", "resume")
    refused(2, "resume takes a token", "resume", "x", "--journal", "y")
  end)

  it("tells what pictures are, each in a line, and sends nothing", function()
    local output, errors, code = run("check", "car.jpg", "stderr", "no-such.jpg", "car.jpg")
    local line = "car.jpg: jpeg, 1248 x 832 (1.0 MP), "
    assert.equal(line, output:sub(1, #line))
    assert.equal(2, select(2, output:gsub("\n", "")))
    assert.equal(2, select(2, errors:gsub("kontext: [^\n]+\n", "")))
    assert.equal(4, code, errors) -- the first error's
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
    assert.matches('"seed":' .. seed .. "[,}]", service_text())
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

  it("edits many pictures with one prompt, each under a name of its own", function()
    sandbox.shell "mkdir batch"
    local output = done("batch", "--prompt", "Make it red", "-d", "batch", "car.jpg", "car.jpg",
      "red.jpg", "--seed", "5")
    local paths = {}
    for path in output:gmatch "[^\n]+" do paths[path] = true end
    assert.same({ ["batch/car-edit.jpg"] = true, ["batch/car-edit-2.jpg"] = true,
      ["batch/red-edit.jpg"] = true }, paths)
    assert.equal(3, #submits())
    for _, submit in ipairs(submits()) do
      assert.same({ prompt = "Make it red", seed = 5, input_image = true, output_format = "jpeg" },
        submit.params)
    end
  end)

  it("runs a list, and again without paying for what is there", function()
    sandbox.write("list", [[
{"input_image":"car.jpg","prompt":"Make it red","save_as":"list-red.jpg","seed":9007199254740993}

{"input_image":"car.jpg","prompt":"Make it blue","save_as":"list-blue.png","key":"blue"}
{"input_image":"car.jpg","prompt":"Make it green [emulate: content moderated]"}
{"input_image":"no-such.jpg","prompt":"Make it white"}
]])
    local words = { "batch", "list", "--journal", "journal", "--aspect", "1:1", "--json" }
    local output, errors, code = run(unpack(words))
    assert.equal(5, code) -- the first error's: a missing file is known at once
    assert.matches("kontext: list:4: [^\n]+moderation", errors)
    assert.matches("kontext: list:5: [^\n]+no%-such", errors)
    assert.equal(3, #submits())
    for _, submit in ipairs(submits()) do assert.equal("1:1", submit.params.aspect_ratio) end
    assert.equal(4, select(2, output:gsub("\n", "")))
    local blue = '"path":"list-blue.png","of":"list:3","key":"blue","skipped":'
    assert.matches(blue .. "false", output, 1, true)
    assert.matches('"seed":9007199254740993[,}]', service_text())
    assert.equal("png", assert(kontext.check(sandbox.path "list-blue.png")).format)

    service:forget()
    output = run(unpack(words))
    assert.matches(blue .. "true", output, 1, true)
    assert.equal(1, #submits()) -- what was moderated is tried again, for it was not charged
  end)

  it("refuses a list with a bad line before anything is sent", function()
    for line, pattern in pairs {
      ["nonsense"] = "list:2: no JSON object", ["[1]"] = "list:2: ", ["{}"] = "list:2: prompt is",
      ['{"prompt":"p","promt":"q"}'] = "list:2: unknown key", ['{"prompt":5}'] = "list:2: prompt",
    } do
      sandbox.write("list", '{"prompt":"p","input_image":"car.jpg"}\n' .. line .. "\n")
      refused(3, pattern, "batch", "list")
    end
    refused(5, "list", "batch", "no-such-list")
    refused(2, "one list", "batch", "a", "b")
  end)

  it("loses nothing of a batch to Ctrl-C", function()
    local prompt = "Make it red [emulate: slow 3]"
    local output, code = interrupted(2, false, "batch", "--prompt", prompt, "car.jpg", "red.jpg",
      "--journal", "killed")
    assert.equal(130, code)
    assert.equal("", output)
    assert.equal(2, #submits())
    output = done("batch", "--prompt", prompt, "car.jpg", "red.jpg", "--journal", "killed")
    for path in output:gmatch "[^\n]+" do
      assert.equal(1248, assert(kontext.check(sandbox.path(path))).width)
    end
    assert.equal(2, #submits()) -- none was sent again

    -- Without a journal each is told what goes on with it.
    local resumed = {}
    local errors
    errors, code = interrupted(4, true, "batch", "--prompt", prompt, "car.jpg", "red.jpg")
    assert.equal(130, code)
    for name, token in errors:gmatch "kontext: (%w+).jpg: interrupted\n[^\n]+resume '([^']+)'" do
      local path = done("resume", token):gsub("\n", "")
      assert.matches(name .. "-edit", path, 1, true)
      assert.equal(1248, assert(kontext.check(sandbox.path(path))).width)
      resumed[name] = true
    end
    assert.same({ car = true, red = true }, resumed)
    assert.equal(4, #submits())
  end)

  it("goes on with all that a journal knows of", function()
    local _, _, code = run("edit", "car.jpg", "[emulate: slow 2]", "--timeout", "1", "--journal",
      "late", "-o", "late-2.jpg")
    assert.equal(15, code)
    assert.equal("late-2.jpg\n", done("resume", "--journal", "late"))
    assert.equal("", done("resume", "--journal", "late"))
    assert.equal(1, #submits())
  end)

  it("draws how far it is where somebody watches", function()
    local drawn, code = sandbox.shell("script -qec " .. sandbox.quote(sandbox.command("bin/kontext",
      "edit", "car.jpg", "[emulate: slow 2]", "-o", "watched.jpg")) .. " /dev/null")
    assert.equal(0, code)
    assert.matches("\ruploading +%[#*%.*%] +%d+ %%\27%[K", drawn)
    assert.matches("\rpending +%[#+%.*%] +%d+ %%\27%[K", drawn)
    assert.matches("\r\27%[Kwatched.jpg\r\n$", drawn)
    drawn = sandbox.run(
      'require "kontext.cli.report".progress { status = "uploading", sent = 1, total = 3 }')
    assert.equal("\ruploading   [#######.............]  33 %\27[K", drawn)
  end)

  it("loses nothing to Ctrl-C", function()
    local output, code = interrupted(1, false, "edit", "car.jpg", "[emulate: slow 3]", "--json",
      "-o", "interrupted.jpg")
    assert.equal(130, code)
    local told = json.decode(output)
    assert.equal("interrupted", told.error)
    assert.equal("interrupted.jpg\n", done("resume", told.token))
    assert.equal(1, #submits())
  end)

  it("serves the emulator until it is told to end", function()
    local output, code = sandbox.shell("timeout 20 "
      .. sandbox.command("bin/kontext", "emulator", "--ready-after", "0") .. " >emulated & pid=$!; "
      .. "for i in $(seq 100); do [ -s emulated ] && break; sleep 0.1; done; "
      .. "curl -sS -o /dev/null -w '%{http_code}' -H 'x-key: k' $(head -1 emulated)/v1/credits; "
      .. "kill $pid; wait $pid")
    assert.equal("200", output)
    assert.equal(0, code)
  end)
end)
