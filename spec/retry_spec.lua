local answer = require "kontext.job.answer"
local retry = require "kontext.job.retry"
local system = require "kontext.system"

local id = '{"id":"task-1","polling_url":"https://api.bfl.ai/v1/get_result?id=task-1"}'
local detail = '{"detail":"no"}'
local page = "<html><h1>Bad</h1></html>"

-- An engine's event of a submit of 100 bytes; what is not told is a whole exchange.
local function event(fields)
  fields.sent, fields.total = fields.sent or 100, 100
  fields.headers, fields.body = {}, fields.body or ""
  return fields
end

-- Returns the verdict on a submit, and what its answer says of the task.
local function judge_submit(fields)
  local of = event(fields)
  local object = answer.read(of)
  local task = answer.task(of, object)
  return retry.judge_submit(of, object, task), task
end

-- Returns the verdict on a poll of the task "task-1", and the class of its status.
local function judge_poll(fields, others)
  local of = event(fields)
  return retry.judge_poll(of, answer.read(of), "task-1", function(task_id)
    return others ~= nil and others[task_id] == true
  end)
end

describe("a submit", function()
  local verdicts = {
    -- accepted: the id is what was paid for
    { "accepted", { status = 200, body = id } },
    { "accepted", { status = 201, body = id } },
    { "accepted", { status = 200, body = '{"id":"task-1"}' } },
    { "accepted", { status = 200, body = id, kind = "network" } },
    { "accepted", { status = 200, body = id, sent = 50 } },
    { "accepted", { status = 200, body = id:sub(1, -2) } },
    { "accepted", { status = 200, body = id:sub(1, -2), kind = "network" } },
    { "accepted", { status = 200, body = '{"id":5}' } },
    { "accepted", { status = 200, body = "\239\187\191" .. id } },
    { "accepted", { status = 200, body = id .. "\n<!-- served by a proxy -->" } },
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
    { "ambiguous", { status = 503, body = '{"message":"no healthy upstream"}' } },
    { "ambiguous", { status = 503, body = '{"error":"busy"}' } },
    { "ambiguous", { status = 503, body = '{"errors":["busy"]}' } },
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
      assert.equal(verdict, (judge_submit(of)))
    end)
  end

  it("tells every id that can be read, also of an answer that is ambiguous", function()
    for body, wanted in pairs { [id] = "task-1", [id:sub(1, 20)] = "task-1", ['{"id":5}'] = "5",
      ['{"id":123456789012345}'] = "123456789012345" } do
      for _, status in ipairs { 200, 500 } do
        local _, task = judge_submit { status = status, body = body }
        assert.equal(wanted, task and task.id, body)
      end
    end
    for _, body in ipairs { page, "", "[]", '{"id":""}', '{"id":null}', '{"id":{}}',
      '{"id":"' .. ("x"):rep(5000) .. '"}' } do
      local _, task = judge_submit { status = 200, body = body }
      assert.is_nil(task, body)
    end
  end)

  it("that was refused is the key's or the account's fault only by the service's word", function()
    local own, other = { detail = "no" }, { message = "no" }
    for _, row in ipairs { { "auth", 401, own }, { "auth", 403, own }, { "credits", 402, own },
      { "http", 401, other }, { "http", 403, other }, { "http", 402, other }, { "http", 403 },
      { "http", 402 }, { "invalid", 400, own }, { "invalid", 422, own }, { "http", 422 },
      { "not_found", 404, own }, { "http", 404 }, { "invalid", 413 }, { "rate_limited", 429 },
      { "auth", 422, { detail = "Invalid API key format" } }, { "http", 405, own } } do
      assert.equal(row[1], retry.refusal_kind(row[2], row[3]), row[2])
    end
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
    { "missing", 200, status "Task not found" },
    { "missing", 404, status "Task not found" },
    { "missing", 404, detail },
    { "trouble", 404, page },
    { "trouble", 404, "" },
    { "trouble", 404, '{"message":"no Route matched"}' },
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
    { "trouble", 400, detail },
    { "trouble", 401, detail },
    { "trouble", 402, detail },
    { "trouble", 403, detail },
    { "trouble", 407, page },
    { "trouble", 409, detail },
    { "trouble", 410, "" },
    { "trouble", 421, "" },
    { "trouble", 422, detail },
    { "trouble", 425, "" },
  }

  for _, row in ipairs(verdicts) do
    local verdict, code, body = row[1], row[2], row[3]
    it(("answered with HTTP %d and %q is %s"):format(code, body, verdict), function()
      assert.equal(verdict, (judge_poll { status = code, body = body }))
    end)
  end

  it("that broke off is trouble, and trouble never ends a task that was paid for", function()
    for _, kind in ipairs { "network", "tls", "timeout", "protocol", "internal" } do
      assert.equal("trouble", (judge_poll { kind = kind }))
      for _, code in ipairs { 200, 302, 404, 408, 429, 500, 502 } do
        assert.equal(code == 404 and "missing" or "trouble",
          (judge_poll { kind = kind, status = code, body = code == 404 and detail or "" }))
      end
    end
  end)

  it("that told its whole status counts, whatever broke afterwards", function()
    assert.equal("ready", (judge_poll { kind = "network", status = 200, body = status "Ready" }))
  end)

  it("about another task is trouble, whatever it says", function()
    local others = { ["task-2"] = true }
    for _, text in ipairs { "Ready", "Error", "Task not found", "Request Moderated", "Pending" } do
      local body = ('{"id":"task-2","status":"%s"}'):format(text)
      assert.equal("trouble", (judge_poll({ status = 200, body = body }, others)))
    end
  end)

  it("tells who moderated", function()
    local _, class = judge_poll { status = 200, body = status "Request Moderated" }
    assert.equal("request", class.stage)
    _, class = judge_poll { status = 200, body = status "Content Moderated" }
    assert.equal("content", class.stage)
  end)
end)

