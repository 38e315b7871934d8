-- The engine alone: what it keeps of an answer, and a held picture until somebody has it.

local core = require "kontext.core"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

local server, engine, folder

setup(function() server = raw.start() end)
teardown(function() server:stop() end)

before_each(function()
  folder = pictures.output("mktemp -d"):match "[^\n]+"
  engine = core.engine {}
end)

after_each(function()
  engine:close()
  os.execute("rm -rf " .. folder)
end)

-- Fetches what the server answers; returns the event of its end, within ten seconds.
local function fetch(answer, options)
  server:script { ["GET /x"] = { answer } }
  local request = { url = server.url .. "/x", allow_http = true, no_proxy = true, cap = 1048576 }
  for name, value in pairs(options or {}) do request[name] = value end
  local id, message = engine:fetch(request)
  assert(id, message)
  local limit = core.now() + 10
  while core.now() < limit do
    engine:wait(core.now() + 0.1)
    local events = engine:step(0.001)
    if events then
      assert.equal(id, events[1].id)
      return events[1]
    end
  end
  error "the transfer does not end"
end

-- Has the picture in the engine, on its way to this path; returns its number.
local function hold(path, options)
  local given = { hold = true, path = path }
  for name, value in pairs(options or {}) do given[name] = value end
  local event = fetch(raw.sample(), given)
  assert.equal(200, event.status)
  assert.equal(#raw.picture, event.received)
  return event.id
end

local function names() return pictures.output("ls -A " .. folder) or "" end

describe("a held picture", function()
  it("is saved as a copy elsewhere, and still held", function()
    local id = hold(folder .. "/a.png")
    assert.is_true(engine:save(id, folder .. "/b.png", "no_replace"))
    assert.equal(raw.picture, pictures.read(folder .. "/b.png"))
    assert.equal("b.png\n", names())
    assert.equal("png", engine:check(id).format)
    assert.is_true(engine:finish(id))
    assert.equal(raw.picture, pictures.read(folder .. "/a.png"))
    assert.has_error(function() engine:save(id, folder .. "/c.png") end)
  end)

  it("in memory is saved too", function()
    local id = hold()
    assert.is_true(engine:save(id, folder .. "/b.png"))
    assert.equal(raw.picture, pictures.read(folder .. "/b.png"))
    assert.equal(raw.picture, engine:finish(id))
  end)

  it("replaces no other unasked, and says why it cannot be saved", function()
    local id = hold(folder .. "/a.png")
    assert(core.save(folder .. "/b.png", "mine"))
    local function code(path, way)
      local done, message, name = engine:save(id, path, way)
      assert.is_nil(done)
      assert.truthy(message:find(path, 1, true))
      return name
    end
    assert.equal("EEXIST", code(folder .. "/b.png", "no_replace"))
    assert.equal("mine", pictures.read(folder .. "/b.png"))
    assert.equal("ENOENT", code(folder .. "/missing/c.png"))
    assert.equal("EISDIR", code(folder))
    assert.is_true(engine:save(id, folder .. "/b.png"))
    assert.equal(raw.picture, pictures.read(folder .. "/b.png"))
  end)

  it("that cannot be put in its place stays held, for another", function()
    local path = folder .. "/a.png"
    local id = hold(path)
    os.execute("mkdir -p " .. path .. "/in-the-way")
    local done, message, code = engine:finish(id)
    assert.same({ false, "EISDIR" }, { done or false, code })
    assert.is_string(message)
    assert.equal("png", engine:check(id).format)
    assert.is_true(engine:save(id, folder .. "/b.png", "no_replace"))
    assert.equal(raw.picture, pictures.read(folder .. "/b.png"))
    os.execute("rm -r " .. path)
    assert.is_true(engine:finish(id))
    assert.equal("a.png\nb.png\n", names())
  end)

  it("stays held where another file came in between", function()
    local id = hold(folder .. "/a.png", { no_replace = "no_replace" })
    assert(core.save(folder .. "/a.png", "mine"))
    assert.equal("EEXIST", select(3, engine:finish(id)))
    assert.equal("mine", pictures.read(folder .. "/a.png"))
    assert.is_true(engine:save(id, folder .. "/b.png"))
    engine:cancel(id)
    assert.equal("a.png\nb.png\n", names())
  end)
end)

describe("an answer", function()
  it("says whether it tells its length, so that a part is not taken for the whole", function()
    local head = "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nConnection: close\r\n"
    assert.is_true(fetch({ status = 200, body = "abc" }).length_known)
    local chunked = fetch { raw = head ..
      "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" }
    assert.same({ true, "abc" }, { chunked.length_known, chunked.body })
    local closed = fetch { raw = head .. "\r\nabc" }
    assert.same({ false, "abc" }, { closed.length_known, closed.body })
    local cut = fetch { status = 200, body = "abcdef", cut = 3 }
    assert.same({ true, "network" }, { cut.length_known, cut.kind })
  end)

  it("has its headers cut, but never half of a URL or of an ETag", function()
    local function headers(...)
      return fetch({ status = 200, body = "x", headers = { ... } }).headers
    end
    local long = headers("Content-Type: " .. ("a"):rep(1000), "Retry-After: " .. ("9"):rep(100),
      "Location: /" .. ("b"):rep(8191), "ETag: " .. ("c"):rep(256))
    assert.equal(("a"):rep(128), long["content-type"])
    assert.equal(("9"):rep(64), long["retry-after"])
    assert.equal("/" .. ("b"):rep(8191), long.location)
    assert.equal(("c"):rep(256), long.etag)
    local longer = headers("Location: /" .. ("b"):rep(8192), "ETag: " .. ("c"):rep(257))
    assert.same({}, { longer.location, longer.etag })
  end)

  it("has only headers of one line of text, without what stands around", function()
    local given = fetch({ status = 200, body = "x", headers = { "ETag: \t \"one\" ",
      "Location: /a\1b", "Content-Type: a\127b", "X-Other: y" } }).headers
    assert.equal("\"one\"", given.etag)
    assert.is_nil(given.location)
    assert.is_nil(given["content-type"])
    assert.is_nil(given["x-other"])
  end)
end)
