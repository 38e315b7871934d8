-- What the command understands, refuses and tells without an edit.
local command = require "spec.support.command"
local json = require "kontext.json"
local sandbox = require "spec.support.sandbox"

local run = command.run
local done = command.done
local submits = command.submits
local refused = command.refused

describe("the command", function()
  setup(sandbox.emulator)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

  it("refuses before anything is sent what can be known here", function()
    refused(2, "a command is required")
    refused(2, "unknown command 'edti'; Did you mean 'edit'", "edti")
    refused(2, "missing argument .prompt.", "edit", "car.jpg")
    refused(2, "'x' is not a number", "edit", "car.jpg", "p", "--timeout", "x")
    refused(3, "prompt is empty", "edit", "car.jpg", " ")
    refused(3, "%-%-aspect is", "edit", "car.jpg", "p", "--aspect", "9:1")
    refused(3, "seed", "edit", "car.jpg", "p", "--seed", "1.5")
    refused(3, "base_url", "edit", "car.jpg", "p", "--base-url", "ftp://x")
    refused(5, "no%-such%.jpg", "edit", "no-such.jpg", "p")
    refused(4, ".stderr is ", "edit", ".stderr", "p")
  end)

  it("refuses a token that is not whole", function()
    refused(3, "token", "resume", "kontext1:id=a")
    refused(2, "resume takes a token", "resume", "x", "--journal", "y")
  end)

  it("tells what pictures are, each in a line, and sends nothing", function()
    local output, errors, code = run("check", "car.jpg", ".stderr", "no-such.jpg", "car.jpg")
    local line = "car.jpg: jpeg, 1248 x 832 (1.0 MP), "
    assert.equal(line, output:sub(1, #line))
    assert.equal(2, select(2, output:gsub("\n", "")))
    assert.equal(2, select(2, errors:gsub("kontext: [^\n]+\n", "")))
    assert.equal(4, code, errors) -- the first error's
    local told = json.decode(done("check", "car.jpg", "--json"))
    assert.same({ 1248, 832, 1248 }, { told.width, told.height, told.output_width })
    assert.equal(0, #sandbox.emulator():requests())
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
    assert.equal(2, #sandbox.emulator():requests("GET", "^/v1/credits$"))
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

  it("tells a key that is missing from one that is wrong", function()
    refused(6, "BFL_API_KEY", "credits", "--base-url", "https://api.bfl.ai")
    sandbox.write("key", "bad\n")
    local _, output, code = run("edit", "car.jpg", "p", "--key-file", "key")
    assert.equal(6, code)
    assert.matches("refuses the API key", output, 1, true)
    assert.not_matches("bad", output, 1, true)
  end)

  it("serves the emulator until it is told to end", function()
    local output, code = sandbox.shell("timeout 20 "
      .. sandbox.command("bin/kontext", "emulator", "--ready-after", "0")
      .. " >emulated 2>/dev/null & pid=$!; "
      .. "for i in $(seq 100); do [ -s emulated ] && break; sleep 0.1; done; "
      .. "LD_PRELOAD= curl -sS -o /dev/null -w '%{http_code}' -H 'x-key: k' "
      .. "$(head -1 emulated)/v1/credits; "
      .. "kill $pid; wait $pid")
    assert.equal("200", output)
    assert.equal(0, code)
  end)

  it("says what was probably meant by words in the wrong place", function()
    refused(2, "quotation marks: kontext edit car.jpg 'make it red'", "edit", "car.jpg", "make",
      "it", "red")
    refused(2, "the picture comes first: kontext edit car.jpg 'make it red'", "edit", "make it red",
      "car.jpg")
    refused(2, "kontext edit car.jpg %-%- '%-5 degrees'", "edit", "car.jpg", "-5 degrees")
    refused(2, "kontext batch %-%-prompt 'Make it snow' car.jpg", "batch", "car.jpg")
    refused(2, "kontext batch %-%-prompt 'snow, please' car.jpg car.jpg", "edit", "car.jpg",
      "car.jpg", "snow, please")
    refused(3, "did you mean https://api.bfl.ai", "credits", "--base-url", "api.bfl.ai")
    refused(2, "%-%-port: '99999' is not a whole number from 0 to 65535", "emulator", "--port",
      "99999")
    refused(2, "%-%-max%-active: '0' is not a whole number from 1 on", "batch", "--prompt", "p",
      "--max-active", "0", "car.jpg")
    refused(2, "%-%-timeout: '0' is not a number of seconds above 0", "edit", "car.jpg", "p",
      "--timeout", "0")
    refused(2, "an equals sign: %-%-seed=%-1", "edit", "car.jpg", "p", "--seed", "-1")
    refused(2, "missing argument 'prompt': [^\n]+ kontext edit car.jpg 'Make it snow'", "edit",
      "car.jpg")
    refused(3, "%-o is \"[^\n]+x%.tiff\"", "edit", "car.jpg", "p", "-o", "x.tiff")
    refused(2, "one prompt", "edit", "car.jpg", "remove it", "add it", "--count", "2")
    refused(3, "x.jpg is the name of a JPEG", "edit", "car.jpg", "p", "-o", "x.jpg", "--format",
      "png")
  end)

  it("takes a prompt that begins with a hyphen behind --", function()
    done("edit", "car.jpg", "-o", "cold.jpg", "--", "-5 degrees")
    assert.equal("-5 degrees", submits()[1].params.prompt)
  end)

  it("takes the key from a file, or from a command where no key is set", function()
    sandbox.write("key", "key-of-file\n# not this\n")
    local script = ([[
      local service = require "kontext.cli.service"
      require("kontext").new = function(given) print(given.api_key) return {} end
      service.client { key_file = %s, base_url = "https://api.bfl.ai" }]])
    assert.equal("key-of-file\n", (sandbox.run(script:format '"key"')))
    local function keyed(code, environment)
      return (sandbox.shell((environment or "") .. "BFL_API_KEY_CMD='echo key-of-command' "
        .. sandbox.program(code)))
    end
    local code = script:format "nil"
    assert.equal("key-of-command\n", keyed(code))
    assert.equal("nil\n", keyed(code, "BFL_API_KEY=k "))
    assert.equal("nil\n", keyed((code:gsub("https://api.bfl.ai", "http://127.0.0.1:1"))))
    refused(5, "no%-such%-key", "credits", "--key-file", "no-such-key")
    sandbox.write("empty", "\n")
    refused(6, "empty is empty", "credits", "--key-file", "empty")
  end)

  it("tells what edits would cost, and sends none", function()
    local output = done("edit", "car.jpg", "p", "--dry-run")
    assert.matches("^1 edit, 0%.%d MB to upload: 4 credits %(0.04 USD%), of %d+ that you have",
      output)
    local told = json.decode(done("batch", "--prompt", "p", "car.jpg", "car.jpg", "--model", "max",
      "--dry-run", "--json"))
    assert.same({ 2, 16, 0.16 }, { told.edits, told.credits, told.usd })
    assert.equal(0, #submits())
    assert.matches(", of " .. done "credits":match "%d+" .. " that you have", output, 1, true)
    assert.equal(5, (select(3, run("batch", "--prompt", "p", "no.jpg", "--dry-run"))))
  end)

  it("looks whether all is there that an edit needs", function()
    local output = done "doctor"
    assert.equal(6, select(2, output:gsub("ok       [^\n]+\n", "")))
    assert.matches("answers: %d+ credits are left", output)
    local code
    output, code = sandbox.shell("XDG_STATE_HOME=/proc/no "
      .. sandbox.command("bin/kontext", "doctor"))
    assert.equal(5, code)
    assert.matches("bad      nothing was sent: no journal can be kept", output, 1, true)
    -- In the command's words, not Lua's.
    output = run("doctor", "--base-url", "https://api.bfl.ai")
    assert.matches("bad      there is no API key: [^\n]+ %-%-key%-file FILE", output)
    assert.equal(0, #submits())
  end)

  it("makes help, a man page and completions of one parser #once", function()
    assert.equal(done("edit", "--help"), done("help", "edit"))
    assert.equal(done "--help", done "help")
    refused(2, "there is no command edti: there are edit, batch", "help", "edti")
    local complaints, code = sandbox.shell(sandbox.command("bin/kontext", "help", "--man")
      .. " | man -l --warnings -E UTF-8 - 2>&1 >page")
    assert.same({ "", 0 }, { complaints, code })
    assert.matches("kontext edit", sandbox.read "page", 1, true)
    assert.matches("--dry-run", sandbox.read "page", 1, true)
    for _, shell in ipairs { "bash", "zsh", "fish" } do
      assert.matches("batch", done("help", "--completion", shell), 1, true)
    end
    assert.equal(0, select(2, sandbox.shell(sandbox.command("bin/kontext", "help", "--completion",
      "bash") .. " | bash -n")))
  end)

  it("says what to install where argparse is missing", function()
    local output, code = sandbox.run [[
      package.preload.argparse = function() error "not here" end
      os.exit(require("kontext.cli").main { "edit" })]]
    assert.equal(1, code)
    assert.matches("^kontext: [^\n]+luarocks install argparse\n$", output)
  end)
end)
