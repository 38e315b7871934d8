-- One submit at most: what each of the service's answers leads to, and what the server saw of it.

local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

local detail = { detail = "no" }
local page = { status = 502, headers = { "Content-Type: text/html" },
  body = "<html><head><title>502 Bad Gateway</title></head></html>" }
local function html(status) return { status = status, headers = page.headers, body = page.body } end
local id = '{"id":"task-1","polling_url":"$HERE/v1/get_result?id=task-1"}'
local now = { "Retry-After: 0" } -- clamped to half a second

local whole_id = '{"id":"task-1","cost":4}'

-- Returns a text as gzip has it.
local function gzip(text)
  local path = os.tmpname()
  local file = assert(io.popen("gzip -nc > " .. path, "w"))
  file:write(text)
  file:close()
  local bytes = pictures.read(path)
  os.remove(path)
  return bytes
end

-- More than the kernel takes when nobody reads.
local large = { bytes = pictures.jpeg(800, 600) .. ("\85"):rep(12e6) }

-- `posts` that came, and `kind` of the job's error; without one the picture came.
local rows = {
  { name = "an accepted edit", posts = 1 },
  { name = "an accepted edit whose connection broke after the answer", posts = 1,
    submit = { { raw = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" .. id } } },
  { name = "an answer without a polling URL, as with a webhook", posts = 1,
    submit = { raw.json(200, { id = "task-1", status = "Pending" }) } },
  { name = "an answer with a polling URL that nobody may ask", posts = 1,
    submit = { raw.accepted { polling_url = "ftp://127.0.0.1/x" } } },
  { name = "an answer with a polling URL that is none", posts = 1,
    submit = { raw.accepted { polling_url = 17 } } },

  { name = "a whole 503", posts = 2, submit = { raw.json(503, detail), raw.accepted() } },
  { name = "nothing but whole 503s", posts = 3, submit = { raw.json(503, detail) },
    kind = "http", status = 503, retryable = true },
  { name = "a 429", posts = 2, submit = { raw.json(429, detail, now), raw.accepted() } },
  { name = "a 429 that tells when", posts = 2, after = 1,
    submit = { raw.json(429, detail, { "Retry-After: 1" }), raw.accepted() } },
  { name = "a 429 in HTML", posts = 2, submit = { html(429), raw.accepted() } },
  -- The second wait is longer than the time left: at the deadline no answer is awaited.
  { name = "nothing but 429s to the end of its time", posts = 2, submit = {
    raw.json(429, detail, now), raw.json(429, detail, { "Retry-After: 30" }) },
    params = { timeout = 5 }, kind = "rate_limited", status = 429, retryable = true,
    charged = false },
  { name = "seven 429s in a row", posts = 8, params = { timeout = 30 }, submit = {
    raw.json(429, detail, now), raw.json(429, detail, now), raw.json(429, detail, now),
    raw.json(429, detail, now), raw.json(429, detail, now), raw.json(429, detail, now),
    raw.json(429, detail, now), raw.accepted() } },
  { name = "a server that left in the middle of the body", posts = 2, whole = 1, large = true,
    submit = { { read = 1000, drop = true }, raw.accepted() } },
  { name = "a server that always leaves in the middle of the body", posts = 3, whole = 0,
    large = true, submit = { { read = 1000, drop = true } }, kind = "network", retryable = true,
    charged = false },
  { name = "a server that nobody runs", posts = 0, kind = "network", retryable = true,
    charged = false, options = { base_url = "http://127.0.0.1:1" } },
  { name = "a body that could not be sent in its time", posts = 1, whole = 0, large = true,
    submit = { { read = 1000, hang = true } }, params = { timeout = 2 },
    kind = "timeout", retryable = true },

  { name = "a 413 in the middle of the body", posts = 1, whole = 0, large = true,
    submit = { { read = 1000, status = 413, body = '{"detail":"no"}', drain = true } },
    kind = "invalid", status = 413 },
  { name = "a 400", posts = 1, submit = { raw.json(400, detail) }, kind = "invalid", status = 400 },
  { name = "a 401", posts = 1, submit = { raw.json(401, detail) }, kind = "auth", status = 401 },
  { name = "a 402", posts = 1, submit = { raw.json(402, detail) }, kind = "credits", status = 402 },
  { name = "a 403", posts = 1, submit = { raw.json(403, detail) }, kind = "auth", status = 403 },
  { name = "a 404", posts = 1, submit = { raw.json(404, detail) }, kind = "not_found",
    status = 404 },
  { name = "a web filter's 401", posts = 1, submit = { html(401) }, kind = "http", status = 401 },
  { name = "a web filter's 403", posts = 1, submit = { html(403) }, kind = "http", status = 403 },
  { name = "a proxy's 402", posts = 1, submit = { html(402) }, kind = "http", status = 402 },
  { name = "a 422 about the key", posts = 1, kind = "auth", status = 422,
    submit = { raw.json(422, { detail = "Invalid API key format" }) } },
  { name = "a 422", posts = 1, kind = "invalid", status = 422,
    says = "HTTP 422): seed: Input should be a valid integer",
    submit = { raw.json(422, '{"detail":[{"loc":["body","seed"],"type":"int_parsing",'
      .. '"msg":"Input should be a valid integer"}]}') } },

  { name = "a 422 behind a byte order mark", posts = 1, kind = "invalid", status = 422,
    submit = { raw.json(422, "\239\187\191" .. [[{"detail": "no"}]]) } },

  { name = "a 500", posts = 1, submit = { raw.json(500, detail) }, kind = "ambiguous",
    status = 500 },
  { name = "a 502 in HTML", posts = 1, submit = { page }, kind = "ambiguous", status = 502 },
  { name = "a 503 in HTML", posts = 1, submit = { html(503) }, kind = "ambiguous", status = 503 },
  { name = "a gateway's 503 with a message", posts = 1, kind = "ambiguous", status = 503,
    submit = { raw.json(503, { message = "no healthy upstream" }), raw.accepted() } },
  { name = "a gateway's 503 with an error", posts = 1, kind = "ambiguous", status = 503,
    submit = { raw.json(503, { error = "Service Unavailable" }), raw.accepted() } },
  { name = "a 504 in HTML", posts = 1, submit = { html(504) }, kind = "ambiguous", status = 504 },
  { name = "a 408", posts = 1, submit = { raw.json(408, detail) }, kind = "ambiguous",
    status = 408 },
  { name = "no answer", posts = 1, submit = { { drop = true } }, kind = "ambiguous" },
  { name = "no answer in its time", posts = 1, submit = { { hang = true } },
    params = { timeout = 2 }, kind = "ambiguous" },
  { name = "an answer that broke off behind the id", posts = 1, id = "task-1",
    submit = { { status = 200, body = id, cut = 40 } } },
  { name = "an answer that broke off inside the id", posts = 1, kind = "ambiguous", status = 200,
    submit = { { status = 200, body = id, cut = 12 } } },
  { name = "an answer with a byte order mark", posts = 1, id = "task-1",
    submit = { raw.json(200, "\239\187\191" .. id) } },
  { name = "an answer with bytes behind it", posts = 1, id = "task-1",
    submit = { raw.json(200, id .. "<!-- proxy -->") } },
  { name = "an answer that a middlebox has compressed", posts = 1, id = "task-1",
    submit = { { status = 200, body = gzip(whole_id), headers = { "Content-Encoding: gzip" } } } },
  { name = "an answer that broke off in its head", posts = 1, kind = "ambiguous", status = 200,
    submit = { { raw = "HTTP/1.1 200 OK\r\nContent-Le" } } },
  { name = "an empty answer", posts = 1, submit = { { status = 200 } }, kind = "ambiguous",
    status = 200 },
  { name = "an answer that is no JSON", posts = 1, submit = { html(200) }, kind = "ambiguous",
    status = 200 },
  { name = "an answer that is no HTTP", posts = 1, submit = { { raw = "SSH-2.0-x\r\n\r\n" } },
    kind = "ambiguous" },
  { name = "an answer without an id", posts = 1, submit = { raw.json(200, { cost = 4 }) },
    kind = "ambiguous", status = 200 },
  { name = "an answer whose id is a number", posts = 1, id = "5",
    submit = { raw.json(200, { id = 5 }) } },
  { name = "an answer larger than any", posts = 1, id = "task-1",
    submit = { raw.json(200, '{"id":"task-1","x":"' .. ("x"):rep(300000) .. '"}') } },
}
for _, status in ipairs { 301, 302, 303, 307, 308 } do
  rows[#rows + 1] = { name = "a redirect with " .. status, posts = 1, kind = "http",
    status = status,
    submit = { { status = status, headers = { "Location: $HERE/v1/flux-kontext-max" } } } }
end
for _, row in ipairs(rows) do
  if row.large then
    row.params = row.params or {}
    row.params.input_image = large
  end
end

describe("after", function()
  local server

  setup(function()
    server = raw.start()
    server:rehearse(rows)
  end)

  teardown(function()
    for _, row in ipairs(rows) do row.client:close() end
    server:stop()
  end)

  for _, row in ipairs(rows) do
    it(("%s %d submit%s came, and the edit is %s"):format(row.name, row.posts or row.least,
      row.posts == 1 and "" or row.posts and "s" or "s or more", row.kind or "ready"), function()
      local job, err = row.job, row.job.error
      local posts = raw.count(row, "POST")
      if row.posts then assert.equal(row.posts, posts) end
      if row.least then assert.is_true(posts >= row.least, posts) end
      local whole = 0
      for _, entry in ipairs(row.requests) do
        if entry.method == "POST" and entry.complete then whole = whole + 1 end
      end
      assert.equal(row.whole or posts, whole)
      if row.after then
        assert.is_true(row.requests[2].at - row.requests[1].at > row.after - 0.1)
      end
      if not row.kind then
        assert.equal("ready", job.status, tostring(err))
        assert.equal(raw.picture, job.image.bytes)
        if row.id then assert.equal(row.id, job.id) end
        return
      end
      assert.equal("failed", job.status)
      assert.equal(row.kind, err.kind, tostring(err))
      assert.equal("submit", err.stage)
      assert.equal(row.status, err.status)
      assert.equal(row.retryable or false, err.retryable)
      assert.equal(row.charged, err.charged)
      assert.is_nil(err.job_id)
      if row.says then assert.matches(row.says, err.message, 1, true) end
      if row.kind == "ambiguous" then assert.matches("may have been paid for", err.message) end
      assert.is_nil((err.message .. (err.body or "")):find(raw.key, 1, true))
    end)
  end

  it("any of these every submit came over a connection of its own", function()
    local seen = {}
    for _, row in ipairs(rows) do
      for _, entry in ipairs(row.requests) do
        if entry.method == "POST" then
          assert.is_nil(seen[entry.connection])
          seen[entry.connection] = true
        end
      end
    end
  end)

  it("any of these no redirect was followed", function()
    for _, row in ipairs(rows) do
      assert.equal(0, raw.count(row, "POST", "max"))
      assert.equal(0, row.kind == "http" and raw.count(row, "GET") or 0)
    end
  end)
end)

describe("an accepted edit", function()
  local server, row = nil, { params = { webhook_url = "https://example/hook",
    webhook_secret = "s3cret-of-a-test" }, options = { poll_interval = 0.01 } }

  setup(function()
    server = raw.start()
    row.submit = { raw.accepted { cost = 7.000000000000001 } }
    server:rehearse { row }
  end)

  teardown(function()
    row.client:close()
    server:stop()
  end)

  it("tells its id, where it is polled and what it costs", function()
    assert.equal("task-1", row.job.id)
    assert.equal(server.url .. "/case1/v1/get_result?id=task-1", row.job.polling_url)
    assert.is_true(math.abs(row.job.cost - 7) < 1e-9)
    assert.equal(row.job.sent, row.requests[1].got)
  end)
end)

describe("a submit", function()
  it("leaves idle connections alone: libcurl sends again what dies with one", function()
    local server = raw.start()
    local row = { credits = { raw.json(200, { credits = 1 }) }, poll = { raw.ready() } }
    row.credits[1].keep, row.poll[1].keep = true, true
    server:script(raw.service({}, "", row))
    local client = kontext.new { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
    assert(client:credits():wait(20))
    for _ = 1, 2 do assert(client:edit({ prompt = "x" }):wait(20)) end
    local idle, seen = server:requests("GET", "credits")[1].connection, {}
    assert.equal(idle, server:requests("GET", "get_result")[1].connection) -- it was there to take
    for _, entry in ipairs(server:requests "POST") do
      assert.not_equal(idle, entry.connection)
      assert.is_nil(seen[entry.connection])
      seen[entry.connection] = true
    end
    client:close()
    server:stop()
  end)
end)

describe("a refusal that repeats what was sent", function()
  it("shows neither the key nor the secret", function()
    local server = raw.start()
    local secret = 's3cret "of" a/test\\'
    local row = { params = { webhook_url = "https://e/", webhook_secret = secret },
      submit = { raw.json(422, { detail = { { loc = { "body" }, msg = "bad " .. raw.key,
        input = { webhook_secret = secret, key = raw.key } } } }) } }
    server:rehearse { row }
    local err = row.job.error
    assert.equal("invalid", err.kind)
    for _, text in ipairs { err.message, err.body, tostring(err), tostring(row.job),
      tostring(row.client) } do
      assert.is_nil(text:find(raw.key, 1, true))
      assert.is_nil(text:find("s3cret", 1, true), text)
    end
    row.client:close()
    server:stop()
  end)
end)
