-- kontext batch: many edits, again and again, and the lists that it reads.
local command = require "spec.support.command"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"

local unpack = table.unpack or rawget(_G, "unpack") -- luacheck: ignore 143
local run = command.run
local done = command.done
local submits = command.submits
local refused = command.refused

describe("kontext batch #once", function()
  setup(function()
    sandbox.emulator()
    done("edit", "car.jpg", "Make it red", "-o", "red.jpg")
  end)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

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
    assert.matches('"seed":9007199254740993[,}]', sandbox.shell "curl -sS $BFL_BASE_URL/_ledger")
    assert.equal("png", assert(kontext.check(sandbox.path "list-blue.png")).format)

    sandbox.emulator():forget()
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

  it("goes on after a kill with the same command, and pays nothing twice", function()
    sandbox.shell "mkdir killed; cp car.jpg killed/a.jpg; cp red.jpg killed/b.jpg"
    local words = sandbox.command("bin/kontext", "batch", "--prompt", "Red [emulate: slow 600]")
      .. " *.jpg"
    command.line_ended_by("KILL", 2, words .. " 2>/dev/null", "killed")
    assert.equal(2, #submits())
    sandbox.emulator():finish()
    local output, code = sandbox.shell("cd killed; " .. words)
    assert.equal(0, code)
    assert.matches("a-edit.jpg\n", output, 1, true)
    assert.equal("a-edit.jpg\na.jpg\nb-edit.jpg\nb.jpg\n", (sandbox.shell "ls killed"))
    assert.equal(2, #submits())
    for _, name in ipairs { "killed/a-edit.jpg", "killed/b-edit.jpg" } do
      assert.equal(1248, assert(kontext.check(sandbox.path(name))).width)
    end
  end)

  it("never edits its own results when the same line runs again", function()
    sandbox.shell "mkdir again; cp car.jpg again/boat.jpg; cp red.jpg again/car.jpg"
    for times = 1, 3 do
      local output, code = sandbox.shell("cd again; " .. sandbox.command("bin/kontext", "batch",
        "--prompt", "Make it snow") .. " *.jpg")
      assert.equal(0, code)
      if times > 1 then
        assert.matches("left out 2 results of earlier edits: boat-edit.jpg, car-edit.jpg", output,
          1, true)
        assert.matches("0 made, 2 skipped", output, 1, true)
      end
    end
    assert.equal(2, #submits())
    -- Results in a folder of their own are known by the journal.
    sandbox.shell("cd again; mkdir out; " .. sandbox.command("bin/kontext", "batch", "--prompt",
      "Make it rain", "-d", "out", "car.jpg"))
    assert.equal(3, #submits())
    local output = sandbox.shell("cd again; " .. sandbox.command("bin/kontext", "batch", "--prompt",
      "Make it hail", "out/car-edit.jpg"))
    assert.matches("there is nothing to edit", output, 1, true)
    assert.equal(3, #submits())
    sandbox.shell("cd again; " .. sandbox.command("bin/kontext", "batch", "--prompt",
      "Make it hail", "--include-results", "out/car-edit.jpg"))
    assert.equal(4, #submits())
  end)

  it("waits for another batch of the same folder, and pays for nothing that it has made", function()
    sandbox.shell "mkdir busy; cp car.jpg busy/a.jpg; cp car.jpg busy/b.jpg"
    local function batch(...)
      return sandbox.command("bin/kontext", "batch", "--prompt", "[emulate: slow 600]", ...)
    end
    -- The second is told to wait; then every picture is ready as soon as it is asked for.
    local output = command.during(1, batch("a.jpg"), ("%s >said 2>&1 & other=$!; %s; "
      .. "for i in $(seq 600); do kill -0 $other 2>/dev/null || break; %s; sleep 0.1; done; "
      .. "wait $other; echo \"[$?]\"; cat said"):format(batch("a.jpg", "b.jpg"),
      command.wait_until "grep -q waiting said", command.finish), "busy")
    assert.matches("kontext: another batch runs in this folder: waiting for its end\n", output)
    assert.matches("%[0%]\n", output)
    assert.equal(2, #submits())
  end)

  it("refuses two edits with one destination, and a destination that is edited", function()
    sandbox.write("list", '{"prompt":"p","input_image":"car.jpg","save_as":"one.jpg"}\n'
      .. '{"prompt":"q","input_image":"car.jpg","save_as":"./one.jpg"}\n')
    refused(3, "list:1 and list:2 both go to %./one%.jpg", "batch", "list")
    sandbox.write("list", '{"prompt":"p","input_image":"car.jpg","save_as":"./car.jpg"}\n')
    refused(3, "list:1: ./car.jpg is the picture that is edited", "batch", "list")
    sandbox.write("list", '{"prompt":"p","input_image":"car.jpg","save_as":"nodir/o.jpg"}\n')
    refused(5, "list:1: nothing was sent", "batch", "list")
  end)

  it("keeps a name that a later line gives for that line", function()
    sandbox.shell "mkdir d"
    sandbox.write("list", '{"prompt":"p","input_image":"car.jpg"}\n'
      .. '{"prompt":"q","input_image":"car.jpg","save_as":"d/car-edit.jpg"}\n')
    done("batch", "list", "-d", "d")
    assert.equal("car-edit-2.jpg\ncar-edit.jpg\n", (sandbox.shell "ls d"))
  end)

  it("reads CSV with a header and a JSON array, with BOM and CRLF", function()
    sandbox.write("list.csv", "\239\187\191file,prompt,output,seed,prompt_upsampling\r\n"
      .. 'car.jpg,"Make ""{name}"" red, not blue",csv-{name}.jpg,12345678901234567890,true\r\n')
    assert.equal("csv-car.jpg\n", done("batch", "list.csv"))
    local params = submits()[1].params
    assert.equal('Make "car" red, not blue', params.prompt)
    assert.is_true(params.prompt_upsampling)
    assert.matches('"seed":12345678901234567890[,}]',
      (sandbox.shell "curl -sS $BFL_BASE_URL/_ledger"))
    sandbox.write("list.json", '\239\187\191[\r\n{"input_image":"car.jpg","prompt":"{name} 1",\r\n'
      .. '"save_as":"array-1.jpg"},{"input_image":"car.jpg","prompt":"2","save_as":"array-2.png"}]')
    done("batch", "list.json")
    assert.equal("car 1", submits()[2].params.prompt)
    assert.equal("png", assert(kontext.check(sandbox.path "array-2.png")).format)
    sandbox.write("list.csv", 'file,prompt\ncar.jpg,p,more\n')
    refused(3, "list.csv, row 2: it has 3 cells and the header 2", "batch", "list.csv")
    sandbox.write("list.csv", 'file,prompt\ncar.jpg,"p\n')
    refused(3, "list.csv, row 2: a quotation mark is not closed", "batch", "list.csv")
  end)

  it("tells the same reason once", function()
    local output, errors, code = run("batch", "--prompt", "[emulate: request moderated]", "car.jpg",
      "red.jpg", "list-red.jpg", "--no-journal")
    assert.equal(9, code)
    assert.equal("", output)
    local _, times = errors:gsub("kontext: [%w-]+%.jpg: ", "")
    assert.equal(1, times)
    assert.matches("kontext: and 2 more: ", errors, 1, true)
    assert.matches("kontext: 0 made, 3 failed, ", errors, 1, true)
    assert.equal("", (sandbox.shell "find . -size 0 -name '*-edit*'"))
    -- In the command's words each time, and with a file's name once.
    errors = select(2, run("batch", "--prompt", "p", "car.jpg", "red.jpg", "--no-journal",
      "--base-url", "https://api.bfl.ai"))
    assert.matches("kontext: and 1 more: there is no API key: [^\n]+ %-%-key%-file FILE", errors)
    errors = select(2, run("batch", "--prompt", "p", "no-*.jpg", "--no-journal"))
    assert.matches("^kontext: cannot read no%-%*.jpg: No such file [^\n]+ matches that pattern\n",
      errors)
  end)
end)
