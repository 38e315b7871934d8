-- What must hold at the seams of paid work, each a thing that once went wrong. The server's ledger
-- says how often an edit was paid for.

local hours = require "spec.support.hours"
local core = require "kontext.core"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"

local detail = { detail = "no" }
local server, folder

setup(function()
  server, folder = raw.start(), os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
end)

teardown(function()
  server:stop()
  os.execute("rm -r " .. folder)
end)

-- Returns a client of the scripted server.
local function connect(options)
  local given = { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
  for name, value in pairs(options or {}) do given[name] = value end
  return kontext.new(given)
end

local function posts() return #server:requests "POST" end

-- Steps clients until `over`, for at most 20 s.
local function drive(clients, over)
  local limit = os.time() + 20
  while not over() and os.time() < limit do
    for _, client in ipairs(clients) do client:poll(0.002) end
  end
  return over()
end

describe("a paid edit", function()
  it("whose task is unknown after a lag is fetched, and one run again does not pay anew", function()
    local journal = folder .. "/lag"
    server:script(raw.service({}, "", { poll = { raw.json(404, detail) } }))
    local client = connect { journal = journal }
    local item = { prompt = "x", key = "a", timeout = 1 }
    local results = client:batch({ item }):wait(10)
    assert.equal("timeout", results[1].error.kind)
    assert.is_string(results[1].error.token)
    client:close()
    server:script(raw.service({}, ""))
    client = connect { journal = journal }
    results = assert(client:batch({ item }):wait(10))
    assert.is_nil(results[1].error)
    assert.equal(raw.picture, results[1].image.bytes)
    assert.equal(0, posts())
    client:close()
  end)

  it("that timed out in this process is resumed by the same client", function()
    server:script(raw.service({}, "", { poll = { raw.status "Pending" } }))
    local client = connect { journal = folder .. "/same" }
    local _, _, err = client:edit({ prompt = "x", timeout = 1 }):wait(10)
    assert.equal("timeout", err.kind)
    assert.equal(1, posts())
    server:script(raw.service({}, ""))
    local jobs = client:resume { journal = folder .. "/same" }
    assert.equal(1, #jobs)
    assert.equal(raw.picture, assert(jobs[1]:wait(10)).bytes)
    assert.equal(0, posts())
    client:close()
  end)

  it("is not paid again when its answer was cut behind the id", function()
    server:script(raw.service({}, "", { submit = { { status = 200, body = '{"id":"task-1","po',
      headers = { "Content-Length: 400" } } } }))
    local client = connect()
    assert.equal(raw.picture, assert(client:edit({ prompt = "x" }):wait(10)).bytes)
    assert.equal(1, posts())
    client:close()
  end)

  it("is fetched though the answer came while the host was closing the client", function()
    for _, how in ipairs { "close", "cancel" } do
      local late = raw.accepted()
      late.delay = 0.3
      server:script(raw.service({}, "", { submit = { late }, poll = { raw.status "Pending" } }))
      local client = connect()
      local job = client:edit { prompt = "x" }
      assert.is_true(drive({ client }, function() return posts() > 0 end))
      os.execute "sleep 0.6" -- the answer lies in the socket, and nobody has read it
      if how == "close" then client:close() else job:cancel() end
      assert.equal("task-1", job.id)
      assert.is_string(job:token())
      if how == "cancel" then client:close() end
    end
  end)

  it("goes on when the journal cannot take its acceptance", function()
    server:script(raw.service({}, ""))
    local on = hours.system()
    local log = on.log
    on.log = function(...)
      local real, message, code = log(...)
      if not real then return real, message, code end
      return setmetatable({}, { __index = function(_, name)
        return function(_, ...)
          if name == "append" and (...):find(" ACCEPTED ", 1, true) then
            return nil, "no space left on device", "ENOSPC"
          end
          return real[name](real, ...)
        end
      end })
    end
    on.engine = require("kontext.system").engine
    local mark = require("kontext.journal.journal")
    assert.is_table(mark)
    local client = require "kontext.client.client".new({ base_url = server.url, api_key = raw.key,
      journal = folder .. "/full", poll_interval = 0.01 }, on)
    client.mark = function() return nil end -- the engine writes into real files alone
    local job = client:edit { prompt = "x" }
    hours.drive(client, on, function() return job:ended() end, 300, 0.01)
    assert.equal("ready", job.status, tostring(job.error))
    assert.matches("no space left", job.warnings[1])
    assert.equal(raw.picture, job.image.bytes)
    assert.equal(1, posts())
    client:close()
  end)
end)

describe("one event's failure", function()
  it("ends that job alone, and one that was submitting is ambiguous", function()
    server:script(raw.service({}, "", { submit = { raw.accepted { delay = 0 } } }))
    local client = connect()
    local good, bad = client:edit { prompt = "x" }, client:edit { prompt = "y" }
    bad.receive = function() error "broken" end
    assert.is_true(drive({ client }, function() return good:ended() and bad:ended() end))
    assert.equal("ready", good.status, tostring(good.error))
    assert.equal("ambiguous", bad.error.kind)
    assert.is_false(bad.error.retryable)
    assert.equal(2, posts())
    client:close()
  end)

  it("of a header that no calendar knows hurts nobody", function()
    local client = connect()
    for _, text in ipairs { "Thu, 18 Dec 99999999 15:39:07 GMT", "Thu, 18 Dec 0000 15:39:07 GMT",
      ("9"):rep(400), "1e999", ("9"):rep(60000) .. "x" } do
      server:script(raw.service({}, "", { submit = { raw.json(429, detail,
        { "Retry-After: " .. text:sub(1, 8000) }), raw.accepted() } }))
      if #text < 50 then
        local job = client:edit { prompt = "x" }
        assert.equal(raw.picture, assert(job:wait(10)).bytes)
        assert.equal(2, posts())
      else
        local begun = os.clock()
        require "kontext.job.retry".after(text, 0)
        assert.is_true(os.clock() - begun < 0.05)
      end
    end
    client:close()
  end)
end)

describe("a gateway's 503 in JSON", function()
  it("is not the service's word: the edit is sent once", function()
    server:script(raw.service({}, "", { submit = { raw.json(503, { message = "busy" }) } }))
    local client = connect()
    local _, _, err = client:edit({ prompt = "x" }):wait(20)
    assert.equal("ambiguous", err.kind)
    assert.equal(1, posts())
    client:close()
  end)
end)

describe("a full account", function()
  it("is waited for as long as the edit has time, by one upload at a time", function()
    local answers, refused = {}, 12
    for _ = 1, refused do answers[#answers + 1] = raw.json(429, detail, { "Retry-After: 0" }) end
    answers[#answers + 1] = raw.accepted()
    server:script(raw.service({}, "", { submit = answers }))
    local client, jobs = connect(), {}
    for i = 1, 3 do jobs[i] = client:edit { prompt = "x" .. i, timeout = 60 } end
    for _, job in ipairs(jobs) do assert.equal(raw.picture, assert(job:wait(40)).bytes) end
    assert.equal(refused + 3, posts())
    client:close()
  end)
end)

describe("a name", function()
  it("is held by one edit of a client, and the second is told before it is paid", function()
    server:script(raw.service({}, ""))
    local client, path = connect(), folder .. "/one.png"
    local first = client:edit { prompt = "x", save_as = path }
    local second = client:edit { prompt = "y", save_as = path }
    assert.same({ "invalid", "check", false },
      { second.error.kind, second.error.stage, second.error.charged })
    assert(first:wait(10))
    assert.equal(1, posts())
    client:close()
  end)

  it("that nobody gave is reserved, and two clients take two", function()
    server:script(raw.service({}, ""))
    local one, two, path = connect(), connect(), folder .. "/car.png"
    local a = one:edit { prompt = "x", save_as = path, no_replace = true }
    local b = two:edit { prompt = "x", save_as = path, no_replace = true }
    -- Before anything is sent: no other program takes the names meanwhile.
    for _, name in ipairs { "car.png", "car-2.png" } do
      assert.equal(0, core.file_info(folder .. "/" .. name).bytes, name)
    end
    assert.is_true(drive({ one, two }, function() return a:ended() and b:ended() end))
    assert.equal("ready", a.status, tostring(a.error))
    assert.equal("ready", b.status, tostring(b.error))
    assert.not_equal(a.image.path, b.image.path)
    for _, job in ipairs { a, b } do assert.equal(raw.picture, pictures.read(job.image.path)) end
    one:close()
    two:close()
  end)

  it("given twice in one list is refused, as a key is", function()
    local client = connect()
    for _, name in ipairs { "save_as", "key" } do
      assert.has_error(function()
        client:batch { { prompt = "x", [name] = "a" }, { prompt = "y", [name] = "a" } }
      end)
    end
    client:close()
  end)
end)

describe("a key", function()
  it("of the same list twice in one client is one edit", function()
    server:script(raw.service({}, ""))
    local client = connect { journal = folder .. "/twice" }
    local list = { { prompt = "x", key = "a", save_as = folder .. "/t.png" } }
    local one, two = client:batch(list), client:batch(list)
    local first, second = assert(one:wait(10)), assert(two:wait(10))
    assert.equal(folder .. "/t.png", first[1].saved)
    assert.equal(folder .. "/t.png", second[1].saved)
    assert.equal(1, posts())
    assert.is_true(assert(client:batch(list):wait(10))[1].skipped)
    assert.equal(1, posts())
    client:close()
  end)

  it("with other parameters is refused, and nothing is sent", function()
    server:script(raw.service({}, ""))
    local client = connect { journal = folder .. "/other" }
    assert(client:batch({ { prompt = "x", key = "a", save_as = folder .. "/o.png" } }):wait(10))
    for _, item in ipairs { { prompt = "y" }, { prompt = "x", model = "flux-kontext-max" },
      { prompt = "x", fit = true } } do
      item.key, item.save_as = "a", folder .. "/o.png"
      local results = assert(client:batch({ item }):wait(10))
      assert.equal("invalid", results[1].error.kind)
    end
    assert.equal(1, posts())
    client:close()
  end)
end)

describe("a client that cannot begin", function()
  it("ends a batch, however long its items take to be refused", function()
    local on = hours.system()
    on.engine = function() return nil, "an engine: Too many open files", "EMFILE" end
    local now = on.now
    on.now = function() -- each look at the clock takes longer than items may be begun in a row
      on.pass(0.01)
      return now()
    end
    local client = require "kontext.client.client".new({ base_url = server.url, api_key = raw.key },
      on)
    local list, limit = {}, core.now() + 5
    for i = 1, 5 do list[i] = { prompt = "edit " .. i } end
    local batch = client:batch(list)
    while not batch:ended() and core.now() < limit do client:poll(0.01) end
    assert.equal("5 of 5", tostring(batch):match "%d of %d")
    for result in batch:results() do assert.equal("EMFILE", result.error.code) end
    client:close()
  end)
end)

describe("a journal", function()
  it("that was moved while open stops submits, and what was sent is fetched", function()
    server:script(raw.service({}, ""))
    local path = folder .. "/moved"
    local client = connect { journal = path }
    os.remove(path)
    local _, _, err = client:edit({ prompt = "x" }):wait(10)
    assert.same({ "file", false }, { err.kind, err.charged })
    assert.equal(0, posts())
    client:close()
  end)

  it("of two clients is held by one", function()
    server:script(raw.service({}, ""))
    local one = connect { journal = folder .. "/held" }
    local two = connect { journal = folder .. "/held" }
    local _, _, err = two:edit({ prompt = "x" }):wait(10)
    assert.equal("file", err.kind)
    assert.equal(0, posts())
    one:close()
    two:close()
  end)

  it("that is not there is not made by resume", function()
    local client = connect()
    local jobs = client:resume { journal = folder .. "/nofile" }
    assert.equal("file", jobs[1].error.kind)
    assert.is_nil(pictures.read(folder .. "/nofile"))
    client:close()
  end)

  it("is believed about a saved picture only when the file is there", function()
    server:script(raw.service({}, ""))
    local path = folder .. "/gone.png"
    local client = connect { journal = folder .. "/saved" }
    local list = { { prompt = "x", key = "a", save_as = path } }
    assert(client:batch(list):wait(10))
    os.remove(path)
    local results = assert(client:batch(list):wait(10))
    assert.is_nil(results[1].error)
    assert.is_true(results[1].fetched_again)
    assert.equal(raw.picture, pictures.read(path))
    assert.equal(1, posts())
    client:close()
  end)
end)

describe("a token", function()
  it("writes nowhere but where its holder says", function()
    server:script(raw.service({}, ""))
    local client = connect()
    local text = require "kontext.token".write { id = "../x", save_as = folder .. "/evil.png",
      polling_url = server.url .. "/v1/get_result?id=task-1" }
    assert.is_nil(text:find("evil", 1, true))
    assert.equal(raw.picture, assert(client:resume(text):wait(10)).bytes)
    assert.is_nil(pictures.read(folder .. "/evil.png"))
    local image = assert(client:resume(text, { save_as = folder .. "/mine.png" }):wait(10))
    assert.equal(folder .. "/mine.png", image.path)
    assert.equal(0, posts())
    client:close()
  end)
end)
