-- From the link to the picture: fetched without the key, gone on with, verified, saved.

local core = require "kontext.core"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

local half = math.floor(#raw.picture / 2)
local sum = raw.sample().headers[3]
local xml = { status = 403, headers = { "Content-Type: application/xml" },
  body = "<?xml version=\"1.0\"?><Error><Code>AuthenticationFailed</Code></Error>" }
local broken = raw.sample { cut = half }
local rest = { status = 206, body = raw.picture:sub(half + 1),
  headers = { ("Content-Range: bytes %d-%d/%d"):format(half, #raw.picture - 1, #raw.picture) } }
local tagged = raw.sample { cut = half, headers = { 'ETag: "a"' } }
local another = { status = 206, body = "other" .. raw.picture:sub(half + 6),
  headers = { rest.headers[1], 'ETag: "b"' } }
local wrong = { status = 200, body = raw.picture:sub(1, -2) .. "x", headers = { sum } }
local text = { status = 200, body = "<html>an error that calls itself 200</html>" }
local function moved(to) return { status = 302, headers = { "Location: " .. to } } end
local shift = { status = 206, body = raw.picture:sub(half + 2), headers = {
  ("Content-Range: bytes %d-%d/%d"):format(half + 1, #raw.picture - 1, #raw.picture) } }
local short = { status = 206, body = raw.picture:sub(half + 1, -2), headers = rest.headers }

local ended = "$HERE/sample.png?se=2025-12-18T15%3A39%3A07Z&sig=c2lnbmF0dXJl"

-- `gets` of the picture, `polls`, and `kind` of the job's error; without one the picture came.
local rows = {
  { name = "comes whole", gets = 1 },
  { name = "comes without a length, an MD5 or an ETag", least = 1,
    sample = { { raw = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" .. raw.picture } } },
  { name = "comes whole with a Content-Range that lies", gets = 1,
    sample = { raw.sample { headers = { "Content-Range: bytes 0-1/99999999999999999999" } } } },
  { name = "meets a 500", gets = 2, sample = { raw.json(500, "{}"), raw.sample() } },
  { name = "meets a closed connection", gets = 2, sample = { { drop = true }, raw.sample() } },
  { name = "breaks off, and the rest is asked for", gets = 2, range = true,
    sample = { broken, rest } },
  { name = "breaks off, and the whole comes again", gets = 2, range = true,
    sample = { broken, raw.sample() } },
  { name = "breaks off, and another part comes than was asked for", gets = 3,
    sample = { broken, shift, rest } },
  { name = "breaks off, and a 416 comes", gets = 3,
    sample = { broken, { status = 416 }, raw.sample() } },
  { name = "has a wrong byte", gets = 2, sample = { wrong, raw.sample() } },
  { name = "is a page of text at first", gets = 2, sample = { text, raw.sample() } },
  { name = "has a fresh link that is refused at first", gets = 3,
    sample = { xml, xml, raw.sample() } },
  { name = "has a fresh link that is nowhere at first", gets = 3,
    sample = { { status = 404 }, { status = 404 }, raw.sample() } },
  { name = "has a link that ended, and a new one", gets = 1, polls = 2, sample = { xml },
    poll = { raw.ready { sample = ended }, raw.ready { sample = "$HERE/new.png" } },
    more = { ["GET /new.png"] = { raw.sample() } } },
  { name = "meets three 503 in a row", gets = 4, sample = { raw.json(503, "{}"),
    raw.json(503, "{}"), raw.json(503, "{}"), raw.sample() } },
  { name = "has an MD5 in hexadecimal", gets = 1, sample = { raw.sample { headers = {
    "Content-MD5: " .. core.md5(raw.picture):gsub(".", function(char)
      return ("%02X"):format(char:byte()) end) } } } },
  { name = "has an MD5 without padding", gets = 1,
    sample = { raw.sample { headers = { (sum:gsub("=+$", "")) } } } },
  { name = "has an MD5 that is none", gets = 1,
    sample = { raw.sample { headers = { "Content-MD5: none" } } } },
  { name = "is behind five redirects", gets = 1, sample = { moved "a" }, more = {
    ["GET /a"] = { moved "/case%d/b" }, ["GET /b"] = { moved "$HERE/c" },
    ["GET /c"] = { moved "d" }, ["GET /d"] = { moved "e" }, ["GET /e"] = { raw.sample() } } },

  { name = "breaks off every time", kind = "timeout", least = 2, sample = { raw.sample { cut = 10 },
    raw.sample { cut = 20 }, raw.sample { cut = 30 } } },
  { name = "always has a wrong byte", least = 2, kind = "timeout",
    says = "do not match their Content-MD5", sample = { wrong } },
  { name = "is a page of text", least = 2, kind = "timeout", sample = { text } },
  { name = "is shorter than its range says", least = 2, kind = "timeout",
    sample = { broken, short } },
  { name = "is never there", least = 2, kind = "timeout", says = "503",
    sample = { raw.json(503, "{}") } },
  { name = "is refused to the end of its time", least = 2, kind = "timeout", says = "403",
    sample = { xml } },
  { name = "has a link that ended, and gets no other", gets = 2, polls = 2, kind = "expired",
    status = 403, charged = true, poll = { raw.ready { sample = ended } },
    sample = { { status = 403, headers = { "Date: Thu, 18 Dec 2025 15:39:08 GMT" } } } },
  { name = "has a link that ended by our clock alone, and comes", gets = 4, polls = 4,
    sample = { xml, xml, xml, raw.sample() }, poll = { raw.ready { sample = ended } } },
  { name = "breaks off, and the rest is another picture's", gets = 3,
    sample = { tagged, another, raw.sample() } },
  { name = "is behind redirects without end", least = 4, kind = "timeout",
    sample = { moved "sample.png" } },
  { name = "has a link into our files", gets = 0, least_polls = 2, kind = "timeout",
    poll = { raw.ready { sample = "file:///etc/passwd" } } },
  { name = "has a link to plain HTTP elsewhere", gets = 0, least_polls = 2, kind = "timeout",
    poll = { raw.ready { sample = "http://evil.test/x.png" } } },
  { name = "stalls past the job's time", gets = 1, kind = "timeout", sample = { { hang = true } },
    params = { timeout = 2 } },
}
for i, row in ipairs(rows) do
  if row.kind == "timeout" then row.params = { timeout = 5 } end
  for _, answers in pairs(row.more or {}) do
    local lines = answers[1].headers
    for at, line in ipairs(lines) do lines[at] = line:gsub("%%d", i) end
  end
end

local server, folder

setup(function()
  server = raw.start()
  folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
end)

teardown(function()
  server:stop()
  os.execute("rm -r " .. folder)
end)

-- Asserts what all rows promise.
local function judge(row)
  local job, err = row.job, row.job.error
  assert.equal(1, raw.count(row, "POST"))
  if row.gets then assert.equal(row.gets, raw.count(row, "GET", "sample")) end
  if row.least then assert.is_true(raw.count(row, "GET", "sample") >= row.least) end
  local polls = raw.count(row, "GET", "get_result")
  if row.least_polls then
    assert.is_true(polls >= row.least_polls, polls)
  else
    assert.equal(row.polls or 1, polls)
  end
  for _, entry in ipairs(row.requests) do
    if not entry.path:find "/v1/" then assert.is_nil(entry.head:find(raw.key, 1, true)) end
  end
  if row.kind then
    assert.equal("failed", job.status)
    assert.equal(row.kind, err.kind, tostring(err))
    assert.equal("download", err.stage)
    assert.equal(row.status, err.status)
    assert.is_false(err.retryable)
    assert.equal(row.charged, err.charged)
    if row.kind ~= "expired" then
      assert.matches("resume", err.message)
      assert.equal(job:token(), err.token)
    end
    assert.is_nil(err.message:find("c2lnbmF0dXJl", 1, true))
    if row.says then assert.matches(row.says, err.message, 1, true) end
    assert.is_nil(job.image)
  else
    assert.equal("ready", job.status, tostring(err))
    assert.equal(raw.picture, job.image.bytes)
    assert.equal(#raw.picture, job.received)
  end
end

describe("a picture that", function()
  setup(function() server:rehearse(rows) end)
  teardown(function()
    for _, row in ipairs(rows) do row.client:close() end
  end)

  for _, row in ipairs(rows) do
    local outcome = row.kind and "ends the job: " .. row.kind or "is there"
    it(row.name .. ", " .. outcome, function()
      judge(row)
      local last = row.requests[#row.requests]
      if row.range then assert.equal(("bytes=%d-"):format(half), last.headers.range) end
    end)
  end

  it("was spoilt is never gone on with", function()
    for _, row in ipairs(rows) do
      if row.name:find "wrong byte" or row.name:find "page of text" then
        for _, entry in ipairs(row.requests) do assert.is_nil(entry.headers.range) end
      end
    end
  end)
end)

describe("a picture with save_as that", function()
  local saved = {}

  setup(function()
    for i, row in ipairs(rows) do
      saved[i] = {}
      for name, value in pairs(row) do saved[i][name] = value end
      saved[i].params = { save_as = folder .. "/" .. i .. ".png" }
      for name, value in pairs(row.params or {}) do saved[i].params[name] = value end
      local file = assert(io.open(saved[i].params.save_as, "wb"))
      file:write "the old one"
      file:close()
    end
    server:rehearse(saved)
  end)
  teardown(function()
    for _, row in ipairs(saved) do row.client:close() end
  end)

  for i, row in ipairs(rows) do
    it(("%s leaves %s in its place"):format(row.name, row.kind and "the old one" or "the new one"),
      function()
        judge(saved[i])
        assert.equal(row.kind and "the old one" or raw.picture,
          pictures.read(saved[i].params.save_as))
        if not row.kind then
          assert.equal(saved[i].params.save_as, saved[i].job.image.path)
          assert.is_nil(rawget(saved[i].job.image, "bytes"))
        end
      end)
  end

  it("came or not, nothing else stays in the folder", function()
    for _, row in ipairs(saved) do row.client:close() end
    local listing = assert(pictures.output("ls -A " .. folder))
    for name in listing:gmatch "[^\n]+" do assert.matches("^%d+%.png$", name) end
  end)
end)

describe("a picture larger than any", function()
  it("is given up at 64 MiB, each time, and stays resumable", function()
    local row = { params = { timeout = 6 }, sample = { { times = 65, body = ("x"):rep(1048576),
      raw = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n\137PNG" } } }
    server:rehearse { row }
    row.client:close()
    local err = row.job.error
    assert.same({ "timeout", "download" }, { err.kind, err.stage })
    assert.equal(row.job:token(), err.token)
    assert.is_true(raw.count(row, "GET", "sample") >= 2)
    assert.equal(1, raw.count(row, "POST"))
  end)
end)

describe("a picture that cannot be saved", function()
  -- Edits once with this save_as.
  local function save(path)
    local row = { params = { save_as = path } }
    server:rehearse { row }
    row.client:close()
    return row.job, row
  end

  it("where it is to be is told before anything is sent", function()
    os.execute("touch " .. folder .. "/file")
    for path, code in pairs {
      [folder .. "/no/such.png"] = "ENOENT", [folder .. "/"] = "EISDIR", [folder] = "EISDIR",
      ["/dev/full"] = "ENOTSUP", [folder .. "/file/x.png"] = "ENOTDIR",
      [folder .. "/" .. ("x"):rep(300)] = "ENAMETOOLONG",
    } do
      local job, row = save(path)
      assert.equal("failed", job.status)
      assert.same({ "file", "check", code, false },
        { job.error.kind, job.error.stage, job.error.code, job.error.charged })
      assert.equal(0, #row.requests)
    end
    os.remove(folder .. "/file")
  end)

  it("because its folder went away is in job.image, and put aside where the error says", function()
    local gone = folder .. "/gone"
    os.execute("mkdir " .. gone)
    local row = { params = { save_as = gone .. "/a.png", on_progress = function(job)
      if job.status == "pending" then os.execute("rm -rf " .. gone) end
    end } }
    server:rehearse { row }
    row.client:close()
    local job = row.job
    assert.same({ "file", "save", true },
      { job.error.kind, job.error.stage, job.error.charged })
    assert.equal(raw.picture, job.image.bytes)
    assert.equal(1, raw.count(row, "POST"))
    local aside = job.error.message:match "put aside as (%S+)"
    assert.is_truthy(aside, job.error.message)
    assert.equal(raw.picture, pictures.read(aside))
    os.remove(aside)
  end)

  it("through a link to nowhere makes the file, and never writes through the link", function()
    local path = folder .. "/link.png"
    os.execute(("ln -s %s/target.png %s"):format(folder, path))
    local job = save(path)
    assert.equal("ready", job.status, tostring(job.error))
    assert.equal(raw.picture, pictures.read(path))
    assert.is_nil(pictures.read(folder .. "/target.png"))
    os.remove(path)
  end)
end)
