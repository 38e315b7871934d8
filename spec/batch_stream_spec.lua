local kontext = require "kontext"
local emulator = require "spec.support.emulator"

describe("a batch from an iterator", function()
  local server, client

  setup(function() server = emulator.start { ready_after = 0.02 } end)
  teardown(function() server:stop() end)
  before_each(function()
    server:forget()
    client = kontext.new { base_url = server.url, poll_interval = 0.02 }
  end)
  after_each(function() client:close() end)

  -- Returns an iterator over `count` items, and a table that says how many it has given.
  local function source(count)
    local given = { n = 0 }
    return function()
      if given.n == count then return nil end
      given.n = given.n + 1
      return { prompt = "p" .. given.n, key = "k" .. given.n }
    end, given
  end

  it("takes items as there is room, and gives each result once", function()
    local items, given = source(12)
    local batch = client:batch(items, { max_active = 3 })
    assert.is_true(given.n <= 3)
    local keys, most = {}, 0
    for result in batch:results() do
      keys[result.key] = true
      most = math.max(most, given.n - batch.done)
    end
    assert.is_true(most <= 3)
    for i = 1, 12 do assert.is_true(keys["k" .. i]) end
    assert.equal(12, batch.total)
    assert.equal(12, #server:requests("POST"))
    -- Read from inside: that nothing is kept of an item after its end shows nowhere else.
    assert.is_nil(next(batch._results))
    assert.is_nil(next(batch._list))
  end)

  it("takes no more while nobody takes the results", function()
    local items, given = source(400)
    local batch = client:batch(function()
      local item = items()
      if item then item.prompt = "" .. ("x"):rep(0) end
      return item and { key = item.key, prompt = 5 } -- misused: it ends at once
    end)
    for _ = 1, 50 do client:poll(0) end
    assert.is_true(given.n < 150)
    local count = 0
    for result in batch:results() do
      assert.equal("invalid", result.error.kind)
      count = count + 1
    end
    assert.equal(400, count)
    assert.equal(0, #server:requests("POST"))
  end)

  it("waits for all, and keeps none", function()
    local batch = client:batch((source(6)))
    assert.same({}, assert(batch:wait(30)))
    assert.equal(6, batch.done)
    assert.equal(0, batch.failed)
  end)

  it("reports an error of the iterator from the host's own step, once", function()
    local n = 0
    local batch = client:batch(function()
      n = n + 1
      if n == 2 then error "no more disk" end
      return { prompt = "p" }
    end)
    local done, message = pcall(function() return batch:wait(30) end)
    assert.is_false(done)
    assert.matches("no more disk", message)
    batch:wait(30)
    assert.equal(1, batch.done)
    assert.equal(1, batch.total)
  end)

  it("takes nothing more when it is cancelled", function()
    local batch = client:batch((source(1000)), { max_active = 2 })
    batch:cancel()
    assert(batch:wait(10))
    assert.equal(2, batch.done)
  end)
end)
