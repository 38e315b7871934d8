-- HTTPS: what is trusted, and what an untrusted server gets to see, which is nothing.

local kontext = require "kontext"
local core = require "kontext.core"
local emulator = require "spec.support.emulator"

local server

setup(function() server = emulator.start { tls = true, ready_after = 0.05 } end)
teardown(function() server:stop() end)

local function edit(options)
  options.api_key, options.poll_interval = "key-of-a-test", 0.02
  options.base_url = options.base_url or server.url
  local client = kontext.new(options)
  local image, message, err = client:edit({ prompt = "Change it", timeout = 10 }):wait()
  client:close()
  return image, message, err
end

describe("an edit over TLS", function()
  it("works with the certificate to trust, and the key goes to its own origin alone", function()
    server:forget()
    local image = assert(edit { ca_file = server.ca_file })
    assert.same({ "jpeg", 1024 }, { image.format, image.width })
    for _, request in ipairs(server:requests()) do
      assert.is_true(request.tls)
      assert.equal(request.path:find "^/v1/" and "ok" or "none", request.key)
    end
    assert.equal(1, #server:requests "POST")
    assert.equal("1.1", server:requests("POST")[1].protocol)
  end)

  it("sends not one byte of a request to a server it cannot trust", function()
    server:forget()
    local begun = core.now()
    local _, message, err = edit {}
    assert.equal("tls", err.kind, message)
    assert.equal("submit", err.stage)
    assert.matches("^CURLE_", err.code)
    assert.is_nil(err.status)
    assert.is_true(err.retryable)
    assert.is_false(err.charged)
    assert.is_true(core.now() - begun < 5)
    assert.equal(0, #server:requests())
    assert.equal(0, server:ledger().totals.incomplete)
    assert.is_true(server:ledger().totals.connections > 0)
  end)

  it("sends nothing to a name that the certificate does not have", function()
    local everywhere = emulator.start { tls = true, host = "0.0.0.0" }
    local there = everywhere.url:gsub("0%.0%.0%.0", "127.0.0.2")
    local _, message, err = edit { ca_file = everywhere.ca_file, base_url = there }
    assert.equal("tls", err.kind, message)
    everywhere.url = there:gsub("127.0.0.2", "127.0.0.1")
    assert.equal(0, #everywhere:requests())
    everywhere:stop()
  end)

  it("says so where the certificate's file cannot be read", function()
    local _, message, err = edit { ca_file = "/no/such.pem" }
    assert.equal("tls", err.kind, message)
    assert.equal(0, server:ledger().totals.incomplete)
  end)

  it("is not spoken with a server of plain HTTP, nor HTTP with one of TLS", function()
    local plain = emulator.start { ready_after = 0.05 }
    local _, _, err = edit { base_url = plain.url:gsub("^http", "https") }
    assert.equal("tls", err.kind)
    assert.equal(0, #plain:requests())
    plain:stop()
    server:forget()
    _, _, err = edit { base_url = server.url:gsub("^https", "http") }
    assert.is_true(err.kind == "ambiguous" or err.kind == "network", err.kind)
    assert.equal(0, #server:requests())
  end)
end)
