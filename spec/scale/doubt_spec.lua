-- What two at work on one edit must not do to each other, and what the database must keep.
local kontext = require "kontext"
local support = require "spec.scale.support"

local missing = support.missing()
local it = missing and function(name, _) -- luacheck: ignore 431
  pending(name .. ": " .. missing)
end or it

describe("a journal in PostgreSQL #once", function()
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

  it("has one row for a key, so a second edit under it is not sent", function()
    local client = new()
    local one = client:edit(edit { prompt = "red [emulate: slow 1]" })
    local two = client:edit(edit { prompt = "blue", save_as = support.path "blue.jpg" })
    assert(one:wait(20))
    local _, message, err = two:wait(20)
    client:close()
    assert.equal(1, support.totals().accepted)
    assert.matches("another key", message)
    assert.is_false(err.charged)
    assert.equal("saved 1", support.states())
  end)

  it("sends nothing of a key whose row has changed since it was looked at", function()
    support.sql("INSERT INTO kontext.edits (key, state, fence, worker, lease) VALUES ('car', "
      .. "'claimed', 1, 'paused#1', now() - interval '1 second')")
    local client = new()
    local job = client:edit(edit())
    -- The paused one wakes, sends it, and gets no answer.
    support.sql("UPDATE kontext.edits SET state = 'ambiguous', worker = NULL, lease = NULL")
    local _, message = job:wait(20)
    client:close()
    assert.equal(0, support.totals().submits)
    assert.matches("another process", message)
    assert.equal("ambiguous 1", support.states())
  end)

  it("notes a picture under a name that is not UTF-8", function()
    local client = new()
    local image = assert(client:edit(edit { save_as = support.path "caf\233.jpg" }):wait(20))
    client:close()
    assert.equal(support.path "caf\233.jpg", image.path)
    assert.equal("saved 1", support.states())
    client = new()
    assert(client:edit(edit { save_as = support.path "caf\233.jpg" }):wait(20))
    client:close()
    assert.equal(1, support.totals().accepted)
    assert.equal(1, support.totals().downloads)
  end)

  it("refuses a key that a row cannot hold", function()
    local client = new()
    local _, message, err = client:edit(edit { key = "a\0b" }):wait(20)
    assert.matches("NUL bytes", message)
    assert.is_false(err.charged)
    client:close()
    assert.equal(0, support.totals().submits)
  end)

  it("sends what is in doubt once more by consent, whatever ended its job", function()
    support.sql("INSERT INTO kontext.edits (key, state, kind, params) VALUES ('car', 'ambiguous', "
      .. "'closed', '{}')")
    local output = support.run "requeue --kind ambiguous --consent"
    assert.matches("1 edits wait again", output)
  end)

  it("shows no password of an address that is written wrong", function()
    for _, address in ipairs { "postgres://u:geh/eim@h/db", "postgres://u:geh@eim@h/db",
      "postgres://u:geh?eim@h/db", "postgres://u:geh#eim@h/db", "postgres://h/db?password=geh",
      "postgres://h/db?user=u&pass%77ord=geh", "POSTGRES://u:geheim@h/db",
      "postgres://u:geh:eim@h/db", "postgres://h/db?x=1&sslpassword=geh",
      "postgres://u:geh eim@h/db", "postgres://u:1/geheim@h/db" } do
      local output = support.run("status --queue '" .. address .. "'")
      assert.matches("cannot be used", output)
      assert.is_nil(output:find("geh", 1, true), output)
      assert.is_nil(output:find("eim", 1, true), output)
    end
  end)

  it("puts a picture aside that has arrived when the database stays away", function()
    local client = new { timeout = 8 }
    local job = client:edit(edit { prompt = "red [emulate: slow 2]" })
    support.await(20, function()
      client:poll(0.05)
      return job.id
    end)
    support.server():stop "immediate"
    local _, message, err = job:wait(30)
    support.server():start()
    client:close()
    assert.equal("timeout", err.kind)
    local aside = message:match "put aside as (%S+)$"
    assert.is_truthy(aside, message)
    assert.equal("jpeg", kontext.check { path = aside }.format)
    os.remove(aside)
    assert.is_string(err.token)
    assert.equal("accepted 1", support.states())
  end)

  -- Lets a client's statements that have `text` in them fail: they are made or not.
  local function fail(client, text, made)
    local db = client:journal():database()
    local run = getmetatable(db).__index.run
    function db.run(self, sql, ...)
      if not sql:find(text, 1, true) then return run(self, sql, ...) end
      if made then run(self, sql, ...) end
      return nil, "the database is away", made and "ECONNRESET" or "EDATABASE"
    end
    return function() db.run = nil end
  end

  it("keeps the end of an edit whose acceptance was written late", function()
    local client = new()
    local heal = fail(client, "SET state = 'accepted'")
    assert(client:edit(edit()):wait(20))
    heal()
    client:close()
    assert.equal("saved 1", support.states())
  end)

  it("has no doubt of an edit that was not sent because nobody knows of a commit", function()
    local client = new()
    local heal = fail(client, "SET state = 'sending'", true)
    local _, message = client:edit(edit()):wait(20)
    assert.matches("nothing was sent", message)
    heal()
    assert.equal("failed 1", support.states())
    assert(client:edit(edit()):wait(20))
    client:close()
    assert.equal(1, support.totals().accepted)
    assert.equal("saved 1", support.states())
  end)

  it("goes on with a task whose id is no text", function()
    local client = new()
    local job = client:edit(edit { prompt = "red [emulate: slow 2]" })
    support.await(20, function()
      client:poll(0.05)
      return job.id
    end)
    job.id = "a\0b\255"
    assert(client:record(job, "ACCEPTED"))
    local entry = client:journal():find "car"
    job:cancel()
    client:close()
    assert.equal("a\0b\255", entry.id)
    assert.equal("accepted", entry.state)
  end)
end)
