local retry = require "kontext.job.retry"

local id = '{"id":"task-1","polling_url":"https://api.bfl.ai/v1/get_result?id=task-1"}'
local detail = '{"detail":"no"}'
local page = "<html><h1>Bad</h1></html>"

-- An engine's event of a submit of 100 bytes; what is not told is a whole exchange.
local function event(fields)
  fields.sent, fields.total = fields.sent or 100, 100
  fields.headers, fields.body = {}, fields.body or ""
  return fields
end

describe("a submit", function()
  local verdicts = {
    -- accepted: the id is what was paid for
    { "accepted", { status = 200, body = id } },
    { "accepted", { status = 201, body = id } },
    { "accepted", { status = 200, body = '{"id":"task-1"}' } },
    { "accepted", { status = 200, body = id, kind = "network" } },
    { "accepted", { status = 200, body = id, sent = 50 } },
    -- not sent: fewer body bytes went out than there are
    { "unsent", { kind = "network", sent = 0 } },
    { "unsent", { kind = "tls", sent = 0 } },
    { "unsent", { kind = "timeout", sent = 0 } },
    { "unsent", { kind = "network", sent = 99 } },
    { "unsent", { kind = "timeout", sent = 99 } },
    { "unsent", { status = 500, sent = 99, kind = "network" } },
    { "unsent", { status = 502, sent = 50 } },
    { "unsent", { status = 408, sent = 50 } },
    -- refused before work began
    { "limited", { status = 429, body = detail } },
    { "limited", { status = 429, body = page } },
    { "limited", { status = 429, body = "" } },
    { "limited", { status = 429, body = detail, sent = 50 } },
    { "refused", { status = 503, body = detail } },
    { "refused", { status = 503, body = '{"message":"busy"}' } },
    { "refused", { status = 503, body = '{"error":"busy"}' } },
    { "refused", { status = 503, body = '{"errors":["busy"]}' } },
    -- final
    { "final", { status = 301 } },
    { "final", { status = 302 } },
    { "final", { status = 303 } },
    { "final", { status = 307 } },
    { "final", { status = 308 } },
    { "final", { status = 400, body = detail } },
    { "final", { status = 401, body = detail } },
    { "final", { status = 402, body = detail } },
    { "final", { status = 403, body = detail } },
    { "final", { status = 403, body = page } },
    { "final", { status = 404, body = detail } },
    { "final", { status = 405 } },
    { "final", { status = 413, sent = 50 } },
    { "final", { status = 413, sent = 50, kind = "network" } },
    { "final", { status = 422, body = detail } },
    { "final", { kind = "file", sent = 50 } },
    { "final", { kind = "internal", sent = 0 } },
    -- it may have been accepted: never again by itself
    { "ambiguous", { status = 200, body = "" } },
    { "ambiguous", { status = 200, body = "{}" } },
    { "ambiguous", { status = 200, body = id:sub(1, -2) } },
    { "ambiguous", { status = 200, body = '{"id":5}' } },
    { "ambiguous", { status = 200, body = '{"id":null}' } },
    { "ambiguous", { status = 200, body = '{"id":""}' } },
    { "ambiguous", { status = 200, body = "[]" } },
    { "ambiguous", { status = 200, body = page } },
    { "ambiguous", { status = 200, body = "", sent = 50 } },
    { "ambiguous", { status = 204 } },
    { "ambiguous", { status = 408 } },
    { "ambiguous", { status = 500, body = detail } },
    { "ambiguous", { status = 500, body = id } },
    { "ambiguous", { status = 502, body = page } },
    { "ambiguous", { status = 503, body = page } },
    { "ambiguous", { status = 503, body = "" } },
    { "ambiguous", { status = 503, body = detail, kind = "network" } },
    { "ambiguous", { status = 503, body = '{"id":"task-1","status":"Pending"}' } },
    { "ambiguous", { status = 429, body = "", kind = "network" } },
    { "ambiguous", { status = 504, body = page } },
    { "ambiguous", { status = 520, body = page } },
    { "ambiguous", { kind = "network" } },
    { "ambiguous", { kind = "timeout" } },
    { "ambiguous", { kind = "tls" } },
    { "ambiguous", { kind = "protocol" } },
    { "ambiguous", { status = 200, kind = "protocol", body = "" } },
  }

  for _, row in ipairs(verdicts) do
    local verdict, of = row[1], row[2]
    it(("that ended with %s, %s of 100 bytes sent, %s is %s"):format(of.status or "no status",
      of.sent or 100, of.body and "the body " .. of.body or "no body", verdict)
      .. (of.kind and " (" .. of.kind .. ")" or ""), function()
      assert.equal(verdict, (retry.judge_submit(event(of))))
    end)
  end

  it("is answered by what the body says", function()
    local _, answer = retry.judge_submit(event { status = 200, body = id })
    assert.equal("task-1", answer.id)
    _, answer = retry.judge_submit(event { status = 422, body = detail })
    assert.equal("no", answer.detail)
    _, answer = retry.judge_submit(event { status = 502, body = page })
    assert.is_nil(answer)
  end)
end)

