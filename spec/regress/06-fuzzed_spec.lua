-- What the fuzzers found.
local answer = require "spec.support.answer"
local core = require "kontext.core"
local journal = require "kontext.journal.file"
local kontext = require "kontext"
local origin = require "kontext.client.origin"
local token = require "kontext.token"

-- Returns the job that is submitted to a server that answers with this text.
local function submit(text)
  local base, drive = answer(text)
  local client = kontext.new { base_url = base, api_key = "key-of-a-test" }
  local job = client:edit { prompt = "x" }
  assert.equal(1, drive(client, job, 10))
  client:close()
  return job
end

-- Opens a journal of these lines; `sums` in place of each "?".
local function opened(text)
  local path = os.tmpname()
  local file = assert(io.open(path, "wb"))
  file:write((text:gsub("%? ([^\n]*)", function(rest) return token.sum(rest) .. " " .. rest end)))
  file:close()
  return assert(journal.open(path)), path
end

-- Returns what stands for a job of that key.
local function begun(key)
  local job = {}
  function job.known() return { key = key, entry = job.entry } end
  function job.ended() return false end
  function job.set_entry(_, number) job.entry = number end
  return job
end

describe("a host without a name before .bfl.ai", function()
  it("is asked for nothing, so never sees the key", function()
    for _, url in ipairs { "https://.bfl.ai/", "https://a..bfl.ai/", "https://..bfl.ai/" } do
      assert.is_nil((origin.read(url, false)))
    end
    assert.is_table(origin.read("https://delivery.bfl.ai./", false))
  end)
end)

describe("a host that reads otherwise when it is read again", function()
  it("is asked for nothing: it would not be the one that was judged", function()
    for _, host in ipairs { "0%36", "0%2536", "%30x7f.1" } do
      assert.is_nil((origin.read(("https://%s/"):format(host), false)), host)
    end
    assert.equal("127.0.0.1", origin.read("https://0x7f.1/", false).host)
    assert.equal("api.bfl.ai", origin.read("https://api.%62fl.ai/", false).host)
  end)
end)

describe("an answer", function()
  it("whose status line has no status ends the edit as ambiguous, and raises nothing", function()
    for _, status in ipairs { "000", "-99", "061" } do
      local job = submit("HTTP/1.1 " .. status .. " OK\r\nContent-Length: 2\r\n\r\n{}")
      assert.equal("ambiguous", job.error.kind)
      assert.is_string(job.error.code)
      assert.is_nil(job.error.status)
    end
  end)

  it("has no header with a control character in it", function()
    local base, drive = answer("HTTP/1.1 429 Too many\r\nRetry-After: 3\1\r\nETag: a\rb\r\n"
      .. "Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n")
    local engine = assert(core.engine {})
    assert(engine:fetch { url = base .. "/", allow_http = true, no_proxy = true })
    local asked = {}
    drive({ poll = function()
      engine:wait(core.now() + 0.01)
      local events = engine:step(0.01)
      asked.error = events and events[1]
    end }, asked, 10)
    engine:close()
    assert.same({ ["content-type"] = "text/plain", ["content-length"] = "0" },
      asked.error.headers)
  end)
end)

describe("a journal", function()
  it("takes a last line of which only the line's end was torn off", function()
    local one, path = opened "? INTENT 1 key=a\n? ACCEPTED 1 kontext1:id=x:00000000"
    assert.equal("accepted", one:find("a").state)
    assert(one:record(begun "b", "INTENT"))
    one:close()
    local again = assert(journal.open(path))
    assert.equal("accepted", again:find("a").state)
    assert.equal("unsent", again:find("b").state)
    again:close()
    os.remove(path)
  end)

  it("keeps an edit that is begun after the last number that has room", function()
    for _, number in ipairs { "999999999999999", "99999999999999" } do
      local one, path = opened(("? INTENT %s key=a\n? INTENT 100000000000000 key=c\n"):format(
        number))
      assert(one:record(begun "b", "INTENT"))
      one:close()
      local again = assert(journal.open(path))
      for _, key in ipairs { "a", "b", "c" } do assert.equal("unsent", again:find(key).state) end
      again:close()
      os.remove(path)
    end
  end)

  it("counts on after a number that no edit has", function()
    local one, path = opened "? INTENT 99999999999999999999 key=a\n? INTENT 7 key=b\n"
    assert.is_nil(one:find "a")
    local job = begun "c"
    assert(one:record(job, "INTENT"))
    assert.equal(8, job.entry)
    one:close()
    os.remove(path)
  end)

  it("takes no field that it does not write", function()
    local one, path = opened "? INTENT 1 key=a,state=saved,token=x,number=9\n"
    local entry = one:find "a"
    assert.same({ "unsent", nil, 1 }, { entry.state, entry.token, entry.number })
    one:close()
    os.remove(path)
  end)
end)
