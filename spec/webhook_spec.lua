local webhook = require "kontext.webhook"

local secret = "s3cret"
local body = '{"id":"task-1","status":"Ready",'
  .. '"result":{"sample":"https://d.bfl.ai/x?sig=1","seed":9007199254740993}}'
-- Made elsewhere: openssl dgst -sha256 -hmac s3cret.
local signature = "sha256=fd584e8f06b1ead2480ef58e5120fba07ab6dda13606067ab708832c9f0dd780"

-- Returns the kind of the error that a call with `headers` ends in, or nil.
local function refused(headers, text)
  local event, message, err = webhook.verify(headers, text or body, secret)
  if event then return nil end
  assert.is_string(message)
  assert.not_matches(secret, message, 1, true)
  return err.kind
end

describe("verify", function()
  it("tells the event of a call that brings the secret", function()
    local event = assert(webhook.verify({ ["X-Webhook-Secret"] = secret }, body, secret))
    assert.equal("task-1", event.id)
    assert.equal("Ready", event.status)
    assert.equal("https://d.bfl.ai/x?sig=1", event.result.sample)
    assert.equal("9007199254740993", require "kontext.json".integer(event.result.seed))
  end)

  it("reads the headers of every host", function()
    local strange = setmetatable({}, { __index = function(_, key)
      return key == "get" and function(_, name)
        if name == "x-webhook-secret" then return secret end
      end or nil
    end })
    for host, headers in pairs {
      plain = { ["X-Webhook-Secret"] = secret },
      lower = { ["x-webhook-secret"] = secret },
      upper = { ["X-WEBHOOK-SECRET"] = secret },
      list = { ["X-Webhook-Secret"] = { secret } },
      haproxy = { ["x-webhook-secret"] = { [0] = secret } },
      pairs = { { "Host", "a" }, { "X-Webhook-Secret", secret } },
      named = { { name = "x-webhook-secret", value = secret } },
      callable = function(name) return name == "X-Webhook-Secret" and secret or nil end,
      object = strange,
    } do
      assert.is_nil(refused(headers), host)
    end
    local found, http = pcall(require, "http.headers")
    if found then
      local headers = http.new()
      headers:append("x-webhook-secret", secret)
      assert.is_nil(refused(headers))
      headers:append("x-webhook-secret", "another")
      assert.equal("auth", refused(headers))
    end
  end)

  it("refuses every secret that is not the whole secret and nothing else", function()
    local wrong = {
      "", " ", "s", "s3cre", "s3cret ", " s3cret", "s3crets", "S3CRET", "s3cret\0", "s3cret,s3cret",
      "\0", ("s3cret"):rep(1000),
    }
    for i = 1, #secret do -- each byte counts
      wrong[#wrong + 1] = secret:sub(1, i - 1) .. "!" .. secret:sub(i + 1)
    end
    for _, given in ipairs(wrong) do
      assert.equal("auth", refused { ["X-Webhook-Secret"] = given }, given)
    end
  end)

  it("refuses a call with no proof, and one with the same header twice", function()
    for _, headers in ipairs {
      {}, { ["X-Webhook-Secre"] = secret }, { Authorization = secret },
      { ["X-Webhook-Secret"] = { secret, "another" } },
      { ["X-Webhook-Secret"] = { "another", secret } },
      { ["X-Webhook-Secret"] = secret, ["x-webhook-secret"] = "another" },
      { { "X-Webhook-Secret", secret }, { "x-webhook-secret", secret } },
      { ["X-Webhook-Secret"] = true }, { ["X-Webhook-Secret"] = {} },
      function() end,
    } do
      assert.equal("auth", refused(headers))
    end
  end)

  it("takes a signature of the body, and of no other body", function()
    assert.is_nil(refused { ["X-BFL-Signature"] = signature })
    assert.is_nil(refused { ["x-bfl-signature"] = { signature } })
    assert.is_nil(refused { ["X-BFL-Signature"] = "sha256=" .. signature:sub(8):upper() })
    local signed = { ["X-BFL-Signature"] = signature }
    for i = 1, #body do
      local altered = body:sub(1, i - 1) .. string.char(body:byte(i) % 255 + 1) .. body:sub(i + 1)
      assert.equal("auth", refused(signed, altered))
    end
    assert.equal("auth", refused(signed, body .. "\n"))
    assert.equal("auth", refused(signed, ""))
  end)

  it("refuses what only looks like the signature", function()
    local hex = signature:sub(8)
    for _, given in ipairs {
      "", hex, "sha256=", "sha1=" .. hex, "sha256=" .. hex:sub(1, 63), signature .. "0",
      " " .. signature, "sha256=" .. ("0"):rep(64), secret,
    } do
      assert.equal("auth", refused { ["X-BFL-Signature"] = given }, given)
    end
  end)

  it("wants both headers to hold where both are there", function()
    for given, ok in pairs {
      [{ secret, signature }] = true, [{ secret, "sha256=" .. ("0"):rep(64) }] = false,
      [{ "wrong", signature }] = false, [{ "", signature }] = false, [{ secret, "" }] = false,
    } do
      local kind = refused { ["X-Webhook-Secret"] = given[1], ["X-BFL-Signature"] = given[2] }
      assert.equal(not ok and "auth" or nil, kind)
    end
  end)

  it("agrees with RFC 4231 on what a signature is", function()
    local headers = { ["X-BFL-Signature"] = "sha256="
      .. "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" }
    local _, _, err = webhook.verify(headers, "what do ya want for nothing?", "Jefe")
    assert.equal("protocol", err.kind) -- trusted, and then no JSON
  end)

  it("hands on no status that moves a terminal, and reads no body without an end #plain", function()
    local headers = { ["X-Webhook-Secret"] = secret }
    local event = webhook.verify(headers, '{"id":"a","status":"\\u001b[2J\\u009b"}', secret)
    assert.equal([[\x1b[2J\u{9b}]], event.status)
    event = webhook.verify(headers, ('{"id":"a","status":"%s"}'):format(("x"):rep(1e5)), secret)
    assert.equal(300, #event.status)
    assert.equal("protocol", refused(headers, ('{"id":"%s","status":"x"}'):format(("x"):rep(5000))))
    for _, part in ipairs { "[", " ", '{"id":', "1" } do
      local text, begun = part:rep(math.floor(262144 / #part)), os.clock()
      assert.equal("protocol", refused(headers, text))
      assert.equal("auth", refused({ ["X-BFL-Signature"] = text }, text))
      assert.is_true(os.clock() - begun < 0.25)
    end
    assert.equal("protocol", refused(headers, ("x"):rep(300000)))
  end)

  it("reads both dialects, and calls a status as a poll does", function()
    for told, status in pairs {
      ['{"id":"a","status":"Ready"}'] = "Ready",
      ['{"task_id":"a","status":"SUCCESS","result":{"sample":"https://x"}}'] = "Ready",
      ['{"task_id":"a","status":"processing"}'] = "Pending",
      ['{"task_id":"a","status":"PENDING"}'] = "Pending",
      ['{"task_id":"a","status":"FAILED"}'] = "Failed",
      ['{"id":"a","status":"Content Moderated","result":null}'] = "Content Moderated",
      ['{"id":"a","status":"GENERATED CONTENT MODERATED"}'] = "Content Moderated",
      ['{"id":"a","status":"Request Moderated"}'] = "Request Moderated",
      ['{"id":"a","status":"Something New"}'] = "Something New",
    } do
      local event = assert(webhook.verify({ ["X-Webhook-Secret"] = secret }, told, secret))
      assert.equal("a", event.id)
      assert.equal(status, event.status)
    end
  end)

  it("refuses a body that tells nothing, whoever sends it", function()
    for _, told in ipairs {
      "", "null", "7", '"a"', "[]", "{}", '{"id":5,"status":"Ready"}', '{"id":"","status":"Ready"}',
      '{"id":"a"}', '{"id":"a","status":1}', '{"id":"a","status":"Ready"', "<html>",
      '{"id":"' .. ("a"):rep(300000) .. '","status":"Ready"}',
    } do
      assert.equal("protocol", refused({ ["X-Webhook-Secret"] = secret }, told))
    end
  end)

  it("raises for an empty secret or a wrong type, at its caller", function()
    for _, call in ipairs {
      function() webhook.verify({}, body, "") end, function() webhook.verify({}, body) end,
      function() webhook.verify(nil, body, secret) end,
      function() webhook.verify({}, {}, secret) end,
    } do
      local done, message = pcall(call)
      assert.is_false(done)
      assert.matches("webhook_spec.lua:%d+: verify:", message)
    end
  end)
end)

describe("notify #once", function()
  it("wakes the job that a webhook names, once, and polls its own URL alone", function()
    local emulator = require "spec.support.emulator"
    local kontext = require "kontext"
    local service = emulator.start { ready_after = 0.3 }
    local client = kontext.new { base_url = service.url }
    local job = client:edit { prompt = "Make it snow", webhook_url = "http://127.0.0.1:1/",
      webhook_secret = secret }
    for _ = 1, 100 do
      if not job.id then client:poll(1) end
    end
    assert.is_string(job.id)
    local function polls() return #service:requests("GET", "get_result") end

    local told = '{"id":"%s","status":"Ready","result":{"sample":"https://evil.example/x.jpg"}}'
    local headers = { ["X-Webhook-Secret"] = secret }
    local foreign = assert(webhook.verify(headers, told:format "another", secret))
    assert.is_false(client:notify(foreign))
    for _ = 1, 100 do
      os.execute "sleep 0.1"
      if service:ledger().tasks[1].status == "Ready" then break end
    end
    client:step()
    assert.equal(0, polls()) -- without a word the next one is ten seconds away

    local event = assert(webhook.verify(headers, told:format(job.id), secret))
    assert.is_true(client:notify(event))
    assert.equal(job.id, assert(job:wait(5)).id)
    assert.equal(1, polls())

    assert.is_false(client:notify(event)) -- a replay
    client:poll(0.2)
    assert.equal(1, polls())
    client:close()
    service:stop()
  end)
end)