describe("a poll", function()
  local function status(text) return ('{"id":"a","status":"%s"}'):format(text) end

  local verdicts = {
    { "progress", 200, status "Pending" },
    { "progress", 200, status "Reasoning" },
    { "progress", 200, status "Generating" },
    { "progress", 200, status "Rendering Preview" },
    { "progress", 200, status "" },
    { "ready", 200, status "Ready" },
    { "ready", 422, status "Ready" },
    { "ready", 503, status "Ready" },
    { "moderated", 200, status "Request Moderated" },
    { "moderated", 200, status "Content Moderated" },
    { "moderated", 422, status "Content Moderated" },
    { "failed", 200, status "Error" },
    { "failed", 200, status "Failed" },
    { "failed", 503, status "Error" },
    { "missing", 200, status "Task not found", 10 },
    { "missing", 404, status "Task not found", 100 },
    { "trouble", 200, status "Task not found", 9.9 },
    { "trouble", 404, detail, 0 },
    { "missing", 404, detail, 10 },
    { "missing", 404, page, 11 },
    { "redirect", 301, "" },
    { "redirect", 307, "" },
    { "trouble", 200, "" },
    { "trouble", 200, "{}" },
    { "trouble", 200, page },
    { "trouble", 200, '{"id":"a","status":null}' },
    { "trouble", 200, '{"id":"a","status":5}' },
    { "trouble", 408, "" },
    { "trouble", 429, detail },
    { "trouble", 500, detail },
    { "trouble", 502, page },
    { "trouble", 503, page },
    { "trouble", 504, page },
    { "trouble", 599, "" },
    { "final", 400, detail },
    { "final", 401, detail },
    { "final", 402, detail },
    { "final", 403, detail },
    { "final", 410, "" },
    { "final", 422, detail },
  }

  for _, row in ipairs(verdicts) do
    local verdict, code, body, age = row[1], row[2], row[3], row[4] or 5
    it(("answered with HTTP %d and %q %g s after the submit is %s"):format(code, body, age,
      verdict), function()
      assert.equal(verdict, (retry.judge_poll(event { status = code, body = body }, age)))
    end)
  end

  it("that broke off is trouble, and trouble never ends a task that was paid for", function()
    for _, kind in ipairs { "network", "tls", "timeout" } do
      assert.equal("trouble", (retry.judge_poll(event { kind = kind }, 5)))
      assert.equal("trouble", (retry.judge_poll(event { kind = kind, status = 200 }, 5)))
    end
    for _, code in ipairs { 408, 429, 500, 502 } do
      assert.equal("trouble", (retry.judge_poll(event { kind = "protocol", status = code }, 5)))
    end
  end)

  it("that no repetition mends is final", function()
    assert.equal("final", (retry.judge_poll(event { kind = "internal" }, 5)))
    assert.equal("final", (retry.judge_poll(event { kind = "protocol" }, 5)))
  end)

  it("that told its whole status counts, whatever broke afterwards", function()
    assert.equal("ready", (retry.judge_poll(event { kind = "network", status = 200,
      body = status "Ready" }, 5)))
  end)

  it("of a resumed task takes its missing at its word", function()
    assert.equal("missing", (retry.judge_poll(event { status = 404, body = "" }, math.huge)))
  end)

  it("tells who moderated", function()
    local answer = event { status = 200, body = status "Request Moderated" }
    local _, _, class = retry.judge_poll(answer, 5)
    assert.equal("request", class.stage)
    _, _, class = retry.judge_poll(event { status = 200, body = status "Content Moderated" }, 5)
    assert.equal("content", class.stage)
  end)
end)

