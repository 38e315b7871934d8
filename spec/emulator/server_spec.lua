-- The emulator as a server: its ledger, TLS, webhooks, and clients that misbehave.

local cjson = require "cjson"
local need = require "kontext.emulator.need"
local socket = require "socket"
local support = require "spec.support.emulator"

-- Waits until a function's result is true, five seconds at most.
local function eventually(fn)
  for _ = 1, 50 do
    if fn() then return true end
    socket.sleep(0.1)
  end
end

-- Returns an address of this machine that is no loopback, or nil.
local function own_address()
  return support.shell("hostname -I 2>/dev/null"):match "%d+%.%d+%.%d+%.%d+"
end

describe("an emulator that other machines reach", function()
  local server, victim, address
  setup(function()
    address = own_address()
    if not address then return end
    victim = support.start { seed = 1, ready_after = 0 }
    server = support.start { seed = 1, ready_after = 0, host = "0.0.0.0" }
  end)
  teardown(function()
    if not address then return end
    server:stop()
    victim:stop()
  end)
  before_each(function()
    if not address then return end
    server:forget()
    victim:forget()
  end)

  -- Submits an edit that names two URLs of the victim; returns the answer.
  local function submit(base)
    local body = cjson.encode { prompt = "p", input_image = victim.url .. "/v1/credits",
      input_image_2 = victim.url .. "/v1/other", webhook_url = victim.url .. "/hook" }
    local headers = { "x-key: k", "Content-Type: application/json" }
    return server:request(base .. "/v1/flux-kontext-pro", { method = "POST", body = body,
      headers = headers })
  end

  it("fetches and calls nothing of its own machine for a client on another one", function()
    if not address then return pending "this machine has loopback addresses alone" end
    local port = server.url:match ":(%d+)$"
    local remote = ("http://%s:%s"):format(address, port)
    assert.equal(200, submit(remote).status)
    assert.is_true(eventually(function() return #server:ledger().webhooks == 1 end))
    assert.equal("asked for from another machine: not sent", server:ledger().webhooks[1].error)
    assert.equal(0, victim:ledger().totals.requests)
    assert.equal(403, server:request(remote .. "/_ledger").status)
    assert.equal(403, server:request(remote .. "/_ledger", { method = "DELETE" }).status)
    assert.equal(200, submit("http://127.0.0.1:" .. port).status) -- the same from here
    assert.is_true(eventually(function() return victim:ledger().totals.requests >= 3 end))
  end)
end)

describe("the emulator's ledger", function()
  local server
  before_each(function() server = support.start { seed = 1, ready_after = 0 } end)
  after_each(function() server:stop() end)

  it("tells each request, its headers and its key's state, but no key and no secret", function()
    local params = {
      prompt = "A castle", seed = 1, webhook_url = "https://example.com", webhook_secret = "S3CRET",
    }
    server:submit(params)
    server:request("/v1/credits?x=1", { headers = { "x-key: bad", "x-other: 5" } })
    server:request "/v1/credits"
    local ledger = server:ledger()
    local text = server:request("/_ledger").body
    assert.equal(3, ledger.totals.requests)
    local submit, second, third = ledger.requests[1], ledger.requests[2], ledger.requests[3]
    assert.equal("ok bad none", table.concat({ submit.key, second.key, third.key }, " "))
    assert.equal("POST", submit.method)
    assert.equal("/v1/flux-kontext-pro", submit.path)
    assert.equal("application/json", submit.headers.accept)
    assert.equal(submit.body, tonumber(submit.headers["content-length"]))
    assert.equal("A castle", submit.params.prompt)
    assert.equal(true, submit.params.webhook_secret)
    assert.equal(200, submit.status)
    assert.equal("/v1/credits?x=1", second.target)
    assert.equal("5", second.headers["x-other"])
    assert.equal(403, third.status)
    assert.is_nil(text:find("a-key", 1, true))
    assert.is_nil(text:find("S3CRET", 1, true))
  end)

  it("tells each task: its submit, its polls, its downloads, its charge", function()
    server:edit { prompt = "A castle", seed = 1 }
    local ledger = server:ledger()
    local task = ledger.tasks[1]
    assert.equal(ledger.requests[1].task, task.id)
    assert.equal(ledger.requests[1].number, task.request)
    assert.equal("Ready", task.status)
    assert.equal(4, task.charged)
    assert.equal(1, task.downloads)
    assert.equal(ledger.totals.polls, task.polls)
    assert.equal("1 1 1 0", ("%d %d %d %d"):format(ledger.totals.submits, ledger.totals.accepted,
      ledger.totals.downloads, ledger.totals.incomplete))
  end)

  it("counts connections, and tells which one a request came by", function()
    support.shell(("curl -s '%s/v1/credits?[1-3]' ; curl -s %s/v1/credits")
      :format(server.url, server.url))
    local seen = {}
    for i, request in ipairs(server:requests()) do seen[i] = ("%d"):format(request.connection) end
    assert.equal("1 1 1 2", table.concat(seen, " "))
  end)

  it("tells of an upload that broke off, and how far it came", function()
    local host, port = server.url:match "//(.*):(%d+)"
    local client = assert(socket.connect(host, tonumber(port)))
    client:send("POST /v1/flux-kontext-pro HTTP/1.1\r\nHost: x\r\nx-key: k\r\n"
      .. "Content-Length: 100000\r\n\r\n" .. ("x"):rep(5000))
    client:close()
    assert.is_true(eventually(function() return server:ledger().totals.incomplete == 1 end))
    local ledger = server:ledger()
    assert.equal(0, ledger.totals.submits)
    assert.is_false(ledger.requests[1].complete)
    assert.equal(5000, ledger.requests[1].body)
  end)

  it("keeps the newest entries, and is emptied by DELETE", function()
    local small = support.start { ledger_size = 10 }
    finally(function() small:stop() end)
    support.shell(("curl -s '%s/v1/credits?[1-95]'"):format(small.url))
    local ledger = small:ledger()
    assert.equal(95, ledger.totals.requests)
    assert.is_true(#ledger.requests >= 10 and #ledger.requests < 20)
    assert.equal("/v1/credits?95", ledger.requests[#ledger.requests].target)
    assert.equal(204, small:request("/_ledger", { method = "DELETE" }).status)
    assert.equal(0, small:ledger().totals.requests)
    assert.equal("[]", small:request("/_ledger").body:match '"requests":(%b[])')
  end)
end)

describe("the emulator over TLS", function()
  local server
  setup(function() server = support.start { tls = true, ready_after = 0 } end)
  teardown(function() server:stop() end)

  for protocol, args in pairs { ["2"] = "--http2", ["1.1"] = "--http1.1" } do
    it("edits by HTTP/" .. protocol .. " for who trusts its certificate", function()
      server:forget()
      local body = cjson.encode { prompt = "A castle", seed = 1, filler = ("x"):rep(3e6) }
      local answer = server:request("/v1/flux-kontext-pro", {
        method = "POST", body = body, args = args,
        headers = { "x-key: k", "Content-Type: application/json" },
      })
      assert.equal(200, answer.status)
      local ready = server:await(answer.json.polling_url)
      assert.matches("^https://", ready.json.result.sample)
      local picture = server:request(ready.json.result.sample, { args = args })
      assert.equal(200, picture.status)
      assert.is_true(#picture.body > 10000)
      local seen = server:ledger().requests[1]
      assert.equal(protocol, seen.protocol)
      assert.is_true(seen.tls)
      assert.equal(#body, seen.body)
    end)
  end

  -- Begins an upload of `size` bytes by HTTP/2; returns the connection and the request's stream.
  local function upload(size)
    local context = need("openssl.ssl.context").new("TLS", false)
    need("http.tls")
    context:setAlpnProtos { "h2" }
    local connection = assert(need("http.client").connect({
      host = "127.0.0.1", port = tonumber(server.url:match "%d+$"), tls = true, ctx = context,
      version = 2,
    }, 10))
    local headers = need("http.headers").new()
    for _, field in ipairs {
      { ":method", "POST" }, { ":scheme", "https" }, { ":path", "/v1/flux-kontext-pro" },
      { ":authority", "127.0.0.1" }, { "x-key", "k" }, { "content-type", "application/json" },
      { "content-length", tostring(size) },
    } do headers:append(field[1], field[2]) end
    local stream = connection:new_stream()
    assert(stream:write_headers(headers, false, 10))
    return connection, stream
  end

  -- A frame of a request's body; `flags` 1 ends the request.
  local function data_frame(stream, payload, flags)
    local high, low = math.floor(#payload / 256), #payload % 256
    return string.char(0, high, low, 0, flags, 0, 0, 0, stream.id) .. payload
  end

  it("reads an HTTP/2 upload whole, however it is cut into frames and pieces", function()
    server:forget()
    local body = cjson.encode { prompt = "A castle", seed = 1, filler = ("x"):rep(60000) }
    local connection, stream = upload(#body)
    local frames = {}
    for at = 1, #body, 500 do
      frames[#frames + 1] = data_frame(stream, body:sub(at, at + 499), at + 499 >= #body and 1 or 0)
    end
    local bytes = table.concat(frames)
    for at = 1, #bytes, 3001 do
      assert(connection.socket:xwrite(bytes:sub(at, at + 3000), "n", 10))
      need("cqueues").sleep(0.02)
    end
    local answer = assert(stream:get_headers(10))
    connection:close()
    assert.equal("200", answer:get ":status")
    assert.equal(#body, server:requests("POST")[1].body)
  end)

  it("answers as localhost too, and nobody who does not trust it", function()
    local port = server.url:match "%d+$"
    assert.equal(403, server:request(("https://localhost:%s/v1/credits"):format(port)).status)
    local code = support.shell(("curl -s %s/v1/credits; echo $?"):format(server.url))
    assert.equal("60\n", code) -- the certificate is signed by itself
  end)

  it("has its certificate in the file that was asked for", function()
    local path = os.tmpname()
    local other = support.start { tls = true, ca_file = path }
    assert.equal(path, other.ca_file)
    assert.equal(403, other:request("/v1/credits").status)
    other:stop()
    assert.matches("BEGIN CERTIFICATE", support.read(path))
    os.remove(path)
  end)
end)

describe("a webhook of the emulator", function()
  local receiver, url, server

  local function receive(refusals)
    local interpreter = os.getenv "KONTEXT_EMULATOR_LUA" or "lua5.4"
    receiver = assert(io.popen(("exec timeout 30 %s spec/support/receiver.lua %d")
      :format(interpreter, refusals)))
    url = receiver:read "*l"
  end
  local function next_call() return cjson.decode(receiver:read "*l") end

  before_each(function()
    server = support.start { ready_after = 0, webhook_signature = true }
  end)
  after_each(function()
    server:stop()
    os.execute("curl -s -X DELETE " .. url .. " >/dev/null")
    receiver:close()
  end)

  it("is called with the secret, the signature and the result", function()
    receive(0)
    local task = server:submit {
      prompt = "A castle", seed = 1, webhook_url = url, webhook_secret = "s3cret",
    }.json
    local call = next_call()
    assert.equal("POST", call.headers[":method"])
    assert.equal("s3cret", call.headers["x-webhook-secret"])
    assert.equal("application/json", call.headers["content-type"])
    local event = cjson.decode(call.body)
    assert.equal(task.id, event.id)
    assert.equal("Ready", event.status)
    assert.equal(200, server:request(event.result.sample).status)
    local hmac = support.shell(("printf %%s %s | openssl dgst -sha256 -hmac s3cret")
      :format(support.quote(call.body))):match "%x+%s*$"
    assert.equal("sha256=" .. hmac, call.headers["x-bfl-signature"] .. "\n")
  end)

  it("is tried again until it is taken, and each try is in the ledger", function()
    receive(2)
    local prompt = "[emulate: request moderated]"
    server:submit { prompt = prompt, webhook_url = url }
    local events = { next_call(), next_call(), next_call() }
    assert.equal(events[1].body, events[3].body)
    assert.is_nil(events[1].headers["x-webhook-secret"])
    assert.equal("Request Moderated", cjson.decode(events[1].body).status)
    assert.is_true(eventually(function()
      local tries = {}
      for i, entry in ipairs(server:ledger().webhooks) do
        tries[i] = ("%d"):format(entry.status or 0)
      end
      return table.concat(tries, " ") == "500 500 204"
    end))
  end)

  it("is not called elsewhere than on this machine", function()
    receive(0)
    server:submit { prompt = "A castle", seed = 1, webhook_url = "http://192.0.2.1/hook" }
    assert.is_true(eventually(function() return server:ledger().webhooks[1] end))
    assert.equal("not on this machine: not sent", server:ledger().webhooks[1].error)
  end)
end)

describe("the emulator outlives", function()
  local server, host, port
  setup(function()
    server = support.start { ready_after = 0 }
    host, port = server.url:match "//(.*):(%d+)"
  end)
  teardown(function() server:stop() end)

  local function connect()
    local client = assert(socket.connect(host, tonumber(port)))
    client:settimeout(5)
    return client
  end

  -- Sends bytes, then hears all that is said in answer.
  local function say(bytes)
    local client = connect()
    client:send(bytes)
    client:shutdown "send"
    local heard, _, part = client:receive "*a"
    client:close()
    return heard or part
  end

  local function descriptors()
    return tonumber(support.shell(("ls /proc/%d/fd | wc -l"):format(server.pid)))
  end

  local HEAD = "POST /v1/flux-kontext-pro HTTP/1.1\r\nHost: x\r\nx-key: k\r\n"
  for what, bytes in pairs {
    ["a request that is cut"] = "GET / HT", ["noise"] = "\0\1\2\3\255\r\n\r\n",
    ["a header without a colon"] = "GET / HTTP/1.1\r\nnonsense\r\n\r\n",
    ["a chunk without a size"] = HEAD .. "Transfer-Encoding: chunked\r\n\r\nzz\r\nx",
    ["a chunk that is cut"] = HEAD .. "Transfer-Encoding: chunked\r\n\r\nff\r\nx",
    ["a thousand headers"] = "GET / HTTP/1.1\r\n" .. ("a: b\r\n"):rep(1000) .. "\r\n",
    ["a path of 100 kB"] = "GET /" .. ("a"):rep(1e5) .. " HTTP/1.1\r\nHost: x\r\n\r\n",
    ["HTTP/2 out of the blue"] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
  } do
    it(what, function()
      local heard = say(bytes)
      assert.is_true(heard == "" or not heard:match "^HTTP/1.%d 2")
      assert.equal(403, server:request("/v1/credits").status)
    end)
  end

  for what, line in pairs {
    ["a length that is no number"] = "Content-Length: many",
    ["a length below zero"] = "Content-Length: -5",
    ["a coding that nobody knows"] = "Transfer-Encoding: rot13",
    ["a length of a gigabyte"] = "Content-Length: 1000000000",
  } do
    it(what .. ", which it refuses", function()
      for _ = 1, 20 do -- what comes first, the answer's end or the client's, is left to chance
        assert.matches("^HTTP/1.1 4[01][03] ", say(HEAD .. line .. "\r\n\r\nx"))
      end
      assert.equal(403, server:request("/v1/credits").status)
    end)
  end

  it("a client that waits for 100-continue", function()
    local client = connect()
    client:send(HEAD .. "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
    assert.equal("HTTP/1.1 100 Continue", client:receive "*l")
    assert.equal("", client:receive "*l")
    client:send "{}"
    assert.equal("HTTP/1.1 422 Unprocessable Entity", client:receive "*l")
    client:close()
  end)

  it("pipelining, with the answers in order", function()
    local submit = HEAD .. "Content-Type: application/json\r\nContent-Length: 25\r\n\r\n"
      .. '{"prompt":"xyz","seed":1}'
    local heard = say(("GET /v1/credits HTTP/1.1\r\nHost: x\r\nx-key: k\r\n\r\n" .. submit):rep(3)
      .. "GET /lost HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    local said = {}
    for status in heard:gmatch "HTTP/1.1 (%d+)" do said[#said + 1] = status end
    assert.equal("200 200 200 200 200 200 404", table.concat(said, " "))
    local kinds = {}
    for name in heard:gmatch '"(%w+)":' do
      if name == "credits" or name == "id" then kinds[#kinds + 1] = name end
    end
    assert.equal("credits id credits id credits id", table.concat(kinds, " "))
  end)

  it("clients that leave in the middle, without keeping a descriptor", function()
    server:edit { prompt = "A castle", seed = 1 } -- the threads are there after this
    local before = descriptors()
    for _ = 1, 50 do
      local client = connect()
      client:send(HEAD .. "Content-Length: 100000\r\n\r\nabc")
      client:close()
      local impatient = connect() -- never reads its answers: they meet a closed socket
      impatient:send(("GET /_ledger HTTP/1.1\r\nHost: x\r\n\r\n"):rep(5))
      impatient:close()
    end
    assert.is_true(eventually(function() return descriptors() <= before end))
  end)

  it("30 uploads of 2 MB at once, and answers polls meanwhile", function()
    server:forget()
    local picture = server:edit { prompt = "A castle", seed = 1 }
    local padded = picture .. ("\0"):rep(2e6 - #picture)
    local path = os.tmpname()
    support.write(path, cjson.encode {
      prompt = "x [emulate: slow 60]", seed = 1, input_image = require "mime".b64(padded),
    })
    local said = support.shell(("curl -s -Z --parallel-max 30 -o /dev/null -w '%%{http_code}\\n' "
      .. "-H 'x-key: k' --json @%s '%s/v1/flux-kontext-pro?[1-30]' 2>/dev/null & "
      .. "curl -s -o /dev/null -w '%%{time_total} poll\\n' %s/v1/get_result?id=x; wait")
      :format(path, server.url, server.url))
    os.remove(path)
    local seen = {}
    for status in said:gmatch "\n?(%d%d%d)\n" do seen[status] = (seen[status] or 0) + 1 end
    assert.same({ ["200"] = 24, ["429"] = 6 }, seen)
    assert.matches("poll\n.*%d%d%d\n$", said) -- before the last of them
    local digest = support.sha256(padded)
    local whole = 0
    for _, request in ipairs(server:requests("POST")) do
      if request.images and request.images.input_image.sha256 == digest then whole = whole + 1 end
    end
    assert.equal(30, whole)
  end)
end)

describe("an emulator that other machines can reach", function()
  local function lines_of(command)
    local pipe = assert(io.popen(command))
    local text = pipe:read "*a"
    pipe:close()
    return text
  end

  it("keeps its ledger to this machine, and says that it can be reached", function()
    local address = lines_of "hostname -I":match "(%d+%.%d+%.%d+%.%d+)"
    if not address then return pending "this machine has no address but loopback" end
    local log = os.tmpname()
    local server = lines_of(([[
      { lua5.4 -e 'require("kontext.emulator").serve { host = "0.0.0.0" }' 2>%s & echo $!; } |
      { read pid; read url; echo $pid $url; }]]):format(log))
    local pid, port = server:match "^(%d+) http://0%.0%.0%.0:(%d+)"
    local function ask(host, method)
      return lines_of(("curl -s -o /dev/null -w '%%{http_code}' -X %s http://%s:%s/_ledger"):format(
        method, host, port))
    end
    local answers = table.concat({ ask("127.0.0.1", "GET"), ask(address, "GET"),
      ask(address, "DELETE"), ask("127.0.0.1", "DELETE") }, " ")
    local said = assert(io.open(log)):read "a"
    os.execute("kill " .. pid)
    os.remove(log)
    assert.equal("200 403 403 204", answers)
    assert.matches("other machines can reach it", said)
  end)

  it("does not say so where none can", function()
    local log = os.tmpname()
    local server = lines_of(([[
      { lua5.4 -e 'require("kontext.emulator").serve {}' 2>%s & echo $!; } |
      { read pid; read url; echo $pid $url; kill $pid; }]]):format(log))
    assert.matches("http://127", server)
    assert.is_nil((assert(io.open(log)):read "a"):find("other machines", 1, true))
    os.remove(log)
  end)

  it("gives ids that nobody can guess from when it began", function()
    local ids = {}
    for _ = 1, 2 do
      local server = assert(require("kontext.emulator").start { ready_after = 0 })
      local body = lines_of("curl -s -H 'x-key: k' -H 'content-type: application/json' -d "
        .. [['{"prompt":"x"}' ]] .. server.url .. "/v1/flux-kontext-pro")
      ids[#ids + 1] = assert(cjson.decode(body).id, body)
      server:stop()
    end
    assert.not_equal(ids[1], ids[2])
  end)
end)
