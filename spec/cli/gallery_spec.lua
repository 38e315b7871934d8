-- kontext edit and batch --gallery, as text; spec/gallery/gallery.lua opens the page in a browser.
local command = require "spec.support.command"
local core = require "kontext.core"
local gallery = require "kontext.cli.gallery"
local pictures = require "spec.support.pictures"
local sandbox = require "spec.support.sandbox"

-- Returns how often a plain text stands in another one.
local function count(text, what)
  local found, at = 0, 1
  while true do
    local first, last = text:find(what, at, true)
    if not first then return found end
    found, at = found + 1, last + 1
  end
end

describe("a gallery #once", function()
  setup(sandbox.emulator)
  before_each(function() sandbox.emulator():forget() end)
  teardown(sandbox.close)

  it("shows each step of a chain with its prompt, seed, size and cost", function()
    local output, errors, code = command.run("edit", "car.jpg", "remove the hat", "now it snows",
      "--gallery", "steps.html")
    assert.same({ "car-edit-1.jpg\ncar-edit-2.jpg\n", 0 }, { output, code })
    assert.equal("kontext: the gallery is steps.html\n", errors)
    local page = sandbox.read "steps.html"
    assert.equal(2, count(page, '<input type="range"'))
    assert.equal(2, count(page, '<button type="button" aria-pressed'))
    for _, text in ipairs { "remove the hat", "now it snows", "1248 × 832", "<dt>seed</dt>",
      "4 credits (0.04 USD)", "2 made, 8 credits (0.08 USD)" } do
      assert.is_true(count(page, text) > 0, text)
    end
    assert.equal("", (sandbox.shell "ls | grep part; true"))
  end)

  it("loads nothing: each address in it is a picture of its own", function()
    local page = sandbox.read "steps.html"
    local found = 0
    for address in page:gmatch 'src="([^"]*)"' do
      assert.matches("^data:image/jpeg;base64,[%w+/=]+$", address)
      found = found + 1
    end
    assert.equal(2 * 2 + 3, found)
    assert.is_nil(page:find("url(", 1, true))
    assert.is_nil(page:find("href", 1, true))
    assert.is_truthy(page:find("default-src 'none'", 1, true))
  end)

  it("writes a stranger's text as text, whatever it says", function()
    local evil = '"><script>alert(1)</script>\27[2J\226\128\174<img src=x onerror=alert(1)>'
    command.done("edit", "car.jpg", "a " .. evil, "-o", "evil.jpg", "--gallery", "evil.html", "-q")
    local page = sandbox.read "evil.html"
    assert.equal(1, count(page, "<script>"))
    assert.equal(0, count(page, "<img src=x"))
    local shown = "a &quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\x1B[2J"
    assert.is_truthy(page:find(shown, 1, true))
    assert.is_nil(page:find "[%z\1-\9\11-\31\127]")
    assert.is_nil(page:find("\226\128\174", 1, true))
    assert.equal("&#39;\\xFF", gallery.escape "'\255")
  end)

  it("shows what failed as such, and a result of another under it", function()
    sandbox.write("list.jsonl", table.concat({
      '{"input_image":"car.jpg","prompt":"one","key":"first"}',
      '{"input_image":{"result":"first"},"prompt":"two","key":"second"}',
      '{"input_image":"car.jpg","prompt":"[emulate: content moderated]"}' }, "\n"))
    local _, _, code = command.run("batch", "list.jsonl", "-d", ".", "--gallery", "list.html")
    assert.equal(9, code)
    local page = sandbox.read "list.html"
    assert.equal(2, count(page, "<article>"))
    assert.equal(1, count(page, 'class="strip"'))
    assert.equal(1, count(page, '<figure class="failed">'))
    assert.is_truthy(page:find("<strong>moderated</strong>", 1, true))
    assert.is_truthy(page:find("2 made, 1 failed", 1, true))
    assert.is_truthy(sandbox.read "first-edit.jpg")
  end)

  it("holds the region at its full size, and copies without metadata", function()
    command.run("edit", "car.jpg", "p", "--region", "300,200,200,100", "-o", "part.jpg",
      "--gallery", "part.html")
    local page = sandbox.read "part.html"
    assert.is_truthy(page:find('class="zoom"', 1, true))
    -- 200 by 100, and 35 % around it on each side.
    assert.is_truthy(page:find('alt="after" width="340" height="170"', 1, true))
    for address in page:gmatch 'base64,([%w+/=]+)"' do
      local bytes = pictures.output(("printf '%%s' '%s' | base64 -d"):format(address:sub(1, 4096)))
      assert.is_nil(bytes:find("Exif", 1, true))
    end
  end)

  it("is refused before anything is sent where it cannot be written, or is no page", function()
    sandbox.shell "rm -f car-edit*"
    command.refused(3, "must end in .html", "edit", "car.jpg", "p", "--gallery", "car.jpg")
    command.refused(5, "nothing was sent", "edit", "car.jpg", "p", "--gallery", "none/x.html")
    command.refused(3, "must end in .html", "batch", "--prompt", "p", "car.jpg", "--gallery", "x")
    assert.equal("", (sandbox.shell "ls car-edit.jpg 2>/dev/null"))
  end)

  it("allows only its own style and script, by their digests", function()
    local page = sandbox.read "steps.html"
    for _, name in ipairs { "style", "script" } do
      local text = assert(page:match(("<%s>(.-)</%s>"):format(name, name)))
      local digest = ("%s-src 'sha256-%s'"):format(name, core.base64(core.sha256(text)))
      assert.is_truthy(page:find(digest, 1, true), name)
    end
  end)
end)

describe("kontext show #once", function()
  setup(sandbox.emulator)
  teardown(sandbox.close)

  it("draws both pictures beside each other, under their names", function()
    local output = command.done("show", "car.jpg", "car.jpg", "--graphics", "cells")
    local lines = {}
    for line in output:gmatch "[^\n]+" do lines[#lines + 1] = line end
    assert.matches("^car%.jpg 1248x832 +car%.jpg 1248x832$", lines[1])
    assert.is_true(#lines > 5)
    local _, halves = lines[2]:gsub("▀", "")
    assert.is_true(halves > 40 and halves <= 78, halves)
  end)

  it("draws characters where there are no colours", function()
    local output = sandbox.shell("NO_COLOR=1 " .. sandbox.command("bin/kontext", "show", "car.jpg",
      "car.jpg"))
    assert.is_nil(output:find "[\27\128-\255]")
    assert.matches("[=+*#%%@]", output)
  end)

  it("draws one below the other in a narrow terminal, and no line is wider than it", function()
    local output = sandbox.shell(("COLUMNS= script -qec 'stty cols 40 rows 30; NO_COLOR=1 %s' "
      .. "/dev/null"):format((sandbox.command("bin/kontext", "show", "car.jpg", "car.jpg")
      :gsub("'", "")))):gsub("\r", "")
    assert.matches("\ncar%.jpg 1248x832\n", output)
    for line in output:gmatch "[^\n]+" do assert.is_true(#line <= 40, line) end
  end)

  it("says what is no picture", function()
    command.refused(4, "is not a picture", "show", "car.jpg", "/etc/passwd")
  end)
end)
