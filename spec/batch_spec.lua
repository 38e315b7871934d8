-- Batches: many edits with a few in flight; over a journal, run again without paying again.

local core = require "kontext.core"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"
local token = require "kontext.token"

local waiting = raw.status "Pending"
local detail = { detail = "no" }

local server, folder, client

setup(function()
  server = raw.start()
  folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
end)

teardown(function()
  server:stop()
  os.execute("rm -r " .. folder)
end)

after_each(function()
  if client then client:close() end
  client = nil
  os.execute("rm -f " .. folder .. "/*")
end)

-- Makes a client, for a service that is spoilt like this.
local function begin(spoilt, options)
  if client then client:close() end
  server:script(raw.service({}, "", spoilt))
  local given = { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
  for name, value in pairs(options or {}) do given[name] = value end
  client = kontext.new(given)
  return client
end

-- Makes a client over a journal of these facts; without any over the journal as it is.
local function begin_again(lines, spoilt)
  local path = folder .. "/journal"
  if client then client:close() end
  if lines then
    local file = assert(io.open(path, "wb"))
    for _, text in ipairs(lines) do file:write(token.sum(text), " ", text, "\n") end
    file:close()
  end
  return begin(spoilt, { journal = path })
end

-- A list of edits with the seeds 1, 2, 3 …, and more parameters.
local function list(count, more)
  local items = {}
  for seed = 1, count do
    items[seed] = { prompt = "Change it", input_image = raw.picture, seed = seed }
    for name, value in pairs(more or {}) do
      items[seed][name] = type(value) == "string" and value:format(seed) or value
    end
  end
  return items
end

local function posts() return #server:requests "POST" end

-- Drives the client until `done()`, twenty seconds at the most.
local function drive(done)
  local limit = core.now() + 20
  while not done() do
    assert(core.now() < limit, "it takes too long")
    client:poll(0.02)
  end
end

describe("a batch", function()
  it("gives a result for each item, in the order of the list, each edited once", function()
    begin()
    local shown = 0
    local batch = client:batch(list(9, { key = "edit %d" }), { max_active = 3,
      on_progress = function() shown = shown + 1 end })
    local results = assert(batch:wait(20))
    assert.same({ 9, 9, 0, true }, { #results, batch.done, batch.failed, batch:ended() })
    for i, result in ipairs(results) do
      assert.same({ "edit " .. i, i }, { result.key, result.index })
      assert.equal(raw.picture, result.image.bytes)
    end
    assert.equal(9, posts())
    client:step()
    assert.equal(9, shown)
  end)

  it("keeps max_active edits in flight", function()
    begin()
    assert(client:batch(list(9), { max_active = 2 }):wait(20))
    local flying, most = 0, 0
    for _, entry in ipairs(server:requests()) do
      if entry.method == "POST" then flying = flying + 1
      elseif entry.path == "/sample.png" then flying = flying - 1 end
      most = math.max(most, flying)
    end
    assert.equal(2, most)
  end)

  it("tells results as they come", function()
    begin({ submit = { raw.accepted(), raw.json(422, detail), raw.accepted() } })
    local kinds = {}
    for result in client:batch(list(3), { max_active = 1 }):results() do
      kinds[#kinds + 1] = result.error and result.error.kind or "ready"
    end
    assert.same({ "ready", "invalid", "ready" }, kinds)
  end)

  it("gets on also where it is waited for no time", function()
    begin {}
    local batch, limit = client:batch(list(3)), core.now() + 10
    local results
    repeat results = batch:wait(0) until results or core.now() > limit
    assert.equal(3, #assert(results))
  end)

  it("goes on after an error, unless stop_on_error says otherwise", function()
    for _, stop in ipairs { false, true } do
      begin { submit = { raw.accepted(), raw.json(422, detail), raw.accepted() } }
      local results = assert(client:batch(list(5), { max_active = 1, stop_on_error = stop })
        :wait(20))
      local kinds = {}
      for i, result in ipairs(results) do
        kinds[i] = result.error and result.error.kind or "ready"
      end
      assert.equal(stop and 2 or 5, posts())
      assert.equal(stop and "ready invalid cancelled cancelled cancelled"
        or "ready invalid ready ready ready", table.concat(kinds, " "))
    end
  end)

  it("sends nothing more once the key is refused or the credits are spent", function()
    for status, kind in pairs { [401] = "auth", [402] = "credits", [403] = "auth" } do
      begin { submit = { raw.accepted(), raw.json(status, detail), raw.accepted() } }
      local results = assert(client:batch(list(5), { max_active = 1 }):wait(20))
      assert.equal(2, posts())
      assert.is_nil(results[1].error)
      for i = 2, 5 do
        local err = results[i].error
        assert.same({ kind, status, results[2].error.message },
          { err.kind, err.status, err.message })
      end
    end
  end)

  it("that is cancelled sends nothing more", function()
    begin { poll = { waiting } }
    local batch = client:batch(list(6), { max_active = 2 })
    drive(function() return posts() == 2 end)
    batch:cancel()
    local results = assert(batch:wait(20))
    for _, result in ipairs(results) do assert.equal("cancelled", result.error.kind) end
    assert.equal(2, posts())
  end)

  it("makes keys of what is asked for, the same in every process", function()
    begin()
    pictures.with_file(raw.picture, function(path)
      local items = { { prompt = "a", input_image = path }, { prompt = "a", input_image = path },
        { prompt = "a", input_image = path, seed = 1 }, { prompt = "b", input_image = path } }
      local results = assert(client:batch(items):wait(20))
      local keys = {}
      for _, result in ipairs(results) do keys[result.key] = true end
      assert.equal(results[1].key .. "#2", results[2].key)
      assert.is_true(keys[results[3].key] and results[3].key ~= results[1].key)
      assert.is_true(results[4].key ~= results[1].key)
      begin()
      local again = assert(client:batch({ items[3], items[1] }):wait(20))
      assert.same({ results[3].key, results[1].key }, { again[1].key, again[2].key })
    end)
  end)
end)

describe("a batch that is run again", function()
  it("skips what is saved", function()
    local items = list(3, { key = "edit %d", save_as = folder .. "/%d.png" })
    begin_again {}
    assert(client:batch(items):wait(20))
    assert.equal(3, posts())
    begin_again()
    local results = assert(client:batch(items):wait(20))
    for i, result in ipairs(results) do
      assert.same({ true, items[i].save_as }, { result.skipped, result.saved })
    end
    assert.equal(0, #server:requests())
  end)

  it("fetches what was accepted, and pays for it no second time", function()
    local items = list(2, { key = "edit %d", save_as = folder .. "/%d.png" })
    begin_again({}, { poll = { waiting } })
    local batch = client:batch(items)
    drive(function() -- until both were accepted
      return select(2, pictures.read(folder .. "/journal"):gsub(" ACCEPTED ", "")) == 2
    end)
    client:close()
    assert.equal(2, posts())
    assert.is_true(batch:ended())
    begin_again()
    local results = assert(client:batch(items):wait(20))
    for i, result in ipairs(results) do
      assert.is_nil(result.error)
      assert.equal(raw.picture, pictures.read(items[i].save_as))
    end
    assert.equal(0, posts())
  end)

  it("tells what may have been paid for, and sends it again only when it is told to", function()
    for _, fact in ipairs { "SENDING", "AMBIGUOUS" } do
      local items = list(1, { key = "edit %d" })
      begin_again { fact .. " 7 key=edit%201" }
      local results = assert(client:batch(items):wait(20))
      assert.equal("ambiguous", results[1].error and results[1].error.kind)
      assert.is_false(results[1].error.retryable)
      assert.matches("retry_ambiguous", results[1].error.message)
      assert.equal(0, posts())
      results = assert(client:batch(items, { retry_ambiguous = true }):wait(20))
      assert.is_nil(results[1].error)
      assert.equal(1, posts())
    end
  end)

  it("sends what is in doubt once: what was saved then is skipped", function()
    for _, fact in ipairs { "AMBIGUOUS", "LOST" } do
      local items = list(1, { key = "edit %d", save_as = folder .. "/%d.png" })
      begin_again { fact .. " 7 key=edit%201" }
      for run = 1, 3 do
        local results = assert(client:batch(items, { retry_ambiguous = run < 3 }):wait(20))
        assert.is_nil(results[1].error)
        assert.equal(run > 1 or nil, results[1].skipped)
        assert.equal(1, posts())
      end
    end
  end)

  it("sends what was never sent, or ended uncharged", function()
    begin_again { "INTENT 1 key=edit%201", "INTENT 2 key=edit%202", "FAILED 2 key=edit%202" }
    local results = assert(client:batch(list(2, { key = "edit %d" })):wait(20))
    assert.same({ nil, nil }, { results[1].error, results[2].error })
    assert.equal(2, posts())
  end)
end)
