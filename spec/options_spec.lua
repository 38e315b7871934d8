-- The options of kontext.new: what each is when absent, and what is misused. Nothing is sent.

local kontext = require "kontext"
local options = require "kontext.client.options"

local environment = {}
local real_getenv = os.getenv

setup(function()
  os.getenv = function(name) return environment[name] end -- luacheck: ignore 122
end)

teardown(function()
  os.getenv = real_getenv -- luacheck: ignore 122
end)

before_each(function() environment = {} end)

-- Returns the message that options raise, which names the caller's line.
local function raised(given)
  local done, message = pcall(function() return (options.check(given, 1)) end)
  assert.is_false(done)
  assert.matches("options_spec%.lua:%d+: ", message)
  return message
end

describe("an option that is absent", function()
  it("has the documented default", function()
    local chosen = options.check(nil, 1)
    assert.equal("https://api.bfl.ai", chosen.base_url)
    assert.equal("flux-kontext-pro", chosen.model)
    assert.equal(300, chosen.timeout)
    assert.equal(10, chosen.connect_timeout)
    assert.equal(30, chosen.stall_timeout)
    assert.matches("^kontext%-lua/%d", chosen.user_agent)
    for _, name in ipairs { "api_key", "max_active", "poll_interval", "proxy", "journal",
      "budget", "ca_file", "loop", "on_event" } do
      assert.is_nil(chosen[name])
    end
  end)

  it("comes from the environment where that is set to something", function()
    environment = { BFL_BASE_URL = "http://127.0.0.1:1", SSL_CERT_FILE = "/b.pem" }
    assert.equal("http://127.0.0.1:1", options.check({}, 1).base_url)
    assert.equal("/b.pem", options.check({}, 1).ca_file)
    environment.CURL_CA_BUNDLE = "/a.pem"
    assert.equal("/a.pem", options.check({}, 1).ca_file)
    environment = { BFL_BASE_URL = "", CURL_CA_BUNDLE = "", SSL_CERT_FILE = "" }
    assert.equal("https://api.bfl.ai", options.check({}, 1).base_url)
    assert.is_nil(options.check({}, 1).ca_file)
  end)

  it("never is the key of the environment: the transport decides who may see that", function()
    environment = { BFL_API_KEY = "secret" }
    assert.is_nil(options.check({}, 1).api_key)
  end)
end)

describe("an option that is given", function()
  it("goes before the environment, and base_url before region", function()
    environment = { BFL_BASE_URL = "http://127.0.0.1:1" }
    assert.equal("https://api.eu.bfl.ai", options.check({ region = "eu" }, 1).base_url)
    assert.equal("https://x.test",
      options.check({ region = "eu", base_url = "https://x.test" }, 1).base_url)
  end)

  it("may be a model's short name", function()
    assert.equal("flux-kontext-max", options.check({ model = "max" }, 1).model)
  end)

  it("stays the caller's table as it was", function()
    local given = { api_key = "secret", timeout = 5 }
    local client = kontext.new(given)
    client:close()
    assert.same({ api_key = "secret", timeout = 5 }, given)
  end)
end)

describe("an option that is misused", function()
  local rows = {
    { "a name that is none", { timout = 5 }, 'unknown key "timout" %(did you mean "timeout"%?%)' },
    { "a number as a text", { timeout = "5" }, "timeout must be a number, not string" },
    { "a text as a number", { base_url = 5 }, "base_url must be a string, not number" },
    { "a callback that is none", { on_event = true }, "on_event must be a function, not boolean" },
    { "a loop of neither type", { loop = 5 }, "loop must be a string or function, not number" },
    { "no time at all", { timeout = 0 }, "timeout must be a number above 0" },
    { "time without end", { timeout = math.huge }, "timeout must be a number above 0" },
    { "a time that is no number", { timeout = 0 / 0 }, "timeout must be a number above 0" },
    { "a budget below nothing", { budget = -1 }, "budget must be a number above 0" },
    { "a region that is none", { region = "mars" }, 'region must be "eu" or "us"' },
    { "a model that is none", { model = "flux-kontext-pr" }, "model is .*flux%-kontext%-pro" },
    { "a loop that is none", { loop = "nosuch" }, 'loop must be a function, "yield"' },
    { "an agent of two lines", { user_agent = "a\r\nx: y" }, "control characters" },
    { "a plain base elsewhere", { base_url = "http://api.bfl.ai" }, "base_url is neither https" },
    { "a base with a user", { base_url = "https://me@api.bfl.ai" }, "base_url has a user's name" },
  }
  for _, row in ipairs(rows) do
    it("raises at the caller's line and names the key: " .. row[1], function()
      assert.matches(row[3], raised(row[2]))
    end)
  end

  it("raises when the options are no table", function()
    assert.matches("options must be a table, not string", raised "key")
  end)
end)
