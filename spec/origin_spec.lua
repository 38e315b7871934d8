local core = require "kontext.core"
local origin = require "kontext.client.origin"

-- What becomes of a URL from the service: "key" (asked with the key), "asked" (without it) or
-- "refused", while the base is https://api.bfl.ai.
local judged = {
  -- the service's own hosts
  ["https://api.bfl.ai/v1/get_result?id=1"] = "key",
  ["https://api.eu2.bfl.ai/v1/get_result?id=1"] = "key",
  ["https://gateway.bfl.ai/x"] = "key",
  ["https://bfl.ai/x"] = "key",
  ["https://a.b.c.d.bfl.ai/x"] = "key",
  ["HTTPS://API.BFL.AI/x"] = "key",
  ["https://api.bfl.ai:443/x"] = "key",
  ["https://api.bfl.ai:0443/x"] = "key",
  ["https://api.bfl.ai/x#@evil.test"] = "key",
  ["https://api.bfl.ai/@evil.test"] = "key",
  ["https://api.bfl.ai?@evil.test"] = "key",
  ["https://api.bfl.ai/../../evil.test"] = "key",
  ["https://api.bfl.ai/\\evil.test"] = "key",
  -- names that look like theirs
  ["https://api.bfl.ai.evil.test/x"] = "asked",
  ["https://evilbfl.ai/x"] = "asked",
  ["https://api.evilbfl.ai/x"] = "asked",
  ["https://xbfl.ai/x"] = "asked",
  ["https://api-bfl.ai/x"] = "asked",
  ["https://bfl-ai/x"] = "asked",
  ["https://bfl.aix/x"] = "asked",
  ["https://bfl.ai.evil.test/x"] = "asked",
  ["https://api.bfl.co/x"] = "asked",
  ["https://bfl.aı/x"] = "refused", -- a dotless i
  ["https://bfl.\208\176i/x"] = "refused", -- a Cyrillic a
  ["https://api\227\128\130bfl\227\128\130ai/x"] = "refused", -- ideographic full stops
  ["https://\239\189\129pi.bfl\239\188\142ai/x"] = "refused", -- full-width letters
  ["https://xn--bfl-x.ai/x"] = "asked",
  ["https://api.bfl.ai./x"] = "asked", -- another name to a resolver
  ["https://bfl.ai./x"] = "asked",
  -- the real host hidden behind theirs
  ["https://evil.test#.bfl.ai/x"] = "asked",
  ["https://evil.test#@api.bfl.ai/x"] = "asked",
  ["https://evil.test?.bfl.ai/x"] = "asked",
  ["https://evil.test?@api.bfl.ai/x"] = "asked",
  ["https://evil.test/.bfl.ai/x"] = "asked",
  ["https://evil.test/@api.bfl.ai"] = "asked",
  ["https://evil.test/https://api.bfl.ai"] = "asked",
  ["https://api.bfl.ai%2eevil.test/x"] = "asked",
  ["https://evil.test:443/x?u=https://api.bfl.ai"] = "asked",
  ["https://api.bfl.ai@evil.test/x"] = "refused",
  ["https://bfl.ai@evil.test/x"] = "refused",
  ["https://api.bfl.ai:443@evil.test/x"] = "refused",
  ["https://user:secret@api.bfl.ai/x"] = "refused",
  ["https://user@api.bfl.ai/x"] = "refused",
  ["https://@api.bfl.ai/x"] = "refused",
  ["https://:@api.bfl.ai/x"] = "refused",
  ["https://api.bfl.ai\\@evil.test/x"] = "refused",
  ["https://evil.test\\@api.bfl.ai/x"] = "refused",
  ["https://api.bfl.ai%40evil.test/x"] = "refused",
  ["https://api.bfl.ai%00.evil.test/x"] = "refused",
  ["https://evil.test%2f.bfl.ai/x"] = "refused",
  ["https://evil.test%23.bfl.ai/x"] = "refused",
  -- other ports of theirs are other people's
  ["https://api.bfl.ai:8443/x"] = "asked",
  ["https://api.bfl.ai:80/x"] = "asked",
  ["https://api.bfl.ai:99999/x"] = "refused",
  ["https://api.bfl.ai:-1/x"] = "refused",
  ["https://api.bfl.ai:443x/x"] = "refused",
  -- numbers
  ["https://2130706433/x"] = "asked",
  ["https://0x7f000001/x"] = "asked",
  ["https://0177.0.0.1/x"] = "asked",
  ["https://127.1/x"] = "asked",
  ["https://127.0.0.1./x"] = "refused", -- some libcurls take it for a name, some for the number
  ["https://127.0.0.1.:443/x"] = "refused",
  ["https://127.0.0.1%2e/x"] = "refused",
  ["https://2130706433./x"] = "refused",
  ["https://0x7f000001./x"] = "refused",
  ["https://[::1]/x"] = "asked",
  ["https://[::ffff:127.0.0.1]/x"] = "asked",
  ["https://[api.bfl.ai]/x"] = "refused",
  ["https://[::1/x"] = "refused",
  -- other schemes
  ["http://api.bfl.ai/x"] = "refused",
  ["HTTP://API.BFL.AI/x"] = "refused",
  ["http://127.0.0.1/x"] = "refused", -- loopback is for a base that is loopback
  ["http://localhost/x"] = "refused",
  ["ftp://api.bfl.ai/x"] = "refused",
  ["file:///etc/passwd"] = "refused",
  ["file://api.bfl.ai/etc/passwd"] = "refused",
  ["gopher://api.bfl.ai/x"] = "refused",
  ["dict://api.bfl.ai/x"] = "refused",
  ["ws://api.bfl.ai/x"] = "refused",
  ["javascript:alert(1)"] = "refused",
  ["data:application/json,{}"] = "refused",
  ["https+insecure://api.bfl.ai/x"] = "refused",
  -- no URL at all
  [""] = "refused",
  [" "] = "refused",
  ["/v1/get_result?id=1"] = "refused",
  ["//api.bfl.ai/x"] = "refused",
  ["api.bfl.ai/x"] = "refused",
  ["https:"] = "refused",
  ["https://"] = "refused",
  ["https:api.bfl.ai/x"] = "refused",
  ["https://api.bfl.ai /x"] = "refused",
  [" https://api.bfl.ai/x"] = "refused",
  ["https://api.bfl.ai\t/x"] = "refused",
  ["https://api.bfl.ai\r\nx-key: y/x"] = "refused",
  ["https://api.bfl.ai\n/x"] = "refused",
  ["https://api.bfl.ai/x\r\nHost: evil.test"] = "refused",
  ["https://api.bfl.ai\0.evil.test/x"] = "refused",
  ["https://api.bfl.ai/x\0"] = "refused",
  ["https://api.bfl.ai,evil.test/x"] = "refused",
  ["https://api.bfl.ai;evil.test/x"] = "refused",
  ["https://api.bfl.ai/" .. ("x"):rep(70000)] = "refused",
  ["https://" .. ("a"):rep(300) .. ".bfl.ai/x"] = "refused",
}

