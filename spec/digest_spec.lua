-- Digests of files: made beside the host, which is never held up by them.

local core = require "kontext.core"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

local engine, folder

before_each(function()
  folder = pictures.output("mktemp -d"):match "[^\n]+"
  engine = core.engine {}
end)

after_each(function()
  engine:close()
  os.execute("rm -rf " .. folder)
end)

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

-- Returns the events of `count` digests that have ended, by id; ten seconds at the most.
local function events(count)
  local limit, found = core.now() + 10, {}
  while count > 0 do
    assert(core.now() < limit, "a digest never ends")
    engine:wait(core.now() + 0.1)
    for _, event in ipairs(engine:step(0.001) or {}) do
      found[event.id], count = event, count - 1
    end
  end
  return found
end

describe("a digest", function()
  it("is the file's SHA-256, whatever its size", function()
    for _, size in ipairs { 0, 1, 65535, 65536, 65537, 300000 } do
      local path = folder .. "/file"
      write(path, ("abcdefg"):rep(size):sub(1, size))
      local id = assert(engine:digest { path = path })
      assert.same({ id = id, digest = core.fingerprint(path) }, events(1)[id])
    end
    local id = assert(engine:digest { bytes = "abc" })
    assert.equal(core.sha256 "abc", events(1)[id].digest)
  end)

  it("of what cannot be read is an error of the kind file, with the system's name", function()
    os.execute("mkfifo " .. folder .. "/fifo")
    local missing, fifo, dir = engine:digest { path = folder .. "/missing" },
      engine:digest { path = folder .. "/fifo" }, engine:digest { path = folder }
    local found = events(3)
    for id, code in pairs { [missing] = "ENOENT", [fifo] = "ENOTSUP", [dir] = "EISDIR" } do
      assert.same({ "file", code }, { found[id].kind, found[id].code })
      assert.is_nil(found[id].digest)
      assert.truthy(found[id].detail:find(folder, 1, true))
    end
  end)

  it("of a file that is no longer as it was checked is none", function()
    local path = folder .. "/a.png"
    write(path, raw.picture)
    local stamp = assert(core.check { path = path }).stamp
    write(path, raw.picture .. "more")
    local id = assert(engine:digest { path = path, stamp = stamp })
    assert.equal("ESTALE", events(1)[id].code)
  end)

  it("that is cancelled never comes, and a large one lets the next through at once", function()
    local large = folder .. "/large"
    os.execute("truncate -s 20G " .. large) -- some ten seconds of work
    local first, waiting = engine:digest { path = large }, engine:digest { path = large }
    local small = assert(engine:digest { bytes = "abc" })
    engine:wait(core.now() + 0.05)
    engine:cancel(first)
    engine:cancel(waiting)
    local begun = core.now()
    local found = events(1)
    assert.equal(core.sha256 "abc", found[small].digest)
    assert.is_true(core.now() - begun < 1)
    engine:digest { path = large }
    engine:wait(core.now() + 0.05)
    begun = core.now()
    engine:close()
    assert.is_true(core.now() - begun < 0.05)
  end)

  it("takes no memory with the file's size #plain #once", function()
    local path = folder .. "/large"
    os.execute("truncate -s 256M " .. path)
    local function peak()
      return tonumber(pictures.read("/proc/self/status"):match "VmHWM:%s+(%d+)")
    end
    assert(engine:digest { bytes = "abc" })
    events(1)
    local before = peak()
    assert(engine:digest { path = path })
    events(1)
    assert.is_true(peak() - before < 2048)
  end)
end)

describe("a batch with a journal", function()
  local server, client

  before_each(function()
    server = raw.start()
    server:script(raw.service({}, ""))
    client = kontext.new { base_url = server.url, api_key = raw.key, poll_interval = 0.01,
      journal = folder .. "/journal" }
  end)

  after_each(function()
    client:close()
    server:stop()
  end)

  -- The keys of a batch's results, after all have ended.
  local function keys(list)
    local batch = client:batch(list)
    local found = {}
    for i, result in ipairs(assert(batch:wait(20))) do found[i] = result.key end
    return found
  end

  it("returns at once, however large its files are #plain", function()
    local list = {}
    for i = 1, 24 do
      local path = ("%s/%d.png"):format(folder, i)
      write(path, raw.picture)
      os.execute("truncate -s 19000000 " .. path)
      list[i] = { prompt = "Change it", input_image = path, save_as = path .. ".out" }
    end
    local least = math.huge -- of three: other programs take turns on this machine too
    for _ = 1, 3 do
      local begun = core.now()
      local batch = client:batch(list, { max_active = 24 })
      least = math.min(least, core.now() - begun)
      batch:cancel()
      batch:wait(20)
    end
    assert.is_true(least < 0.05, ("it took %.3f s"):format(least))
  end)

  it("knows a file by its content, wherever it is and however it is given", function()
    local one, other = folder .. "/one.png", folder .. "/other.png"
    write(one, raw.picture)
    write(other, raw.picture)
    local first = keys { { prompt = "x", input_image = one, save_as = folder .. "/1" } }
    local second = keys { { prompt = "x", input_image = other, save_as = folder .. "/2" } }
    local bytes = keys { { prompt = "x", input_image = { bytes = raw.picture },
      save_as = folder .. "/3" } }
    assert.matches("^%x+$", first[1])
    assert.same(first, second)
    assert.same(first, bytes)
    write(other, raw.picture .. "\0")
    assert.not_same(first, keys { { prompt = "x", input_image = other, save_as = folder .. "/4" } })
  end)

  it("sends nothing of an edit whose file cannot be read", function()
    local batch = client:batch { { prompt = "x", input_image = folder .. "/missing.png",
      save_as = folder .. "/1" } }
    local result = batch:wait(20)[1]
    assert.same({ "file", "ENOENT", false },
      { result.error.kind, result.error.code, result.error.charged })
    assert.same({}, server:requests "POST")
  end)
end)
