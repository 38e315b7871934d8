-- Each rehearsal ends an edit as its row says, and the manual lists them all.

local emulator = require "kontext.emulator"
local now = require "kontext.core".now
local support = require "spec.support.emulator"

local REASONS = "Moderation Reasons"

describe("the rehearsal", function()
  local server
  setup(function() server = support.start { seed = 1, ready_after = 0.1 } end)
  teardown(function() server:stop() end)

  local rehearsed = {}

  -- Submits a prompt with a rehearsal in it.
  local function submit(words)
    return server:submit { prompt = "A castle [emulate: " .. words .. "]", seed = 1 }
  end

  -- What that edit is polled with in the end.
  local function ending(words) return server:await(submit(words).json.polling_url).json end

  local function charged() return server:ledger().totals.charged end

  -- A promise of the rehearsal named first in it.
  local function promise(name, what, test)
    rehearsed[name] = true
    it("'" .. name .. "' " .. what, function()
      server:forget()
      test()
    end)
  end

  for name, status in pairs {
    ["request moderated"] = "Request Moderated", ["content moderated"] = "Content Moderated",
  } do
    promise(name, "gives its reasons and the credits back", function()
      local last = ending(name)
      assert.equal(status, last.status)
      assert.is_string(last.details[REASONS][1])
      assert.equal(0, charged())
    end)
  end

  promise("error", "says why in details", function()
    local last = ending "error"
    assert.equal("Error", last.status)
    assert.is_string(last.details.error)
  end)

  promise("failed", "ends in the guide's other status", function()
    assert.equal("Failed", ending "failed".status)
  end)

  promise("task not found", "goes on for ever, or for N polls", function()
    assert.equal("Task not found", ending "task not found".status)
    local url = submit "task not found 2".json.polling_url
    assert.equal("Task not found", server:request(url).json.status)
    assert.equal("Task not found", server:request(url).json.status)
    assert.equal("Ready", server:await(url).json.status)
  end)

  promise("out of credits", "charges nothing", function()
    assert.equal(402, submit "out of credits".status)
    assert.equal(0, server:ledger().totals.accepted)
  end)

  for name, status in pairs {
    ["rate limited"] = 429, unavailable = 503, ["shedding load"] = 503,
  } do
    promise(name, "refuses the first N submits of a prompt", function()
      for _ = 1, 2 do
        local answer = submit(name .. " 2")
        assert.equal(status, answer.status)
        assert.is_string(answer.json.detail)
      end
      assert.equal(200, submit(name .. " 2").status)
      assert.equal(status, submit(name).status)
      assert.equal(200, submit(name).status)
      assert.equal(2, server:ledger().totals.accepted)
    end)
  end

  promise("server error", "is 500 or the status N, with no task behind it", function()
    assert.equal(500, submit "server error".status)
    assert.equal(503, submit "server error 503".status)
    assert.equal(0, server:ledger().totals.accepted)
  end)

  promise("gateway", "is a page in HTML, with a task that was charged behind it", function()
    for n, words in ipairs { "gateway", "gateway 502" } do
      local answer = submit(words)
      assert.equal(n == 1 and 504 or 502, answer.status)
      assert.equal("text/html", answer.headers["content-type"])
      assert.matches("<html>", answer.body, 1, true)
      assert.equal(4 * n, charged())
    end
  end)

  promise("lost answer", "charges a submit that is then never answered", function()
    local answer = submit "lost answer"
    assert.equal(52, answer.code) -- curl: the server returned nothing
    assert.equal("", answer.body)
    assert.equal(4, charged())
    assert.is_true(server:requests("POST")[1].complete)
    assert.is_nil(server:requests("POST")[1].status)
  end)

  promise("flaky polls", "meet trouble of all kinds and good answers between", function()
    local url = submit "flaky polls".json.polling_url
    local seen = {}
    for _ = 1, 8 do
      local answer = server:request(url)
      local kind = answer.status == 0 and "none" or tostring(answer.status)
        .. (answer.headers["content-type"] == "text/html" and " html" or "")
      seen[kind] = (seen[kind] or 0) + 1
    end
    assert.same({ ["200"] = 3, ["503"] = 1, none = 1, ["502 html"] = 1, ["429"] = 1, ["500"] = 1 },
      seen)
  end)

  promise("slow", "is ready after N seconds, not before", function()
    local began = now()
    local url = submit "slow 1".json.polling_url
    assert.equal("Ready", server:await(url).json.status)
    local took = now() - began
    assert.is_true(took >= 1 and took < 10, took) -- 10 if it were not told
  end)

  promise("slow", "is ready at once when the active tasks are told to end", function()
    local url = submit "slow 600".json.polling_url
    assert.equal("Pending", server:request(url).json.status)
    local before = #server:requests()
    server:finish()
    assert.equal("Ready", server:await(url).json.status)
    for _, request in ipairs(server:requests()) do assert.not_equal("/_finish", request.path) end
    assert.is_true(#server:requests() > before)
  end)

  promise("new status", "is one that no document names", function()
    local url = submit "new status] and [emulate: slow 1".json.polling_url
    assert.equal("Rendering Preview", server:request(url).json.status)
    assert.equal("Ready", server:await(url).json.status)
  end)

  promise("no sample", "is Ready without a picture", function()
    local last = ending "no sample"
    assert.equal("Ready", last.status)
    assert.is_not_string(last.result.sample)
  end)

  promise("null fields", "leaves nothing of the result but the link", function()
    local result = ending "null fields".result
    assert.is_string(result.sample)
    for _, name in ipairs { "prompt", "seed", "start_time", "end_time", "duration" } do
      assert.equal(require "cjson".null, result[name])
    end
  end)

  promise("expired link", "brings a link that has ended, then a good one", function()
    local url = submit "expired link".json.polling_url
    assert.equal(403, server:request(server:await(url).json.result.sample).status)
    assert.equal(200, server:request(server:request(url).json.result.sample).status)
  end)

  promise("cut download", "breaks off midway and goes on with Range", function()
    local sample = ending "cut download".result.sample
    local half = server:request(sample)
    assert.equal(18, half.code) -- curl: a partial file
    local range = ("Range: bytes=%d-"):format(#half.body)
    local rest = server:request(sample, { headers = { range } })
    assert.equal(206, rest.status)
    assert.is_true(#half.body > 1000 and #rest.body > 1000)
    assert.is_true(half.body .. rest.body == server:request(sample).body)
  end)

  promise("corrupt download", "has a wrong byte once", function()
    local sample = ending "corrupt download".result.sample
    local first, second = server:request(sample), server:request(sample)
    assert.equal(#first.body, #second.body)
    assert.equal(first.headers["content-md5"], second.headers["content-md5"])
    assert.is_false(first.body == second.body)
  end)

  it("may stand with others in one prompt", function()
    local url = submit "slow 1] and [emulate: no sample".json.polling_url
    assert.equal("Pending", server:request(url).json.status)
    assert.is_not_string(server:await(url).json.result.sample)
  end)

  it("table has no row without a promise here", function()
    -- What happens to a window of a photograph is promised in spec/region/edit_spec.lua.
    for _, name in ipairs { "shifted", "tinted", "scaled", "repainted" } do
      rehearsed[name] = true
    end
    for _, row in ipairs(emulator.rehearsals) do
      assert.is_true(rehearsed[row.name], row.name)
      assert.matches("%.$", row.about)
    end
  end)
end)
