-- What a kill, a signal or a closed terminal leaves: journals, jobs, resume.
local command = require "spec.support.command"
local json = require "kontext.json"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"
local token = require "kontext.token"

local unpack = table.unpack or rawget(_G, "unpack") -- luacheck: ignore 143
local run = command.run
local done = command.done
local submits = command.submits
local refused = command.refused

-- No picture is ready before a test has seen what it asks for, on a busy machine either.
local SLOW = "p [emulate: slow 600]"
local function finish() sandbox.emulator():finish() end

describe("a command that was ended #once", function()
  setup(function()
    sandbox.emulator()
    done("edit", "car.jpg", "Make it red", "-o", "red.jpg")
  end)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

  it("loses nothing of a batch to Ctrl-C", function()
    local output, code = command.ended_by("INT", 2, false, "batch", "--prompt", SLOW, "car.jpg",
      "red.jpg", "--journal", "killed")
    assert.equal(130, code)
    assert.equal("", output)
    assert.equal(2, #submits())
    finish()
    output = done("batch", "--prompt", SLOW, "car.jpg", "red.jpg", "--journal", "killed")
    for path in output:gmatch "[^\n]+" do
      assert.equal(1248, assert(kontext.check(sandbox.path(path))).width)
    end
    assert.equal(2, #submits()) -- none was sent again

    -- Without a journal each is told what goes on with it.
    local resumed = {}
    local errors
    errors, code = command.ended_by("INT", 4, true, "batch", "--prompt", SLOW, "car.jpg",
      "red.jpg")
    assert.equal(130, code)
    finish()
    for name, word in errors:gmatch "kontext: (%w+).jpg: interrupted\n[^\n]+resume '([^']+)'" do
      local path = done("resume", word):gsub("\n", "")
      assert.matches(name .. "-edit", path, 1, true)
      assert.equal(1248, assert(kontext.check(sandbox.path(path))).width)
      resumed[name] = true
    end
    assert.same({ car = true, red = true }, resumed)
    assert.equal(4, #submits())
  end)

  it("goes on with all that a journal knows of", function()
    local _, code = command.ended_by("TERM", 1, false, "edit", "car.jpg", SLOW, "--journal", "late",
      "-o", "late-2.jpg")
    assert.equal(143, code)
    finish()
    assert.equal("late-2.jpg\n", done("resume", "--journal", "late"))
    assert.equal("", done("resume", "--journal", "late"))
    assert.equal(1, #submits())
  end)

  it("loses nothing to Ctrl-C", function()
    local output, code = command.ended_by("INT", 1, false, "edit", "car.jpg", SLOW,
      "--json", "-o", "interrupted.jpg")
    assert.equal(130, code)
    local told = json.decode(output)
    assert.equal("interrupted", told.error)
    finish()
    assert.equal("interrupted.jpg\n", done("resume", told.token))
    assert.equal(1, #submits())
  end)

  it("takes a signal that comes twice within a moment for one", function()
    -- As timeout(1) does, which signals its child and then the group.
    local output, code = command.ended_by("TERM $job; sleep 0.3; kill -TERM", 1, true, "edit",
      "car.jpg", SLOW, "-o", "twice.jpg", "--no-journal")
    assert.equal(143, code)
    finish()
    assert.equal("twice.jpg\n", done("resume", output:match "kontext resume '([^']+)'", "-o",
      "twice.jpg"))
    assert.equal(1, #submits())
  end)

  it("tells the token of an accepted edit on every signal that ends it", function()
    for signal, code in pairs { INT = 130, TERM = 143, HUP = 129 } do
      sandbox.emulator():forget()
      local name = signal .. ".jpg"
      local output, ended = command.ended_by(signal, 1, true, "edit", "car.jpg", SLOW, "-o", name,
        "--no-journal")
      assert.equal(code, ended, output)
      finish()
      local told = output:match "kontext resume '([^']+)'"
      assert.equal(name .. "\n", done("resume", told, "-o", name))
      assert.equal(1, #submits())
      assert.equal(1248, assert(kontext.check(sandbox.path(name))).width)
    end
  end)

  it("keeps a journal by itself, and none of what is finished", function()
    command.ended_by("KILL", 1, false, "edit", "car.jpg", SLOW, "-o", "gone.jpg")
    assert.equal(1, #submits())
    assert.equal("700\n600\n", (sandbox.shell "stat -c %a .state/kontext .state/kontext/edit-*"))
    assert.matches("^accepted +%x+%-[%x-]+  gone.jpg  %d+ s ago\n$", done "jobs")
    local told = json.decode(done("jobs", "--json"))
    assert.equal("accepted", told.state)
    assert.matches("/gone.jpg$", told.file)
    finish()
    sandbox.shell "mkdir elsewhere"
    local output, code = sandbox.shell("cd elsewhere; " .. sandbox.command("bin/kontext", "resume"))
    assert.equal(0, code)
    assert.matches("/gone.jpg\n$", output)
    assert.equal(1248, assert(kontext.check(sandbox.path "gone.jpg")).width)
    assert.equal("", done "jobs")
    assert.equal("", (sandbox.shell "ls .state/kontext | grep edit-"))
    assert.equal(1, #submits())
    local _, errors = run "resume"
    assert.equal("kontext: nothing is unfinished\n", errors)
  end)

  it("leaves alone what a running command goes on with", function()
    local output = command.during(1, sandbox.command("bin/kontext", "edit", "car.jpg", SLOW, "-o",
      "busy.jpg"), table.concat({ sandbox.command("bin/kontext", "jobs"),
      sandbox.command("bin/kontext", "resume"), command.finish }, "; "))
    assert.matches("running  ", output, 1, true)
    assert.matches("but what 1 running command goes on with", output, 1, true)
    assert.equal(1, #submits())
  end)

  it("sends nothing where no journal can be kept, unless none is wanted", function()
    local words = { "bin/kontext", "edit", "car.jpg", "p", "-o", "kept.jpg" }
    local output, code = sandbox.shell("XDG_STATE_HOME=/proc/no "
      .. sandbox.command(unpack(words)))
    assert.equal(5, code)
    assert.matches("no journal can be kept", output, 1, true)
    assert.equal(0, #submits())
    words[#words + 1] = "--no-journal"
    assert.equal("kept.jpg\n", (sandbox.shell("XDG_STATE_HOME=/proc/no "
      .. sandbox.command(unpack(words)))))
  end)

  it("says that there is no such journal, and makes none", function()
    refused(5, "there is no journal nofile", "resume", "--journal", "nofile")
    refused(5, "there is no journal nofile", "jobs", "--journal", "nofile")
    assert.equal(1, select(2, sandbox.shell "test -e nofile"))
  end)

  it("does not say that nothing is unfinished where it cannot look", function()
    sandbox.shell "mkdir other; echo >other/kontext"
    for _, word in ipairs { "resume", "jobs" } do
      local output, code = sandbox.shell("XDG_STATE_HOME=$PWD/other "
        .. sandbox.command("bin/kontext", word))
      assert.equal(5, code)
      assert.matches("cannot look for unfinished edits", output, 1, true)
    end
  end)

  it("forgets a journal when it is told to, but none of what can be fetched", function()
    command.ended_by("TERM", 1, false, "edit", "car.jpg", SLOW, "--journal", "kept", "-o", "l.jpg")
    refused(3, "was accepted: fetch it first", "jobs", "--forget", "kept")
    finish()
    done("resume", "--journal", "kept")
    done("jobs", "--forget", "kept")
    assert.equal(1, select(2, sandbox.shell "test -e kept"))
  end)

  it("writes nowhere on a stranger's word", function()
    sandbox.shell "mkdir victim home; echo mine >victim/photo.jpg; rm -rf .state"
    local errors = command.ended_by("TERM", 1, true, "edit", "car.jpg", SLOW, "--no-journal", "-o",
      "victim/photo.jpg")
    finish()
    local values = assert(token.read(errors:match "kontext resume '([^']+)'"))
    local function signed(id, save_as)
      values.id, values.save_as = id, save_as
      local body = "kontext1:" .. token.text(values)
      return body .. ":" .. token.sum(body)
    end
    local id = values.id
    for _, path in ipairs { "../victim/photo.jpg", sandbox.path "victim/photo.jpg", ".bashrc",
      "a/.ssh/x" } do
      local output, code = sandbox.shell("cd home; "
        .. sandbox.command("bin/kontext", "resume", signed(id, path)))
      assert.equal(0, code, output)
      assert.matches("^kontext%-" .. id:gsub("%-", "%%-") .. "%-?[2-9]?%.jpg\n$", output)
    end
    assert.equal("mine\n", sandbox.read "victim/photo.jpg")
    sandbox.shell "rm -r home; mkdir home"
    sandbox.shell("cd home; "
      .. sandbox.command("bin/kontext", "resume", signed("../victim/photo", nil)))
    assert.equal("mine\n", sandbox.read "victim/photo.jpg")
    assert.equal("victim/photo.jpg\n", (sandbox.shell "ls */*photo* | grep -v home/kontext"))
  end)

  it("saves where the caller says, not where the token does", function()
    local errors = command.ended_by("TERM", 1, true, "edit", "car.jpg", SLOW, "-o", "first.jpg")
    finish()
    local told = errors:match "kontext resume '([^']+)'"
    assert.equal("second.jpg\n", done("resume", told, "-o", "second.jpg"))
    assert.equal(1, select(2, sandbox.shell "test -e first.jpg"))
    assert.equal("", done "jobs")
    local bytes = sandbox.shell(sandbox.command("bin/kontext", "resume", told, "-o", "-"))
    assert.equal(sandbox.read "second.jpg", bytes)
    refused(5, "nothing was sent", "resume", told, "-o", "nodir/x.jpg")
  end)
end)
