-- Waiting without a host's loop: kontext.run, a scheduler of one's own, a function of one's own.

local clock = require "spec.support.clock"
local core = require "kontext.core"
local kontext = require "kontext"
local raw = require "spec.support.raw"

local waiting = raw.status "Pending"
local server
local clients = {}

setup(function() server = raw.start() end)
teardown(function() server:stop() end)

after_each(function()
  for _, client in ipairs(clients) do client:close() end
  clients = {}
end)

-- Makes a client whose tasks take some polls.
local function new(options, spoilt)
  spoilt = spoilt or { submit = { raw.accepted() } }
  server:script(raw.service({}, "", spoilt))
  local given = { base_url = server.url, api_key = raw.key, poll_interval = 0.02 }
  for name, value in pairs(options or {}) do given[name] = value end
  clients[#clients + 1] = kontext.new(given)
  return clients[#clients]
end

local slow = { sample = { raw.sample { delay = 0.2 } } }

local function edit(client) return client:edit { prompt = "x", input_image = raw.picture } end

describe("kontext.run", function()
  it("lets all functions wait at the same time", function()
    local client, images = new({}, slow), {}
    local fns = {}
    for i = 1, 6 do fns[i] = function() images[i] = assert(edit(client):wait()) end end
    assert.is_true(kontext.run((table.unpack or unpack)(fns))) -- luacheck: ignore 113 143
    for i = 1, 6 do assert.equal(raw.picture, images[i].bytes) end
    local downloads = server:requests("GET", "sample")
    assert.is_true(downloads[6].at - downloads[1].at < 5 * 0.2) -- as one after the other would take
    assert.equal(6, #server:requests("POST"))
  end)

  it("runs one edit after the other within a function", function()
    local client, order = new(), {}
    assert(kontext.run(function()
      for i = 1, 3 do
        assert(edit(client):wait())
        order[#order + 1] = "a" .. i
      end
    end, function() order[#order + 1] = "b" end))
    assert.same({ "b", "a1", "a2", "a3" }, order)
  end)

  it("waits no longer than a wait may take, and again after it", function()
    local client, kinds = new({}, { poll = { waiting } }), {}
    assert(kontext.run(function()
      local job = edit(client)
      for _, seconds in ipairs { 0.02, 0.05, 0 } do
        local _, err
        assert(clock(function() _, _, err = job:wait(seconds) end) < seconds + 0.1)
        kinds[#kinds + 1] = err.kind .. " " .. err.stage
      end
      server:script(raw.service({}, ""))
      assert(job:wait(10))
    end, function() assert(edit(client):wait(10)) end))
    assert.same({ "timeout wait", "timeout wait", "timeout wait" }, kinds)
  end)

  it("drives several clients", function()
    local first, second, ended = new({}, slow), new({}, slow), 0
    assert(kontext.run(function()
      assert(edit(first):wait(10))
      ended = ended + 1
    end, function()
      assert(edit(second):wait(10))
      ended = ended + 1
    end, function()
      assert(edit(first):wait(10))
      assert(edit(second):wait(10))
      ended = ended + 1
    end))
    assert.equal(3, ended)
  end)

  it("lets two wait for the same job", function()
    local client = new({}, slow)
    local job, seen = edit(client), {}
    assert(kontext.run(function() seen[1] = assert(job:wait()) end,
      function() seen[2] = assert(job:wait()) end))
    assert.equal(job.image, seen[1])
    assert.equal(job.image, seen[2])
  end)

  it("returns the first failure when all have ended: an error, or nil and a message", function()
    local client, ended = new({}, slow), false
    local function late()
      assert(edit(client):wait())
      ended = true
    end
    local done, message = kontext.run(late, function() error("raised", 0) end)
    assert.same({ nil, "raised", true }, { done, message, ended })
    local err
    done, message, err = kontext.run(late, function()
      return client:edit({ prompt = "x", input_image = "/no/such" }):wait()
    end, function() error("later", 0) end)
    assert.is_nil(done)
    assert.matches("cannot read /no/such", message)
    assert.equal("file", err.kind)
    assert.same({ nil, "nothing" }, { kontext.run(function() return nil, "nothing" end) })
  end)

  it("takes what a function returns for no failure otherwise", function()
    assert.is_true(kontext.run())
    assert.is_true(kontext.run(function() end, function() return nil end,
      function() return false, "x" end, function() return 1 end))
  end)

  it("goes on with a function that yields for reasons of its own", function()
    local client, ticks, image = new({}, slow), 0, nil
    assert(kontext.run(function()
      while not image do
        ticks = ticks + 1
        client:step()
        coroutine.yield()
      end
    end, function() image = assert(edit(client):wait()) end))
    assert.is_true(ticks > 5)
  end)

  it("may run within a function of another", function()
    local client, inner = new(), nil
    assert(kontext.run(function()
      assert(kontext.run(function() inner = assert(edit(client):wait()) end))
      assert(edit(client):wait())
    end))
    assert.equal(raw.picture, inner.bytes)
  end)

  it("ends the waits of a client that is closed meanwhile", function()
    local client, other = new({}, { poll = { waiting } }), nil
    local _, message, err = kontext.run(function() return edit(client):wait() end, function()
      other = edit(client)
      other:wait(0.1)
      client:close()
    end)
    assert.matches("closed", message)
    assert.equal("closed", err.kind)
  end)

  it("tells where a function raised", function()
    local function deep() error "raised here" end
    local done, message, err, trace = kontext.run(function()
      deep()
      return true
    end)
    assert.same({ nil, nil }, { done, err })
    assert.matches("run_spec%.lua:%d+: raised here$", message)
    assert.matches("in .-'deep'", trace)
  end)

  it("goes on with the others when a callback raises, and tells it", function()
    local client, other = new(), nil
    local done, message = kontext.run(function()
      client:edit { prompt = "a", input_image = { bytes = raw.picture },
        on_progress = function() error("a callback's fault", 0) end }:wait()
    end, function()
      other = client:edit { prompt = "b", input_image = { bytes = raw.picture } }:wait()
    end)
    assert.is_nil(done)
    assert.equal("a callback's fault", message)
    assert.truthy(other)
  end)
end)

describe("loop = \"yield\"", function()
  it("hands the job to the scheduler between steps, until it has ended", function()
    local client = new({ loop = "yield" })
    local job, image = edit(client), nil
    local co = coroutine.create(function() image = assert(job:wait()) end)
    local limit, yields = core.now() + 10, 0
    while coroutine.status(co) ~= "dead" and core.now() < limit do
      local _, given = assert(coroutine.resume(co))
      if coroutine.status(co) == "suspended" then
        assert.equal(job, given)
        yields = yields + 1
      end
    end
    assert.equal(raw.picture, image.bytes)
    assert.is_true(yields > 1)
  end)

  it("blocks outside of a coroutine", function()
    assert(edit(new { loop = "yield" }):wait(10))
  end)
end)

describe("loop = a function", function()
  it("is called with the client and the seconds that are left, until the job has ended", function()
    local calls, longest, client = 0, 0, nil
    client = new({ loop = function(given, seconds)
      assert.equal(client, given)
      calls, longest = calls + 1, math.max(longest, seconds or 0)
      given:poll(math.min(seconds or 1, 0.01))
    end })
    assert.equal(raw.picture, assert(edit(client):wait(5)).bytes)
    assert.is_true(calls > 1 and longest <= 5 and longest > 4)
    longest = 0
    assert.equal(raw.picture, assert(edit(client):wait()).bytes)
    assert.equal(0, longest)
  end)

  it("that raises reaches the caller of wait, and the job lives on", function()
    local good = false
    local client = new { loop = function(given)
      if not good then error("of the host", 0) end
      given:poll(0.01)
    end }
    local job = edit(client)
    local done, message = pcall(job.wait, job, 5)
    assert.same({ false, "of the host" }, { done, message })
    good = true
    assert(job:wait(5))
  end)
end)