describe("a download", function()
  for verdict, statuses in pairs {
    arrived = { 200, 206 }, redirect = { 301, 302, 303, 307, 308 },
    trouble = { 400, 401, 407, 408, 416, 429, 500, 502, 503, 504, 599 }, gone = { 403, 404, 410 },
  } do
    for _, status in ipairs(statuses) do
      it(("answered with HTTP %d is %s"):format(status, verdict), function()
        assert.equal(verdict, retry.judge_download(event { status = status }))
      end)
    end
  end

  it("that broke off is trouble, and trouble ends nothing", function()
    for _, kind in ipairs { "network", "tls", "timeout", "protocol", "file", "internal" } do
      assert.equal("trouble", retry.judge_download(event { status = 200, kind = kind }))
      assert.equal("trouble", retry.judge_download(event { status = 403, kind = kind }))
      assert.equal("trouble", retry.judge_download(event { kind = kind }))
    end
  end)
end)

describe("a link", function()
  it("ends when its se says, in whatever encoding", function()
    for _, text in ipairs { "2025-12-18T15:39:07Z", "2025-12-18T15%3A39%3A07Z",
      "2025-12-18T15%3a39%3a07Z" } do
      assert.equal(1766072347, retry.link_end("https://d/x.png?sv=1&se=" .. text .. "&sig=a"))
    end
  end)

  it("that does not say so, or says nonsense, has no end of its own", function()
    for _, query in ipairs { "", "?sv=1", "?se=", "?se=soon", "?xse=2025-12-18T15:39:07Z",
      "?se=2025-13-18T15:39:07Z", "?se=0000-00-00T00:00:00Z", "?se=" .. ("9"):rep(9e4) } do
      assert.is_nil(retry.link_end("https://d/x.png" .. query))
    end
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
      assert.equal(seconds, retry.after(text, os.time()))
    end
  end)

  it("is read as a date, from 0.5 to 60 s from now", function()
    assert.is_true(math.abs(retry.after(date(20), os.time()) - 20) <= 1)
    assert.equal(60, retry.after(date(4000), os.time()))
    assert.equal(0.5, retry.after(date(0), os.time()))
    assert.equal(0.5, retry.after(date(-4000), os.time()))
    assert.equal(0.5, retry.after("Thu, 18 Dec 2014 15:39:07 GMT", os.time()))
  end)

  it("is nothing where it cannot be read", function()
    for _, text in ipairs { "", " ", "soon", "-1", "1 second", "0x10", "1e3", "nan", "inf",
      "Thu, 18 Dec 0000 15:39:07 GMT", "Thu, 99 Dec 2025 15:39:07 GMT",
      "Thu, 18 Foo 2025 15:39:07 GMT", "Thu, 18 Dec 2025", date(10):sub(1, -4) } do
      assert.is_nil(retry.after(text, os.time()))
    end
    assert.is_nil(retry.after(nil, os.time()))
  end)
end)

describe("the time between", function()
  -- The smallest and the largest of many.
  local function spread(fn, n)
    local least, most = math.huge, -math.huge
    for _ = 1, 2000 do
      local seconds = fn(n, system.random)
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
    retry.backoff(1, system.random)
    assert.is_number(math.random())
  end)
end)

describe("the further tries of a client", function()
  it("draw on one quota, which accepted submits fill again", function()
    local quota, taken = retry.quota(), 0
    while quota:take() do
      taken = taken + 1
      assert.is_true(taken <= 100)
    end
    assert.equal(100, taken)
    for _ = 1, 5 do quota:succeed() end
    assert.is_true(quota:take())
    assert.is_false(quota:take())
  end)
end)
