-- From the id to the end of the task: what a poll's answers lead to, and who is asked with the key.

local clock = require "spec.support.clock"
local hours = require "spec.support.hours"
local raw = require "spec.support.raw"

local pending = raw.status "Pending"
local page = { status = 502, headers = { "Content-Type: text/html" }, body = "<h1>Bad</h1>" }
local function moved(status, to) return { status = status, headers = { "Location: " .. to } } end
local reasons = { ["Moderation Reasons"] = { "Derivative Works Filter", "Safety Filter" } }

local endless = {} -- but for this server's patience
for line = 1, 1000 do endless[line] = ("X-%d: %s"):format(line, ("x"):rep(80)) end

local own_id = "0e1a5b4c-0d3f-4c7e-9c55-3f6f7b0c1d2e"
local other_id = "7f9d2c11-5a0b-4b8e-8f21-0a9c8b7d6e5f"
local result = '{"id":"task-1","status":"Ready","result":{"sample":"$HERE/sample.png"%s}}'

-- `polls` that came and `kind` of the job's error; without one the picture came.
local rows = {
  { name = "Ready", polls = 1 },
  { name = "Pending, then Ready", polls = 3, poll = { pending, pending, raw.ready() } },
  { name = "newer statuses on the way", polls = 4, poll = { raw.status "Reasoning",
    raw.status "Generating", raw.status "Rendering Preview", raw.ready() } },
  { name = "Ready inside of a 503", polls = 1,
    poll = { { status = 503, body = raw.ready().body } } },
  { name = "trouble of every kind on the way", polls = 11, poll = {
    raw.json(500, { detail = "no" }), pending, page, pending, { drop = true }, pending,
    { status = 200, body = '{"id":"ta', cut = 9 }, pending, { status = 200, body = "{}" },
    { status = 502, body = ("x"):rep(300000) }, raw.ready() } },
  { name = "three in a row that broke off", polls = 4, gaps = { 0.25, 0.5, 1 },
    poll = { { drop = true }, { drop = true }, { drop = true }, raw.ready() } },
  { name = "a 429 on the way", polls = 2,
    poll = { raw.json(429, { detail = "slow down" }, { "Retry-After: 0.5" }), raw.ready() } },
  { name = "Retry-After on good answers, which asks for nothing", polls = 5,
    params = { timeout = 10 }, poll = {
    raw.json(200, { id = "task-1", status = "Pending" }, { "Retry-After: 30",
      "X-Ratelimit-Remaining: 0", "X-Ratelimit-Reset: 1766006912.67" }),
    pending, pending, pending, raw.ready() } },
  { name = "Task not found from a replica that lags", polls = 3,
    poll = { raw.status "Task not found", raw.json(404, { detail = "Not Found" }), raw.ready() } },
  { name = "a redirect to a path", polls = 1, poll = { moved(302, "/case%d/moved") },
    more = { ["GET /moved"] = { raw.ready() } }, moved = 1 },
  { name = "five redirects", polls = 5, poll = { moved(307, "get_result?id=1"),
    moved(307, "get_result?id=2"), moved(301, "get_result?id=3"), moved(302, "get_result?id=4"),
    moved(303, "$HERE/moved") }, more = { ["GET /moved"] = { raw.ready() } }, moved = 1 },
  { name = "Ready without a link at first", polls = 2,
    poll = { raw.status("Ready", { result = { seed = 7 } }), raw.ready() } },

  { name = "Request Moderated", polls = 1, kind = "moderated", stage = "request", charged = false,
    status = 200, poll = { raw.status("Request Moderated", { details = reasons }) },
    reasons = { "Derivative Works Filter", "Safety Filter" }, says = "Filter, Safety F" },
  { name = "Content Moderated inside of a 422", polls = 1, kind = "moderated", stage = "content",
    charged = false, status = 422, poll = { { status = 422,
      body = raw.status("Content Moderated", { details = reasons }).body } },
    reasons = { "Derivative Works Filter", "Safety Filter" } },
  { name = "Request Moderated with one reason as a text", polls = 1, kind = "moderated",
    stage = "request", status = 200, charged = false, reasons = { "Because" },
    poll = { raw.status("Request Moderated",
      { details = { ["Moderation Reasons"] = "Because" } }) } },
  { name = "Content Moderated without a reason", polls = 1, kind = "moderated", stage = "content",
    charged = false, status = 200, poll = { raw.status "Content Moderated" }, reasons = {} },
  { name = "Error", polls = 1, kind = "failed", says = "could not make the picture: out of luck",
    status = 200, poll = { raw.status("Error", { details = { error = "out of luck" } }) } },
  { name = "Failed", polls = 1, kind = "failed", status = 200, poll = { raw.status "Failed" } },
  { name = "Error inside of a 503", polls = 1, kind = "failed", status = 503,
    says = "could not make the picture: code: 17; reason: out of luck",
    poll = { raw.json(503,
      { status = "Error", details = { reason = "out of luck", code = 17 } }) } },
  { name = "an answer larger than any, then Ready", polls = 2,
    poll = { raw.status("Ready", { x = ("x"):rep(300000) }), raw.ready() } },
  { name = "another task's end, then its own", polls = 3, submit = { raw.accepted { id = own_id } },
    poll = { raw.status("Error", { id = other_id }), raw.status("Ready", { id = other_id,
      result = { sample = "$HERE/other.png" } }), raw.status("Ready", { id = own_id,
      result = { sample = "$HERE/sample.png" } }) } },
  { name = "a status that no document names, to the end of its time", kind = "timeout",
    poll = { raw.status "Dreaming" }, params = { timeout = 2 }, resumable = true,
    options = { poll_interval = 0.1 }, says = '"Dreaming"' },
  { name = "headers without end", poll = { { status = 200, headers = endless,
    body = raw.ready().body } } },
  { name = "redirects without end", poll = { moved(302, "$HERE/v1/get_result?id=again") } },
  { name = "a redirect to nowhere", poll = { { status = 302 } } },
  { name = "a redirect to a file", poll = { moved(302, "file:///etc/passwd") } },
  { name = "Ready without a link", poll = { raw.status("Ready", { result = { seed = 7 } }) } },
  { name = "no answer in its time", polls = 1, kind = "timeout", poll = { { hang = true } },
    params = { timeout = 2 }, resumable = true },
}
for _, status in ipairs { 400, 401, 402, 403, 405, 407, 409, 410, 421, 422, 425, 451 } do
  local refusal = raw.json(status, { detail = "no" })
  rows[#rows + 1] = { name = ("a %d, twice"):format(status), polls = 3,
    poll = { refusal, refusal, raw.ready() } }
  rows[#rows + 1] = { name = ("nothing but %d"):format(status), poll = { refusal } }
end
for _, row in ipairs(rows) do
  if not row.polls and not row.kind then -- trouble on the way to the end of its time
    row.kind, row.resumable, row.params = "timeout", true, { timeout = 2 }
  end
end
for i, row in ipairs(rows) do
  for _, answer in ipairs(row.poll or {}) do
    for at, line in ipairs(answer.headers or {}) do answer.headers[at] = line:gsub("%%d", i) end
  end
end

local server, other

setup(function()
  server, other = raw.start(), raw.start()
end)

teardown(function()
  server:stop()
  other:stop()
end)

describe("a task whose polls meet", function()
  setup(function() server:rehearse(rows, { timeout = 15 }) end)
  teardown(function()
    for _, row in ipairs(rows) do row.client:close() end
  end)

  for _, row in ipairs(rows) do
    it(("%s is %s"):format(row.name, row.kind or "ready"), function()
      local job, err = row.job, row.job.error
      if row.polls then assert.equal(row.polls, raw.count(row, "GET", "get_result")) end
      for at, gap in ipairs(row.gaps or {}) do -- the submit is the first request
        assert.is_true(row.requests[at + 2].at - row.requests[at + 1].at > gap - 0.05, at)
      end
      assert.equal(row.moved or 0, raw.count(row, "GET", "moved"))
      assert.equal(1, raw.count(row, "POST"))
      if not row.kind then
        assert.equal("ready", job.status, tostring(err))
        assert.equal(raw.picture, job.image.bytes)
        return
      end
      assert.equal("failed", job.status)
      assert.equal(row.kind, err.kind, tostring(err))
      assert.equal(row.stage or "poll", err.stage)
      assert.equal(row.status, err.status)
      assert.equal(row.charged, err.charged)
      assert.same(row.reasons, err.reasons)
      assert.equal("task-1", err.job_id)
      assert.equal(job.polling_url, err.polling_url)
      assert.is_false(err.retryable)
      if row.says then assert.matches(row.says, err.message, 1, true) end
      if row.resumable then
        assert.matches("resume", err.message)
        assert.equal(job:token(), err.token)
      end
    end)
  end

  it("redirects is asked there without the key", function()
    for _, row in ipairs(rows) do
      for _, entry in ipairs(row.requests) do
        local first = entry.target:find("get_result?id=task-1", 1, true)
        if entry.method == "GET" then
          assert.equal(first and raw.key or nil, entry.headers["x-key"], entry.target)
        end
      end
    end
  end)
end)

-- Edits once against this script.
local function once(spoilt)
  server:rehearse { spoilt }
  spoilt.client:close()
  return spoilt.job, spoilt.requests
end

describe("a polling URL", function()
  local elsewhere

  setup(function()
    local sample = server.url .. "/case1/sample.png"
    elsewhere = { ["GET /elsewhere"] = { raw.ready { sample = sample } } }
  end)

  it("is asked verbatim, with the key on the base's own origin", function()
    local target = "/case1/a/../v1/./get_result?id=task-1&x=%2F+a%20b&id=task-1#f"
    local job, requests = once { submit = { raw.accepted { polling_url = "$BASE" .. target } },
      more = { ["GET /a/../v1/./get_result"] = { raw.ready() } } }
    assert.equal("ready", job.status)
    assert.equal((target:gsub("#f", "")), requests[2].target)
    assert.equal(raw.key, requests[2].headers["x-key"])
    assert.equal("application/json", requests[2].headers.accept)
  end)

  it("of another origin is asked without the key", function()
    other:script(elsewhere)
    local job = once { submit = { raw.accepted { polling_url = other.url .. "/elsewhere?id=1" } } }
    assert.equal("ready", job.status)
    local seen = other:requests()
    assert.equal(1, #seen)
    assert.equal("/elsewhere?id=1", seen[1].target)
    assert.is_nil(seen[1].head:find(raw.key, 1, true))
  end)

  it("that redirects to another origin takes no key there", function()
    other:script(elsewhere)
    for _, status in ipairs { 301, 302, 303, 307, 308 } do
      local job = once { poll = { moved(status, other.url .. "/elsewhere") } }
      assert.equal("ready", job.status)
    end
    local seen = other:requests()
    assert.equal(5, #seen)
    for _, entry in ipairs(seen) do assert.is_nil(entry.head:find(raw.key, 1, true)) end
  end)

  it("that may not be asked is replaced by the base's own", function()
    for _, url in ipairs { "http://evil.test/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "",
      "https://user@127.0.0.1/x", "nonsense" } do
      local job, requests = once { submit = { raw.accepted { id = "a/b ?", polling_url = url } } }
      assert.equal("ready", job.status)
      assert.equal("/case1/v1/get_result?id=a%2Fb%20%3F", requests[2].target)
    end
  end)
end)

describe("polls", function()
  it("keep one connection while the server does", function()
    local kept = { status = 200, keep = true, body = pending.body }
    local _, requests = once { poll = { kept, kept, kept, kept, raw.ready() } }
    for at = 3, 6 do assert.equal(requests[2].connection, requests[at].connection) end
    assert.not_equal(requests[1].connection, requests[2].connection)
  end)

  it("begin a second after the submit where no interval is given", function()
    local client = require "kontext".new { base_url = server.url, api_key = raw.key }
    server:script(raw.service({}, ""))
    local job = client:edit { prompt = "x" }
    local took, image = clock(job.wait, job, 10)
    assert.is_truthy(image)
    assert.is_true(took < 1.9, took)
    assert.is_true(server:requests("GET")[1].at - server:requests("POST")[1].at > 0.8)
    client:close()
  end)

  it("show how far the task is, between 0 and 1 and never back to nothing", function()
    local answers, shown = {}, {}
    for _, value in ipairs { "0.1", "0.5", "null", "-3", "17", '"x"' } do
      answers[#answers + 1] = raw.json(200,
        '{"id":"task-1","status":"Pending","progress":' .. value .. "}")
    end
    answers[#answers + 1] = raw.ready()
    once { poll = answers, params = { on_progress = function(job)
      if job.status == "pending" and job.progress then shown[#shown + 1] = job.progress end
    end } }
    assert.same({ 0.1, 0.5, 0.5, 0, 1, 1 }, shown)
  end)

  it("settle what the edit costs", function()
    local job = once { poll = { raw.status("Pending", { cost = 5 }), raw.ready() } }
    assert.equal(5, job.cost)
    assert.equal(5, job.image.cost)
  end)
end)

describe("a result", function()
  -- The image that comes of a Ready with these further fields of the result.
  local function image(fields, params)
    local job = once { poll = { raw.json(200, result:format(fields)) }, params = params }
    assert.equal("ready", job.status, tostring(job.error))
    return job.image
  end

  it("may lack everything but the link", function()
    for _, fields in ipairs { "", ',"seed":null,"prompt":null,"duration":null,"start_time":null',
      ',"seed":"x","prompt":5,"duration":"soon","start_time":"a","end_time":[]' } do
      local made = image(fields)
      assert.equal("task-1", made.id)
      assert.equal("Change it", made.prompt)
      assert.is_nil(made.seed)
      assert.is_nil(made.duration)
      assert.same({ "png", 64, 48 }, { made.format, made.width, made.height })
    end
  end)

  it("tells the seed to the last digit", function()
    assert.equal(42, image(',"seed":42').seed)
    assert.equal("18446744073709551615", image(',"seed":18446744073709551615').seed)
    local seed = image(',"seed":9007199254740993').seed
    assert.equal("9007199254740993", require "kontext.json".integer(seed))
    assert.equal(1234567890, image(',"seed":5', { seed = 1234567890 }).seed)
  end)

  it("tells how long the service worked", function()
    assert.equal(3.5, image(',"duration":3.5').duration)
    assert.equal(2, image(',"start_time":10.5,"end_time":12.5').duration)
  end)
end)

describe("a resumed task", function()
  local function resume(poll)
    server:script(raw.service({}, "/case1", { poll = poll }))
    local maker = require "kontext".new { base_url = server.url .. "/case1", api_key = raw.key }
    local row = { prefix = "/case1", client = maker }
    local text = require "kontext.token".write { id = "task-1",
      polling_url = server.url .. "/case1/v1/get_result?id=task-1" }
    row.job = maker:resume(text)
    server:drive { row }
    maker:close()
    return row
  end

  it("is polled at once, and costs no submit", function()
    local took, row = clock(resume)
    assert.equal("ready", row.job.status)
    assert.equal(raw.picture, row.job.image.bytes)
    assert.same({ 0, 1 }, { raw.count(row, "POST"), raw.count(row, "GET", "get_result") })
    assert.is_true(took < 0.9, took)
  end)

end)

describe("a task that the service no longer knows", function()
  -- Returns the ended job, its requests, and how many seconds of the client's time it took.
  local function ask(poll, params)
    server:script(raw.service({}, "/case1", { poll = poll }))
    local on = hours.system()
    local client = require "kontext.client.client".new({ base_url = server.url .. "/case1",
      api_key = raw.key, journal = params and params.journal }, on)
    local job
    if params and params.edit then
      job = client:edit { prompt = "x", timeout = params.timeout }
    else
      job = client:resume(require "kontext.token".write { id = "task-1", model = "flux-kontext-pro",
        polling_url = server.url .. "/case1/v1/get_result?id=task-1" })
    end
    local took = hours.drive(client, on, function() return job:ended() end, 400)
    local row = { prefix = "/case1", client = client, job = job }
    server:drive { row }
    client:close()
    return row, took
  end
  local unknown = { raw.status "Task not found", raw.json(404, { detail = "Task not found" }) }

  it("is lost after 60 s of it, not sooner, and is not paid again", function()
    for _, answer in ipairs(unknown) do
      for _, params in ipairs { {}, { edit = true } } do
        local row, took = ask({ answer }, params)
        assert.equal("lost", row.job.error and row.job.error.kind, row.job.status)
        assert.is_true(took >= 60 and took < 120, took)
        assert.is_true(raw.count(row, "GET", "get_result") >= 5)
        assert.equal(params.edit and 1 or 0, raw.count(row, "POST"))
        assert.is_false(row.job.error.retryable)
        assert.matches("task%-1", row.job.error.message)
      end
    end
  end)

  it("is not lost while anything else comes between", function()
    local answers = {}
    for _ = 1, 12 do
      for _ = 1, 6 do answers[#answers + 1] = unknown[1] end
      answers[#answers + 1] = pending
    end
    answers[#answers + 1] = raw.ready()
    local row, took = ask(answers, { edit = true, timeout = 3000 })
    assert.equal("ready", row.job.status, tostring(row.job.error))
    assert.is_true(took > 60, took)
    assert.equal(raw.picture, row.job.image.bytes)
  end)

  it("is not lost by the word of a page that has no detail", function()
    for _, answer in ipairs { { status = 404 }, { status = 404, body = page.body },
      raw.json(404, { message = "no Route matched with those values" }) } do
      local row = ask({ answer }, { edit = true, timeout = 90 })
      assert.equal("timeout", row.job.error.kind)
      assert.equal(row.job:token(), row.job.error.token)
      assert.equal(1, raw.count(row, "POST"))
    end
  end)
end)