-- The same while the base is http://127.0.0.1:8080.
local on_loopback = {
  ["http://127.0.0.1:8080/x"] = "key",
  ["HTTP://127.0.0.1:8080/x"] = "key",
  ["http://127.1:8080/x"] = "key",
  ["https://api.bfl.ai/x"] = "key",
  ["http://127.0.0.1:8081/x"] = "asked",
  ["http://127.0.0.1/x"] = "asked",
  ["http://127.0.0.2:8080/x"] = "asked",
  ["https://127.0.0.1:8080/x"] = "asked",
  ["http://localhost:8080/x"] = "asked",
  ["http://[::1]:8080/x"] = "asked",
  ["https://evil.test/x"] = "asked",
  ["http://evil.test:8080/x"] = "refused",
  ["http://127.0.0.1.evil.test:8080/x"] = "refused",
  ["http://127.0.0.1:8080@evil.test/x"] = "refused",
  ["http://localhost.evil.test:8080/x"] = "refused",
  ["http://localhost.:8080/x"] = "refused",
  ["http://127.0.0.256:8080/x"] = "refused",
  ["http://127.0.0.1.:8080/x"] = "refused",
  ["http://128.0.0.1:8080/x"] = "refused",
  ["http://0.0.0.0:8080/x"] = "refused",
  ["http://[::ffff:127.0.0.1]:8080/x"] = "refused",
  ["http://169.254.169.254/latest/meta-data"] = "refused",
  ["http://api.bfl.ai/x"] = "refused",
  ["file:///etc/passwd"] = "refused",
}

