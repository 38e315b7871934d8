-- A budget, over every way in which an edit may end: what the emulator has charged is the witness.

local clients = require "kontext.client.client"
local core = require "kontext.core"
local hours = require "spec.support.hours"
local kontext = require "kontext"
local support = require "spec.support.emulator"

local picture = core.repaint { width = 64, height = 48, format = "png", seed = 7 }

describe("a client's budget", function()
  local server, open
  setup(function() server = support.start { ready_after = 0, max_active = 100 } end)
  teardown(function() server:stop() end)
  before_each(function()
    open = {}
    server:forget()
  end)
  after_each(function()
    for _, client in ipairs(open) do client:close() end
  end)

  local function begin(budget, on)
    local client = clients.new({ api_key = "k", base_url = server.url, poll_interval = 0.02,
      budget = budget, timeout = on and 600 or 20 }, on)
    open[#open + 1] = client
    return client
  end

  -- Begins an edit that ends as the emulator is told; Kontext's costs 4 credits.
  local function edit(client, words, more)
    local wanted = { prompt = "p" .. (words and (" [emulate: %s]"):format(words) or ""),
      input_image = picture }
    for name, value in pairs(more or {}) do wanted[name] = value end
    return client:edit(wanted)
  end

  -- Returns the kind of a job's error, or nil, once it has ended.
  local function ending(job)
    local _, _, err = job:wait(30)
    return err and err.kind
  end

  -- Asserts that the client sends so many more edits and not one beyond.
  local function has_left(client, count)
    for _ = 1, count do assert.is_nil(ending(edit(client))) end
    local before = server:ledger().totals.submits
    assert.equal("budget", ending(edit(client)))
    assert.equal(before, server:ledger().totals.submits)
  end

  it("gets back what a moderated or a refused edit does not cost", function()
    for words, kind in pairs { ["request moderated"] = "moderated",
      ["content moderated"] = "moderated", ["out of credits"] = "credits" } do
      local client = begin(4)
      for _ = 1, 2 do assert.equal(kind, ending(edit(client, words))) end
      has_left(client, 1)
    end
    assert.equal(12, server:ledger().totals.charged)
  end)

  it("counts what was sent and not answered, for it may have been charged", function()
    local client = begin(8)
    assert.equal("ambiguous", ending(edit(client, "lost answer")))
    has_left(client, 1)
    assert.equal(8, server:ledger().totals.charged)
  end)

  it("counts what the service has accepted and lost", function()
    local on = hours.system()
    local client = begin(8, on)
    local job = edit(client, "task not found")
    hours.drive(client, on, function() return job:ended() end, 200)
    assert.equal("lost", job.error and job.error.kind)
    local others = { edit(client), edit(client) }
    hours.drive(client, on, function() return others[1]:ended() and others[2]:ended() end, 200)
    assert.is_nil(others[1].error)
    assert.equal("budget", others[2].error.kind)
    assert.equal(2, server:ledger().totals.submits)
  end)

  it("counts an edit that ran out of time once, also when it is resumed", function()
    local client = begin(8)
    local job = edit(client, "slow 2", { timeout = 0.7 })
    assert.equal("timeout", ending(job))
    assert.is_nil(ending(client:resume(job:token())))
    has_left(client, 1)
    assert.equal(8, server:ledger().totals.charged)
  end)

  it("gets back what a resumed edit turns out not to cost", function()
    local client = begin(8)
    local job = edit(client, "slow 2] [emulate: content moderated", { timeout = 0.7 })
    assert.equal("timeout", ending(job))
    assert.equal("moderated", ending(client:resume(job:token())))
    has_left(client, 2)
    assert.equal(8, server:ledger().totals.charged)
  end)

  it("counts the edit of another process that it resumes", function()
    local other = begin()
    local job = edit(other, "slow 1")
    while not job.id do other:poll(0.1) end
    local client = begin(8)
    assert.is_nil(ending(client:resume(job:token())))
    has_left(client, 1)
    assert.equal(8, server:ledger().totals.charged)
  end)

  it("is each client's own", function()
    local first, second = begin(4), begin(8)
    has_left(first, 1)
    has_left(second, 2)
    assert.equal(12, server:ledger().totals.charged)
  end)

  it("is kept by many edits at once, and all that is paid is there", function()
    local client = begin(21)
    local jobs, kinds, bytes = {}, {}, 0
    for i = 1, 24 do jobs[i] = edit(client) end
    for _, job in ipairs(jobs) do
      local kind = ending(job) or "ready"
      kinds[kind] = (kinds[kind] or 0) + 1
      if job.image then bytes = bytes + #job.image.bytes end
    end
    assert.same({ ready = 5, budget = 19 }, kinds)
    assert.equal(5, server:ledger().totals.downloads)
    assert.is_true(bytes > 0)
    assert.equal(20, server:ledger().totals.charged)
  end)

  it("of a batch ends it with all that is paid for fetched, and tells what hangs on it", function()
    local client = begin(9)
    local list = {}
    for i = 1, 6 do
      list[i] = { key = tostring(i), prompt = "p", input_image = i == 1 and picture
        or { result = tostring(math.floor(i / 2)) } }
    end
    local results = assert(client:batch(list):wait(30))
    local kinds = {}
    for i, result in ipairs(results) do kinds[i] = result.error and result.error.kind or "saved" end
    assert.same({ "saved", "saved", "budget", "budget", "budget", "budget" }, kinds)
    assert.equal(2, server:ledger().totals.submits)
    assert.equal(2, server:ledger().totals.downloads)
    for i = 3, 6 do assert.is_false(results[i].error.charged) end
  end)

  it("is settled by what the service charges, where that is not the estimate", function()
    local function row(credits)
      return ([[{ path = "/v1/dear", fields = { { name = "prompt", type = "text",
        required = true } }, images = { style = "none", max = 0 },
        sizes = { rule = "ratio and resolution", ratios = { "1:1" }, areas = { ["1k"] = 1048576 } },
        formats = { "png" }, default_format = "png",
        price = { rule = "flat", credits = %s } }]]):format(credits)
    end
    local path = os.tmpname()
    support.write(path, ([[require("kontext.models").define("dear", %s)]]):format(row "5"))
    local dear = support.start { ready_after = 0, models = path }
    local load_text = rawget(_G, "loadstring") or load -- luacheck: ignore
    kontext.models.define("dear", load_text("return " .. row "2.5")())
    local client = kontext.new { api_key = "k", base_url = dear.url, poll_interval = 0.02,
      budget = 9 }
    local function one() return ending(client:edit { model = "dear", prompt = "p" }) end
    assert.same({ nil, nil, "budget" }, { one(), one(), one() })
    assert.equal(10, dear:ledger().totals.charged)
    assert.equal(2, dear:ledger().totals.submits)
    client:close()
    dear:stop()
    os.remove(path)
  end)
end)
