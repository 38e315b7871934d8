-- The transport by itself, over an engine that only notes what it is asked for: where the key goes,
-- whose an event is, and what becomes of transfers when the engine is gone.

local origin = require "kontext.client.origin"
local transport = require "kontext.client.transport"

local key = "12345678-9abc-4def-8123-456789abcdef"

-- An engine that moves nothing.
local function new_engine()
  local engine = { asked = {}, cancelled = {}, closed = 0, moves = {}, events = nil }
  local function begin(self, request)
    self.asked[#self.asked + 1] = request
    return #self.asked
  end
  for _, name in ipairs { "edit", "fetch", "fit", "digest" } do engine[name] = begin end
  function engine:cancel(id) self.cancelled[#self.cancelled + 1] = id end
  function engine:progress(id)
    if self.moves[id] then return self.moves[id][1], self.moves[id][2], 0 end
  end
  function engine:step() return self.events, true end
  function engine:settle() return self.events end
  function engine:close() self.closed = self.closed + 1 end
  return engine
end

-- Makes a transport for a base; `given`: api_key, environment, proxy, journal.
local function new(base, given)
  given = given or {}
  local engine = new_engine()
  local system = {
    engine = function() return engine end,
    getenv = function(name) return (given.environment or {})[name] end,
  }
  local made = assert(transport.new(system, { base_url = base, api_key = given.api_key,
    proxy = given.proxy, journal = given.journal }, assert(origin.read(base, true))))
  return made, engine
end

-- Makes what the transport sees of a job.
local function new_job(receive)
  local job = { events = {}, shown = {} }
  function job:receive(event)
    self.events[#self.events + 1] = event
    if receive then receive(self, event) end
  end
  function job:crash(problem) self.problem = problem end
  function job:show(...) self.shown = { ... } end
  function job:take_transfers() return self.transfer, self.held end
  return job
end

-- Returns whether a request has the key in a header, and none but x-key.
local function has_key(request)
  local found = false
  for _, header in ipairs(request.headers or {}) do
    if header:find(key, 1, true) then
      assert.equal("x-key: " .. key, header)
      found = true
    end
  end
  assert.is_nil(request.url:find(key, 1, true))
  return found
end

describe("the key", function()
  it("goes with a submit, and with a poll of the base or of a host of the service", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    t:upload(new_job(), { path = "/v1/x", pieces = {} })
    t:fetch(new_job(), { url = "https://api.bfl.ai/v1/get_result?id=1" })
    t:fetch(new_job(), { url = "https://api.eu2.bfl.ai/v1/get_result?id=1" })
    for i = 1, 3 do assert.is_true(has_key(engine.asked[i])) end
  end)

  it("goes with no picture, no redirect and no other host", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    t:fetch(new_job(), { url = "https://api.bfl.ai/sample.png", picture = true })
    t:fetch(new_job(), { url = "/v1/get_result?id=1", base = "https://api.bfl.ai/v1/x" })
    t:fetch(new_job(), { url = "https://other.test/v1/get_result?id=1" })
    t:fetch(new_job(), { url = "https://api.bfl.ai:8443/v1/get_result?id=1" })
    assert.equal("https://api.bfl.ai/v1/get_result?id=1", engine.asked[2].url)
    for i = 1, 4 do assert.is_false(has_key(engine.asked[i])) end
  end)

  it("is not remembered for a URL that was asked for as a redirect", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local url = "https://api.bfl.ai/v1/get_result?id=1"
    t:fetch(new_job(), { url = url, base = "https://other.test/" })
    t:fetch(new_job(), { url = url })
    t:fetch(new_job(), { url = url, base = "https://other.test/" })
    assert.is_false(has_key(engine.asked[1]))
    assert.is_true(has_key(engine.asked[2]))
    assert.is_false(has_key(engine.asked[3]))
  end)

  it("stands in no table of the transport", function()
    local t = new("https://api.bfl.ai", { api_key = key })
    local seen = {}
    local function look(value)
      if value == key then error "the key is there" end
      if type(value) ~= "table" or seen[value] then return end
      seen[value] = true
      for name, member in pairs(value) do
        look(name)
        look(member)
      end
    end
    assert.equal(key, t:key())
    look(t)
  end)

  it("comes from BFL_API_KEY without the blanks around it, but not for a plain loopback", function()
    local environment = { BFL_API_KEY = " " .. key .. "\n" }
    assert.equal(key, new("https://api.bfl.ai", { environment = environment }):key())
    assert.equal(key, new("https://127.0.0.1:1", { environment = environment }):key())
    assert.equal("emulator", new("http://127.0.0.1:1", { environment = environment }):key())
    assert.equal(key, new("http://127.0.0.1:1", { api_key = key }):key())
  end)

  it("is asked for where there is none, and refused where it has characters no key has", function()
    for _, given in ipairs { {}, { api_key = " " }, { environment = { BFL_API_KEY = "" } } } do
      local none, message = new("https://api.bfl.ai", given):key()
      assert.is_nil(none)
      assert.matches("set BFL_API_KEY", message)
    end
    local none, message = new("https://api.bfl.ai", { api_key = "a\r\nx-key: b" }):key()
    assert.is_nil(none)
    assert.matches("copy it again", message)
    assert.is_nil(message:find("x-key", 1, true))
  end)

  it("tells accounts apart by eight bytes of a hash, in which it is not", function()
    local one = new("https://api.bfl.ai", { api_key = key }):account()
    local other = new("https://api.bfl.ai", { api_key = key .. "0" }):account()
    assert.matches("^%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x%x$", one)
    assert.are_not.equal(one, other)
    assert.is_nil(new("https://api.bfl.ai"):account())
  end)

  it("is a secret beside the webhook's, the longer one first", function()
    local t = new("https://api.bfl.ai", { api_key = "abc" })
    assert.same({ "abcdef", "abc" }, t:secrets "abcdef")
    assert.same({ "abc", "b" }, t:secrets "b")
    assert.same({ "abc" }, t:secrets "")
  end)
end)

describe("a polling URL", function()
  it("is the service's, where it can be asked for", function()
    local url, own = new("https://api.bfl.ai"):polling_url("https://api.eu.bfl.ai/x?id=1", "1")
    assert.equal("https://api.eu.bfl.ai/x?id=1", url)
    assert.is_nil(own)
  end)

  it("is made at the base where the service's is missing or unusable, with the id escaped",
    function()
      local t = new("https://api.bfl.ai")
      for _, url in ipairs { "http://api.bfl.ai/x", "file:///etc/passwd", "https://a@b.test/", "",
        "https://api.bfl.ai/" .. ("x"):rep(8192), 7, false } do
        local made, own = t:polling_url(url, "a/b &id=2")
        assert.equal("https://api.bfl.ai/v1/get_result?id=a%2Fb%20%26id%3D2", made)
        assert.is_true(own)
      end
    end)
end)

describe("a request", function()
  it("may be plain, and passes by the environment's proxy, on a loopback base alone", function()
    local t, engine = new "http://127.0.0.1:1"
    t:fetch(new_job(), { url = "http://127.0.0.1:1/x" })
    assert.is_true(engine.asked[1].allow_http and engine.asked[1].no_proxy)
    t, engine = new("http://127.0.0.1:1", { proxy = "http://127.0.0.1:2" })
    t:fetch(new_job(), { url = "http://127.0.0.1:1/x" })
    assert.is_false(engine.asked[1].no_proxy)
    t, engine = new("https://api.bfl.ai", { api_key = key })
    t:fetch(new_job(), { url = "https://api.bfl.ai/x" })
    assert.is_false(engine.asked[1].allow_http or engine.asked[1].no_proxy)
    assert.is_nil((t:fetch(new_job(), { url = "http://127.0.0.1:1/x" })))
  end)

  it("for a picture may bring 64 MB, any other what a JSON answer may have", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key, journal = "j" })
    t:fetch(new_job(), { url = "https://x.test/a.png", picture = true, path = "a.png" })
    t:fetch(new_job(), { url = "https://api.bfl.ai/x" })
    local picture, poll = engine.asked[1], engine.asked[2]
    assert.equal(64 * 1024 * 1024, picture.cap)
    assert.is_true(picture.hold and picture.digest)
    assert.is_true(poll.cap < 1024 * 1024)
    assert.is_nil(poll.hold)
  end)

  it("to a URL that nobody may ask for is none, and says what is wrong with it", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local id, message, code = t:fetch(new_job(), { url = "ftp://x.test/a.png", picture = true })
    assert.is_nil(id)
    assert.is_nil(code)
    assert.matches("https", message)
    assert.same({}, engine.asked)
  end)
end)

describe("an event", function()
  it("is handed to its job, once", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local job, other = new_job(), new_job()
    local id = t:upload(job, { path = "/v1/x", pieces = {} })
    t:upload(other, { path = "/v1/x", pieces = {} })
    engine.events = { { id = id, status = 200 } }
    assert.is_true(t:step(0))
    t:step(0)
    assert.equal(1, #job.events)
    assert.equal(0, #other.events)
    assert.same({ id }, engine.cancelled) -- of the one that nobody waits for nothing is kept
  end)

  it("that a job cannot handle ends that job alone", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local bad, good = new_job(function() error "broken" end), new_job()
    local first = t:upload(bad, { path = "/v1/x", pieces = {} })
    local second = t:upload(good, { path = "/v1/x", pieces = {} })
    engine.events = { { id = first }, { id = second } }
    t:settle()
    assert.matches("broken", bad.problem)
    assert.equal(1, #good.events)
  end)

  it("of a cancelled job reaches nobody", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local job = new_job()
    job.transfer, job.held = t:upload(job, { path = "/v1/x", pieces = {} }), 77
    t:cancel(job)
    assert.same({ job.transfer, 77 }, engine.cancelled)
    engine.events = { { id = job.transfer } }
    t:step(0)
    assert.equal(0, #job.events)
  end)

  it("is not the only thing shown: bytes are, in the order of the transfers", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local job = new_job()
    local id = t:upload(job, { path = "/v1/x", pieces = {} })
    engine.moves[id] = { 5, 9 }
    t:show_progress()
    assert.same({ 5, 9, 0 }, job.shown)
  end)
end)

describe("an upload", function()
  it("may have been sent once its last byte is out, and where nobody can tell", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local id = t:upload(new_job(), { path = "/v1/x", pieces = {} })
    engine.moves[id] = { 8, 9 }
    assert.is_false(t:may_have_sent(id))
    engine.moves[id] = { 9, 9 }
    assert.is_true(t:may_have_sent(id))
    assert.is_true(t:may_have_sent(99))
    t:close_engine()
    assert.is_true(t:may_have_sent(id))
  end)
end)

describe("a closed transport", function()
  it("calls whoever still waits, closes the engine once, and asks it for nothing more", function()
    local t, engine = new("https://api.bfl.ai", { api_key = key })
    local asker = new_job()
    t:digest(asker, "a.png")
    t:close()
    t:close()
    assert.equal("the client was closed", asker.problem)
    assert.equal(1, engine.closed)
    assert.is_nil((t:digest(asker, "a.png")))
    t:drop(1)
    t:settle()
    t:cancel(asker)
    assert.same({}, engine.cancelled)
  end)
end)