local function judge(url, base, plain)
  local target, message = origin.read(url, plain)
  if not target then
    assert.is_string(message)
    return "refused"
  end
  return origin.sees_key(target, base) and "key" or "asked"
end

-- A URL as a test's name may show it.
local function shown(url)
  return (url:sub(1, 60):gsub("[^\32-\126]", function(char)
    return ("\\%d"):format(char:byte())
  end))
end

describe("with the service as the base", function()
  local base = assert(origin.read("https://api.bfl.ai", true))
  for url, wanted in pairs(judged) do
    it(("%s is %s"):format(shown(url), wanted), function()
      assert.equal(wanted, judge(url, base, base.loopback))
    end)
  end
end)

describe("with an emulator as the base", function()
  local base = assert(origin.read("http://127.0.0.1:8080", true))
  for url, wanted in pairs(on_loopback) do
    it(("%s is %s"):format(shown(url), wanted), function()
      assert.equal(wanted, judge(url, base, base.loopback))
    end)
  end
end)

describe("an origin", function()
  it("of somebody's own proxy in front of the service sees the key, and no other there", function()
    local base = assert(origin.read("https://gate.example:8443/bfl", true))
    assert.equal("key", judge("https://gate.example:8443/v1/get_result", base, false))
    assert.equal("asked", judge("https://gate.example/v1/get_result", base, false))
    assert.equal("asked", judge("https://other.gate.example:8443/v1/get_result", base, false))
    assert.equal("refused", judge("http://gate.example:8443/v1/get_result", base, false))
  end)

  it("is read from a redirect's relative URL as a browser reads it", function()
    local from = "https://api.bfl.ai/v1/get_result?id=1"
    for location, url in pairs {
      ["/x?y"] = "https://api.bfl.ai/x?y", ["//evil.test/x"] = "https://evil.test/x",
      ["other"] = "https://api.bfl.ai/v1/other", ["https://evil.test/"] = "https://evil.test/",
    } do
      assert.equal(url, assert(origin.read(location, false, from)).url)
    end
    assert.is_nil((origin.read("http://api.bfl.ai/x", false, from)))
    assert.is_nil((origin.read("file:///etc/passwd", false, from)))
  end)

  it("needs a string", function()
    for _, url in ipairs { 17, true, {}, print } do
      assert.is_nil((origin.read(url, false)))
    end
    assert.is_nil((origin.read(nil, false)))
  end)

  it("that should never have been asked for is not asked by the engine either", function()
    local engine = core.engine {}
    for _, request in ipairs {
      { url = "file:///etc/hostname", plain = true }, { url = "ftp://127.0.0.1:1/", plain = true },
      { url = "dict://127.0.0.1:1/", plain = true }, { url = "http://127.0.0.1:1/" },
      { url = "http://user@127.0.0.1:1/", plain = true, code = "CURLE_LOGIN_DENIED" },
    } do
      assert(engine:fetch { url = request.url, plain = request.plain, cap = 1000 })
      local limit, events = core.now() + 10
      repeat
        engine:wait(core.now() + 0.1)
        events = engine:step(1)
      until events or core.now() > limit
      assert.equal(request.code or "CURLE_UNSUPPORTED_PROTOCOL", events and events[1].code,
        request.url)
      assert.equal("", events[1].body or "")
    end
    engine:close()
  end)

  it("is judged as libcurl will connect to it", function()
    -- Where a parser of ours and libcurl's disagreed the key would go to evil.test.
    assert.equal("evil.test", core.url("https://evil.test#@api.bfl.ai/").host)
    assert.equal("evil.test", core.url("https://api.bfl.ai\\@evil.test/").host)
  end)
end)
