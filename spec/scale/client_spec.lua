local kontext = require "kontext"
local support = require "spec.scale.support"

local missing = support.missing()
local it = missing and function(name, _) -- luacheck: ignore 431
  pending(name .. ": " .. missing)
end or it

describe("a client with a journal in PostgreSQL #once", function()
  if not missing then
    setup(support.enter)
    teardown(support.leave)
    before_each(support.fresh)
  end

  local function new(options)
    local given = { base_url = support.emulator().url, journal = support.url() }
    for name, value in pairs(options or {}) do given[name] = value end
    return kontext.new(given)
  end

  local function edit(more)
    local given = { prompt = "red", input_image = support.path "car.jpg", key = "car",
      save_as = support.path "red.jpg" }
    for name, value in pairs(more or {}) do given[name] = value end
    return given
  end

  it("pays once for a key, whichever client asks", function()
    local one = new()
    assert(one:edit(edit()):wait(30))
    one:close()
    local two = new()
    local image = assert(two:edit(edit()):wait(30))
    assert.equal(support.path "red.jpg", image.path)
    local results = assert(two:batch({ edit() }):wait(30))
    assert.is_true(results[1].skipped)
    two:close()
    assert.equal(1, support.totals().accepted)
    assert.equal("saved 1", support.states())
  end)

  it("refuses a key that another client is at work on", function()
    local one, two = new(), new()
    local job = one:edit(edit { prompt = "red [emulate: slow 2]" })
    assert.is_true(support.await(20, function()
      one:poll(0.05)
      return job.id
    end) ~= nil)
    local _, message, err = two:edit(edit { prompt = "red [emulate: slow 2]",
      save_as = support.path "other.jpg" }):wait(10)
    assert.equal("invalid", err.kind)
    assert.matches("under way in another process", message)
    local results = two:batch({ edit { prompt = "red [emulate: slow 2]" } }):wait(10)
    assert.matches("under way in another process", results[1].error.message)
    assert(job:wait(20))
    one:close()
    two:close()
    assert.equal(1, support.totals().accepted)
  end)

  it("goes on with what another one has left", function()
    local one = new()
    local job = one:edit(edit { prompt = "red [emulate: slow 2]" })
    support.await(20, function()
      one:poll(0.05)
      return job.id
    end)
    one:close()
    assert.equal("accepted 1", support.states())
    local two = new()
    local jobs = two:resume { journal = support.url() }
    assert.equal(1, #jobs)
    assert.equal(support.path "red.jpg", assert(jobs[1]:wait(20)).path)
    two:close()
    assert.equal("saved 1", support.states())
    assert.equal(1, support.totals().accepted)
  end)

  it("sends nothing when the database is away, and says so without the password", function()
    local client = new()
    support.server():stop "immediate"
    local _, message, err = client:edit(edit()):wait(30)
    support.server():start()
    client:close()
    assert.equal("file", err.kind)
    assert.is_false(err.charged)
    assert.matches("nothing was sent", message)
    assert.is_nil(message:find("w%20d", 1, true))
    assert.equal(0, support.totals().submits)
  end)

  it("shares the account's tasks with other clients", function()
    local one, two = new(), new()
    local lists = { {}, {} }
    for i = 1, 20 do
      for n, list in ipairs(lists) do
        list[i] = edit { key = ("k%d-%d"):format(n, i), prompt = ("k%d-%d"):format(n, i),
          save_as = support.path(("k%d-%d.jpg"):format(n, i)) }
      end
    end
    local a, b = one:batch(lists[1]), two:batch(lists[2])
    support.await(120, function()
      one:poll(0.01)
      two:poll(0.01)
      return a:ended() and b:ended()
    end)
    assert.equal(40, a.done + b.done - a.failed - b.failed)
    assert.equal(40, support.totals().submits) -- no 429 in all
    one:close()
    two:close()
  end)
end)
