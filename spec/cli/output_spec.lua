-- What the command writes, to whom, and what becomes of it when it cannot.
local command = require "spec.support.command"
local json = require "kontext.json"
local kontext = require "kontext"
local progress = require "kontext.cli.progress"
local sandbox = require "spec.support.sandbox"

local unpack = table.unpack or rawget(_G, "unpack") -- luacheck: ignore 143
local run = command.run
local done = command.done
local submits = command.submits

describe("what the command says #once", function()
  setup(sandbox.emulator)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

  it("draws how far it is where somebody watches", function()
    local drawn, code = sandbox.shell("script -qec " .. sandbox.quote(sandbox.command("bin/kontext",
      "edit", "car.jpg", "[emulate: slow 1]", "-o", "watched.jpg")) .. " /dev/null")
    assert.equal(0, code)
    assert.matches("^\rcar:  %a+  0 s\27%[K", drawn) -- from the first moment on
    assert.matches("\rcar:  being made  %[#+%.*%]  %d+ %%  %d s\27%[K", drawn)
    assert.matches("\r\27%[Kwatched.jpg\r\nkontext: 1248 x 832, seed %d+, 4 credits %(0.04 USD%), "
      .. "%d%.%d s\r\n$", drawn)
    local compose = progress.of_edit("car", function()
      return { status = "uploading", sent = 1e6, total = 3e6 }
    end)
    assert.equal("car:  uploading  [#######.............]  1.0 MB of 3.0 MB  0 s", compose())
  end)

  it("draws how far a batch is, and in a narrow terminal what matters most", function()
    local function job(status)
      return { status = status, ended = function() return false end }
    end
    local compose = progress.of_batch(function() return { total = 6, done = 2, failed = 1 } end,
      { job "uploading", job "pending", job "waiting" }, function() return 1e6 end)
    assert.equal("2 of 6 done, 1 failed, 1 uploading, 1 being made, 2 waiting, 0 s, "
      .. "about 0 s left, 1000000 credits", compose())
    local drawn, code = sandbox.shell("script -qec " .. sandbox.quote("stty cols 40; "
      .. sandbox.command("bin/kontext", "batch", "--prompt", "[emulate: slow 1]", "car.jpg",
        "--no-journal")) .. " /dev/null")
    assert.equal(0, code)
    assert.matches("\r0 of 1 done, 1 being made, %d s\27%[K", drawn)
    assert.matches("kontext: 1 made, 4 credits (0.04 USD), ", drawn, 1, true)
  end)

  it("fails when standard output takes nothing, and loses no picture", function()
    local function ends(words, redirection)
      local output, code = sandbox.shell(sandbox.command("bin/kontext", "edit", "car.jpg", "p",
        unpack(words)) .. " " .. redirection)
      return output, code
    end
    local errors, code = ends({ "-o", "-" }, ">/dev/full")
    assert.equal(23, code)
    assert.matches("No space left on device; the picture is put aside as kontext%-[%x-]+%.jpg",
      errors)
    assert.matches("kontext resume '", errors, 1, true)
    local aside = errors:match "put aside as (%S+)"
    assert.equal(1248, assert(kontext.check(sandbox.path(aside))).width)
    errors, code = ends({ "-o", "full.jpg" }, ">/dev/full")
    assert.equal(23, code)
    assert.matches("the picture is saved as full.jpg", errors, 1, true)
    errors, code = ends({ "-o", "closed.jpg" }, ">&-")
    assert.equal(23, code)
    assert.matches("the picture is saved as closed.jpg", errors, 1, true)
    assert.equal(1248, assert(kontext.check(sandbox.path "closed.jpg")).width)
    assert.equal(3, #submits())
  end)

  it("ends as SIGPIPE does when nobody reads any more, and tells the token", function()
    local output = sandbox.shell("{ " .. sandbox.command("bin/kontext", "edit", "car.jpg", "p",
      "-o", "-") .. "; echo \"[$?]\" >&2; } | true")
    assert.matches("kontext resume '[^']+'\n", output)
    assert.matches("[141]", output, 1, true)
  end)

  it("shows no control character of a file's name or a server's word", function()
    local screen = require "kontext.cli.screen"
    assert.equal("a\\x1B[2J\\x07\\x7F", screen.escape "a\27[2J\7\127")
    assert.equal("\\xC2\\x9B2J\\x9B", screen.escape "\194\1552J\155")
    assert.equal("Bär \\xE4 \\xE2\\x80\\xAEgpj", screen.escape "Bär \228 \226\128\174gpj")
    assert.equal("\\xC0\\x80\\xED\\xA0\\x80", screen.escape "\192\128\237\160\128")
    local _, errors = run("check", "evil\27]0;pwned\7.jpg")
    assert.not_matches("[%z\1-\9\11-\31\127]", errors)
  end)

  it("writes JSON that any parser reads, whatever the bytes of a name", function()
    sandbox.shell "cp car.jpg \"$(printf 'b\\344r.jpg')\""
    local output = done("check", "b\228r.jpg", "--json")
    assert.is_nil(json.invalid_utf8(output))
    local told = assert(json.decode(output))
    assert.equal("b\\xE4r.jpg", told.path)
    assert.equal("YuRyLmpwZw==", told.path_base64)
    assert.equal("b\228r-edit.jpg\n", done("edit", "b\228r.jpg", "p"))
  end)

  it("is quiet when it is told to be", function()
    local drawn, code = sandbox.shell("script -qec " .. sandbox.quote(sandbox.command("bin/kontext",
      "edit", "car.jpg", "p", "-o", "quiet.jpg", "--quiet")) .. " /dev/null")
    assert.equal(0, code)
    assert.equal("quiet.jpg\r\n", drawn)
    drawn = sandbox.shell("TERM=dumb script -qec " .. sandbox.quote(sandbox.command("bin/kontext",
      "edit", "car.jpg", "p", "-o", "dumb.jpg")) .. " /dev/null")
    assert.equal("dumb.jpg\r\n", drawn)
  end)
end)
