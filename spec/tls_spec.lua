-- HTTPS: what is trusted, and what an untrusted server gets to see, which is nothing.

local core = require "kontext.core"
local kontext = require "kontext"
local emulator = require "spec.support.emulator"

local server, everywhere, plain

-- Begins an edit with a client of these options.
local function edit(options)
  options.api_key, options.poll_interval = "key-of-a-test", 0.02
  local client = kontext.new(options)
  return client:edit { prompt = "Change it", timeout = 10 }, client
end

setup(function()
  server = emulator.start { tls = true, ready_after = 0.05 }
  everywhere = emulator.start { tls = true, ready_after = 0.05, host = "0.0.0.0" }
  plain = emulator.start { ready_after = 0.05 }
end)

teardown(function()
  for _, one in ipairs { server, everywhere, plain } do one:stop() end
end)

describe("over TLS an edit", function()
  it("works with the certificate to trust, and the key goes to its own origin alone", function()
    local job, client = edit { base_url = server.url, ca_file = server.ca_file }
    local image = assert(job:wait(20))
    client:close()
    assert.same({ "jpeg", 1024 }, { image.format, image.width })
    for _, request in ipairs(server:requests()) do
      assert.is_true(request.tls)
      assert.equal(request.path:find "^/v1/" and "ok" or "none", request.key)
    end
    assert.equal(1, #server:requests "POST")
    assert.equal("1.1", server:requests("POST")[1].protocol)
    server:forget()
  end)
end)

describe("over TLS not one byte of a request goes to", function()
  local rows

  setup(function()
    -- Other addresses of the same servers: one that the certificate does not name.
    local there = everywhere.url:gsub("0%.0%.0%.0", "127.0.0.2")
    everywhere.url = there:gsub("127.0.0.2", "127.0.0.1")
    rows = {
      stranger = { base_url = server.url, at = server },
      misnamed = { base_url = there, ca_file = everywhere.ca_file, at = everywhere },
      unreadable = { base_url = server.url, ca_file = "/no/such.pem", at = server },
      plain = { base_url = plain.url:gsub("^http", "https"), at = plain },
      clear = { base_url = server.url:gsub("^https", "http"), at = server },
    }
    local open, limit = 1, core.now() + 20
    for _, row in pairs(rows) do
      row.job, row.client = edit { base_url = row.base_url, ca_file = row.ca_file }
    end
    while open > 0 and core.now() < limit do
      open = 0
      for _, row in pairs(rows) do open = open + row.client:poll(0.005) end
    end
  end)

  teardown(function()
    for _, row in pairs(rows) do row.client:close() end
  end)

  for name, what in pairs {
    stranger = "a server whose certificate nobody vouches for",
    misnamed = "a server whose certificate has another name",
    unreadable = "any server when the certificates to trust cannot be read",
    plain = "a server that speaks plain HTTP",
  } do
    it(what, function()
      local err, seen = rows[name].job.error, rows[name].at:ledger()
      assert.equal("failed", rows[name].job.status)
      assert.equal("tls", err.kind, err.message)
      assert.equal("submit", err.stage)
      assert.matches("^CURLE_", err.code)
      assert.is_nil(err.status)
      assert.is_true(err.retryable)
      assert.is_false(err.charged)
      assert.same({}, seen.requests)
      assert.equal(0, seen.totals.incomplete)
      assert.equal(0, rows[name].job.sent)
    end)
  end

  it("a server of TLS that is spoken to in clear, but the bytes it cannot read", function()
    local err = rows.clear.job.error
    assert.is_true(err.kind == "ambiguous" or err.kind == "network", err.kind)
    assert.same({}, server:ledger().requests)
  end)
end)
