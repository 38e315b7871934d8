-- The gallery in a browser: make test-gallery. Without Chromium or playwright-core it is skipped.
local json = require "kontext.json"
local sandbox = require "spec.support.sandbox"

local modules = os.getenv "PLAYWRIGHT" or "build/gallery"

local function has_browser()
  local found = os.execute(("{ command -v chromium || command -v chromium-browser; } >/dev/null && "
    .. "test -d %s/node_modules/playwright-core && command -v node >/dev/null"):format(modules))
  return found == true or found == 0
end

-- Makes a page with these words, opens it, and returns what the browser saw.
local function seen(page, ...)
  local output, code = sandbox.file("bin/kontext", ...)
  assert.equal(0, code, output)
  local browser = io.popen(("node spec/gallery/browser.mjs $(realpath %s) %s %s 2>&1"):format(
    modules, sandbox.quote(sandbox.path(page)), os.getenv "SCREENSHOTS" or ""))
  local told = browser:read "*a"
  browser:close()
  local found = assert(json.decode(told), told)
  assert.same({ {}, {} }, { found.errors, found.requests })
  assert.is_true(found.pictures)
  assert.equal(0, found.overflow)
  return found
end

describe("a gallery in Chromium", function()
  setup(sandbox.emulator)
  teardown(sandbox.close)

  if not has_browser() then
    pending "is opened: needs chromium, node and playwright-core (make test-gallery)"
    return
  end

  it("moves its slider by mouse, touch and keys, and logs nothing as an error", function()
    local found = seen("steps.html", "edit", "car.jpg", "first <b>", "second step", "--gallery",
      "steps.html")
    assert.same({ begin = 50, mouse = 25, released = 25, ArrowRight = 26, Home = 0, End = 100,
      PageDown = 90, a = 0, b = 100, touch = 80 }, found.moves)
    assert.equal("inset(0px 0% 0px 0px)", found.clip)
    assert.is_truthy(found.last_step:find("second step", 1, true))
    assert.is_truthy(found.first_step:find("first <b>", 1, true))
    assert.equal("rgb(18, 18, 20)", found.dark)
  end)

  it("zooms into the region that was edited, and out again", function()
    local found = seen("part.html", "edit", "car.jpg", "p", "--region", "300,200,200,100", "-o",
      "part.jpg", "--gallery", "part.html")
    assert.equal("Show the region", found.zoom)
    assert.equal(1, found.region)
  end)
end)