describe("a download", function()
  for verdict, statuses in pairs {
    arrived = { 200, 206 }, redirect = { 301, 302, 303, 307, 308 },
    trouble = { 408, 416, 429, 500, 502, 503, 504, 599 }, expired = { 400, 403, 404, 410 },
  } do
    for _, status in ipairs(statuses) do
      it(("answered with HTTP %d is %s"):format(status, verdict), function()
        assert.equal(verdict, retry.judge_download(event { status = status }))
      end)
    end
  end

  it("that broke off goes on, one that cannot be written does not", function()
    for _, kind in ipairs { "network", "tls", "timeout", "protocol" } do
      assert.equal("trouble", retry.judge_download(event { status = 200, kind = kind }))
    end
    assert.equal("final", retry.judge_download(event { status = 200, kind = "file" }))
    assert.equal("final", retry.judge_download(event { kind = "internal" }))
  end)
end)

describe("Retry-After", function()
  local function date(offset)
    return os.date("!%a, %d %b %Y %H:%M:%S GMT", os.time() + offset)
  end

  it("is read as a number of seconds, from 0.5 to 60", function()
    for text, seconds in pairs {
      ["0"] = 0.5, ["0.1"] = 0.5, ["1"] = 1, ["2.5"] = 2.5, [" 7 "] = 7, ["59"] = 59, ["60"] = 60,
      ["61"] = 60, ["86400"] = 60, [("9"):rep(400)] = 60,
    } do
      assert.equal(seconds, retry.after(text))
    end
  end)

  it("is read as a date, from 0.5 to 60 s from now", function()
    assert.is_true(math.abs(retry.after(date(20)) - 20) <= 1)
    assert.equal(60, retry.after(date(4000)))
    assert.equal(0.5, retry.after(date(0)))
    assert.equal(0.5, retry.after(date(-4000)))
    assert.equal(0.5, retry.after "Thu, 18 Dec 2014 15:39:07 GMT")
  end)

  it("is nothing where it cannot be read", function()
    for _, text in ipairs { "", " ", "soon", "-1", "1 second", "0x10", "1e3", "nan", "inf",
      "Thu, 18 Foo 2025 15:39:07 GMT", "Thu, 18 Dec 2025", date(10):sub(1, -4) } do
      assert.is_nil(retry.after(text))
    end
    assert.is_nil(retry.after(nil))
  end)
end)

describe("the time between", function()
  -- The smallest and the largest of many.
  local function spread(fn, n)
    local least, most = math.huge, -math.huge
    for _ = 1, 2000 do
      local seconds = fn(n)
      least, most = math.min(least, seconds), math.max(most, seconds)
    end
    return least, most
  end

  it("submits has full jitter over 0.5 s, 1 s, 2 s … 8 s", function()
    for n, bound in ipairs { 0.5, 1, 2, 4, 8, 8, 8 } do
      local least, most = spread(retry.backoff, n)
      assert.is_true(least >= 0 and least < bound * 0.1, least)
      assert.is_true(most <= bound and most > bound * 0.9, most)
    end
  end)

  it("polls that fail grows to 8 s and never falls to nothing", function()
    for n, bound in ipairs { 0.5, 1, 2, 4, 8, 8 } do
      local least, most = spread(retry.trouble_gap, n)
      assert.is_true(least >= bound / 2 and most <= bound, ("%g %g"):format(least, most))
    end
  end)

  it("polls of a task that a webhook tells of is long", function()
    assert.equal(10, retry.webhook_gap(0))
    assert.equal(60, retry.webhook_gap(100))
  end)

  it("tries leaves the host's own random numbers alone", function()
    math.randomseed(42)
    local wanted = math.random(1e6)
    math.randomseed(42)
    local before = math.random(1e6)
    assert.equal(wanted, before)
    retry.backoff(1)
    assert.is_number(math.random())
  end)
end)
