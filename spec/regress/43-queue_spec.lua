-- What was found wrong with a queue in PostgreSQL.
local kontext = require "kontext"
local support = require "spec.scale.support"

local missing = support.missing()
local it = missing and function(name, _) -- luacheck: ignore 431
  pending(name .. ": " .. missing)
end or it

describe("a journal in PostgreSQL, of what was found wrong #once", function()
  if not missing then
    setup(support.enter)
    teardown(support.leave)
    before_each(support.fresh)
  end

  local client
  after_each(function()
    if client then client:close() end
    client = nil
  end)

  local function new()
    client = kontext.new { base_url = support.emulator().url, journal = support.url() }
    return client
  end

  local function edit(more)
    local given = { prompt = "red", input_image = support.path "car.jpg", key = "car",
      save_as = support.path "red.jpg" }
    for name, value in pairs(more or {}) do given[name] = value end
    return given
  end

  -- Lets the client's next statement with `text` in it be made, or not, and its answer be lost.
  local function lose_answer(text, made, code, times)
    local db = client:journal():database()
    local run = getmetatable(db).__index.run
    local left = times or 1
    function db.run(self, sql, ...)
      if left == 0 or not sql:find(text, 1, true) then return run(self, sql, ...) end
      left = left - 1
      if made then assert(run(self, sql, ...)) end
      return nil, "the connection is gone", code or "ECONNRESET"
    end
  end

  it("an edit whose row was taken by a commit that nobody heard of goes on with it", function()
    new()
    lose_answer("INSERT INTO kontext.edits AS e", true)
    assert(client:edit(edit()):wait(30))
    assert.equal(1, support.totals().accepted)
    assert.equal("saved 1", support.states())
  end)

  it("one whose commit did not happen is taken again", function()
    new()
    lose_answer("INSERT INTO kontext.edits AS e", false)
    assert(client:edit(edit()):wait(30))
    assert.equal("saved 1", support.states())
  end)

  it("a key that such a commit holds is free for who holds it", function()
    new()
    lose_answer("INSERT INTO kontext.edits AS e", true)
    local db = client:journal():database()
    local lost = db.run
    function db.run(self, sql, ...) -- and the question after it fails too
      if sql:find("worker = $2 AND state", 1, true) then return nil, "gone", "ECONNREFUSED" end
      return lost(self, sql, ...)
    end
    local _, _, err = client:edit(edit()):wait(30)
    assert.is_false(err.charged)
    db.run = nil
    assert(client:edit(edit()):wait(30))
    assert.equal(1, support.totals().accepted)
    assert.equal("saved 1", support.states())
  end)

  it("an edit is not begun, and is called nobody's, when its key cannot be looked up", function()
    new()
    assert(client:edit(edit()):wait(30))
    lose_answer("WHERE key = $2", false, "ECONNREFUSED", 2)
    local _, message, err = client:edit(edit()):wait(30)
    assert.same({ "file", false, true }, { err.kind, err.charged, err.retryable })
    assert.matches("the journal does not say", message)
    assert.is_nil(message:find "another process")
    local results = client:batch({ edit() }):wait(30)
    assert.matches("the journal does not say", results[1].error.message)
    assert.is_true(assert(client:batch({ edit() }):wait(30))[1].skipped)
    assert.equal(1, support.totals().submits)
  end)

  it("what the service had accepted is not paid for again without consent", function()
    support.sql("INSERT INTO kontext.edits (key, state, kind, task, params) VALUES "
      .. "('paid', 'failed', 'failed', 'task-1', '{}'), ('free', 'failed', 'failed', NULL, '{}'), "
      .. "('no', 'failed', 'moderated', 'task-2', '{}')")
    local output, code = support.run "requeue --kind failed"
    assert.matches("1 edits wait again", output)
    assert.matches("1 edits that ended as failed had been accepted and may have been paid", output)
    assert.equal(3, code)
    assert.equal("free", support.sql "SELECT key FROM kontext.edits WHERE state = 'waiting'")
    output, code = support.run "requeue --kind moderated"
    assert.same({ "kontext: 1 edits wait again\n", 0 }, { output, code })
    output, code = support.run "requeue --kind failed --consent"
    assert.same({ "kontext: 1 edits wait again\n", 0 }, { output, code })
    assert.equal("waiting 3", support.states())
  end)

  it("its times are the database's, whatever the machines' clocks say", function()
    local files = io.popen "grep -ln 'SELECT\\|UPDATE' lua/kontext/journal/*.lua"
    for path in files:lines() do
      local text = io.open(path):read "*a"
      for statement in text:gmatch "lease = ([^,\n]*)" do
        assert.is_nil(statement:find "wall" or statement:find "os%.time", path)
      end
      if path:find "claims" or path:find "slots" or path:find "postgres" then
        assert.is_nil(text:find "[%.:_]wall%(", path)
        assert.is_nil(text:find "os%.time", path)
      end
    end
    files:close()
  end)
end)
