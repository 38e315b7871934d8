-- Clients: their options as the server sees them, the queue, the descriptor, close and fork.

local clock = require "spec.support.clock"
local core = require "kontext.core"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"
local socket = require "socket"

local waiting = raw.status "Pending"
local detail = { detail = "no" }

local server, other, client

setup(function() server, other = raw.start(), raw.start() end)

teardown(function()
  server:stop()
  other:stop()
end)

after_each(function()
  if client then client:close() end
end)

-- Makes the client of a test, for a service that is spoilt like this.
local function begin(options, spoilt)
  server:script(raw.service({}, "", spoilt))
  local given = { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
  for name, value in pairs(options or {}) do given[name] = value end
  client = kontext.new(given)
  return client
end

local function edit(params)
  local given = { prompt = "Change it", input_image = raw.picture }
  for name, value in pairs(params or {}) do given[name] = value end
  return client:edit(given)
end

-- Drives the client until `done()`, ten seconds at the most.
local function drive(done)
  local limit = core.now() + 10
  while not done() do
    assert(core.now() < limit, "it takes too long")
    client:poll(0.02)
  end
end

local function idle(seconds)
  local limit = core.now() + seconds
  drive(function() return core.now() > limit end)
end

-- Runs a script in a Lua of its own with these variables; returns what it prints.
local function child(variables, script)
  local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "%d+%.%d+"
  local pipe = assert(io.popen(("env -u BFL_API_KEY -u BFL_BASE_URL %s %s -e '%s' 2>&1"):format(
    variables, lua, script)))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("a client's options", function()
  it("reach the server: key, agent, model, base with a path", function()
    server:script(raw.service({}, "/case1"))
    client = kontext.new { base_url = server.url .. "/case1//", api_key = " " .. raw.key .. "\n",
      user_agent = "of-a-test/1", model = "flux-kontext-max", poll_interval = 0.01 }
    assert(edit():wait(10))
    local submit = server:requests()[1]
    assert.equal("/case1/v1/flux-kontext-max", submit.target)
    assert.equal(raw.key, submit.headers["x-key"])
    assert.equal("of-a-test/1", submit.headers["user-agent"])
    assert(edit { model = "flux-kontext-pro" }:wait(10))
    assert.equal("/case1/v1/flux-kontext-pro", server:requests("POST")[2].target)
  end)

  it("name the region's base", function()
    for region, base in pairs { eu = "https://api.eu.bfl.ai", us = "https://api.us.bfl.ai" } do
      local made = kontext.new { region = region, api_key = raw.key }
      assert.equal("kontext.client: " .. base, tostring(made))
      made:close()
    end
  end)

  it("send all that is not loopback, and with it a loopback base, through the proxy", function()
    begin { base_url = "http://127.0.0.1:9", proxy = other.url }
    other:script {}
    local _, _, err = edit():wait(10)
    assert.equal("not_found", err.kind)
    assert.equal("http://127.0.0.1:9/v1/flux-kontext-pro", other:requests()[1].target)
  end)

  it("limit an edit's time, and its own limit goes before", function()
    begin({ timeout = 1 }, { poll = { waiting } })
    local job = edit()
    local took = clock(job.wait, job, 10)
    assert.equal("failed", job.status)
    assert.same({ "timeout", "poll" }, { job.error.kind, job.error.stage })
    assert.is_true(took < 2, took)
    assert.matches("1.1 s", select(2, edit { timeout = 1.1 }:wait(10)))
  end)
end)

describe("a server that takes no connection", function()
  it("is given up after connect_timeout, and the edit was not sent", function()
    local full = assert(socket.bind("127.0.0.1", 0, 0))
    local _, port = full:getsockname()
    local queued = {}
    for i = 1, 4 do -- more than it lets wait
      queued[i] = socket.tcp()
      queued[i]:settimeout(0)
      queued[i]:connect("127.0.0.1", port)
    end
    begin { base_url = "http://127.0.0.1:" .. port, connect_timeout = 0.2, timeout = 60 }
    local _, _, err = edit():wait(10)
    assert.same({ "timeout", "submit", false, true },
      { err.kind, err.stage, err.charged, err.retryable })
    full:close()
    for i = 1, 4 do queued[i]:close() end
  end)
end)

describe("without options", function()
  local script = [[local kontext = require "kontext"
    local job = kontext.edit { prompt = "Change it" }
    io.write(tostring(kontext.pollfd() == kontext.getfd()), kontext.events(), " ",
      type(kontext.timeout()), " ", kontext.step(), " ")
    local image, message, err = job:wait(10)
    io.write(image and #image.bytes or err.kind .. ": " .. message)]]

  it("the environment tells one client for all the base; its key never goes out plain", function()
    server:script(raw.service({}, ""))
    other:script {}
    local text = child(("http_proxy=%s BFL_API_KEY=' %s ' BFL_BASE_URL=%s/"):format(other.url,
      raw.key, server.url), script)
    assert.equal("truer number 1 " .. #raw.picture, text)
    assert.equal(0, #other:requests()) -- what is on this machine needs no proxy
    assert.equal("emulator", server:requests("POST")[1].headers["x-key"])
    for _, request in ipairs(server:requests()) do
      assert.is_nil(request.head:find(raw.key, 1, true))
    end
  end)

  it("and is closed by close, after which the next call makes another", function()
    local text = child("BFL_API_KEY=k BFL_BASE_URL=https://127.0.0.1:1", [[
      local kontext = require "kontext"
      kontext.close()
      local job = kontext.edit { prompt = "Change it" }
      kontext.close()
      io.write(job.error.kind, " ", kontext.step(), " ", kontext.edit { prompt = "x" }.status)]])
    assert.equal("closed 0 waiting", text)
  end)

  it("and without a key nothing is sent, in a sentence that tells what to do", function()
    for _, variables in ipairs { "", "BFL_API_KEY=", "BFL_API_KEY='  '", "BFL_BASE_URL=" } do
      assert.matches("auth: there is no API key: set BFL_API_KEY", child(variables, script), 1,
        true)
    end
    assert.matches("auth: the API key has characters that no key has",
      child("BFL_API_KEY='a b'", script), 1, true)
  end)

  it("and with a base that is none nothing is sent", function()
    for _, base in ipairs { "http://evil.test", "ftp://127.0.0.1", "nonsense" } do
      assert.matches("invalid: BFL_BASE_URL ", child("BFL_BASE_URL=" .. base .. " BFL_API_KEY=k",
        script), 1, true)
    end
  end)
end)

describe("the queue", function()
  it("keeps max_active edits in flight, in the order of the calls", function()
    for active = 1, 3 do
      begin({ max_active = active })
      local jobs = {}
      for seed = 1, 8 do jobs[seed] = edit { seed = seed } end
      for _, job in ipairs(jobs) do assert(job:wait(10)) end
      local flying, most, seeds = 0, 0, {}
      for _, entry in ipairs(server:requests()) do
        if entry.method == "POST" then
          flying = flying + 1
          seeds[#seeds + 1] = tonumber(entry.body:match '"seed":(%d+)')
        elseif entry.path == "/sample.png" then
          flying = flying - 1
        end
        most = math.max(most, flying)
      end
      assert.equal(active, most)
      if active == 1 then assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, seeds) end
      table.sort(seeds)
      assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, seeds)
      client:close()
    end
  end)

  it("has 24 places in all, of which 6 are for max", function()
    begin({ poll_interval = 5 }, { poll = { waiting } })
    for _ = 1, 8 do edit { model = "max" } end
    for _ = 1, 26 do edit() end
    drive(function() return #server:requests("POST") >= 24 end)
    idle(0.2)
    assert.same({ 18, 6 }, { #server:requests("POST", "pro"), #server:requests("POST", "max") })
    assert.equal(34, client:step())
  end)

  it("has places for a model that is defined after the client was made, and begins first what "
    .. "came first", function()
    begin({ poll_interval = 5, max_active = 2 }, { poll = { waiting },
      more = { ["POST /v1/queue-test"] = { raw.accepted() } } })
    kontext.models.define("queue-test", { path = "/v1/queue-test", active = 5,
      fields = { { name = "prompt", type = "text", required = true },
        { name = "input_image", type = "image" } },
      images = { style = "single", first = "input_image", max = 1 }, sizes = { rule = "input" },
      formats = { "jpeg" }, default_format = "jpeg" })
    local own, second = edit { model = "queue-test" }, edit()
    local third = edit { model = "queue-test" }
    drive(function() return #server:requests("POST") >= 2 end)
    idle(0.2)
    assert.equal(1, #server:requests("POST", "queue%-test"))
    assert.equal(1, #server:requests("POST", "pro"))
    assert.same({ "pending", "pending", "waiting" }, { own.status, second.status, third.status })
  end)

  it("is emptied by a refused key or spent credits, with the same error", function()
    for status, kind in pairs { [401] = "auth", [402] = "credits", [403] = "auth" } do
      begin({ max_active = 1 }, { submit = { raw.json(status, detail) } })
      local jobs = {}
      for i = 1, 5 do jobs[i] = edit() end
      for _, job in ipairs(jobs) do
        local _, message, err = job:wait(10)
        assert.same({ kind, status, "submit" }, { err.kind, err.status, err.stage })
        assert.equal(jobs[1].error.message, message)
      end
      assert.equal(1, #server:requests())
      client:close()
    end
  end)

  it("goes on after a refusal that is about one edit alone", function()
    begin({ max_active = 1 }, { submit = { raw.json(422, detail), raw.json(400, detail),
      raw.accepted() } })
    local jobs = { edit(), edit(), edit() }
    assert.is_nil((jobs[1]:wait(10)))
    assert.is_nil((jobs[2]:wait(10)))
    assert(jobs[3]:wait(10))
    assert.equal(3, #server:requests("POST"))
  end)

  it("lets what is paid for go first", function()
    begin { max_active = 1 }
    assert(edit():wait(10))
    local token = require "kontext.token".write { id = "task-2",
      polling_url = server.url .. "/v1/get_result?id=task-2" }
    server:script(raw.service({}, "", { poll = { raw.status("Ready", { id = "task-2",
      result = { sample = "$HERE/sample.png" } }), raw.ready() } }))
    local jobs = { edit(), edit(), client:resume(token) }
    for _, job in ipairs(jobs) do assert(job:wait(10)) end
    assert.equal("/v1/get_result?id=task-2", server:requests()[1].target)
    assert.equal(2, #server:requests("POST"))
  end)

  it("tries a limited submit when an edit of ours ends, not only after Retry-After", function()
    begin({ max_active = 2 }, {
      submit = { raw.accepted(), raw.json(429, detail, { "Retry-After: 30" }), raw.accepted() },
      poll = { waiting, waiting, waiting, waiting, raw.ready() } })
    local begun = core.now()
    local jobs = { edit(), edit() }
    for _, job in ipairs(jobs) do assert(job:wait(10)) end
    assert.is_true(core.now() - begun < 5)
    assert.equal(3, #server:requests("POST"))
  end)
end)

describe("a webhook's event", function()
  it("wakes the job it names, which asks its own URL and no other", function()
    begin({}, { poll = { raw.ready() } })
    client:close()
    client = kontext.new { base_url = server.url, api_key = raw.key }
    other:script {}
    local job = edit { webhook_url = "https://example.test/hook" }
    drive(function() return job.status == "pending" end)
    assert.is_false(client:notify { id = "another", status = "Ready" })
    idle(0.2)
    assert.equal(0, #server:requests("GET"))
    assert.is_true(client:notify { id = "task-1", status = "Ready",
      result = { sample = other.url .. "/evil.png" }, polling_url = other.url .. "/evil" })
    local image = assert(job:wait(5))
    assert.equal(raw.picture, image.bytes)
    assert.equal(0, #other:requests())
    assert.is_false(client:notify { id = "task-1", status = "Ready" })
  end)
end)

describe("the descriptor", function()
  local function readable(seconds)
    return socket.select({ client }, nil, seconds)[1] == client
  end

  local function needs_descriptor()
    if not client:pollfd() then pending "there is none here: hosts tick" end
  end

  it("is quiet when nothing is due, and readable when something is", function()
    begin({ poll_interval = 1 }, { poll = { waiting } })
    needs_descriptor()
    assert.is_false(readable(0.05))
    assert.is_nil(client:timeout())
    assert.equal("r", client:events())
    local job = edit()
    assert.is_true(readable(0))
    assert.is_true(client:timeout() <= 0)
    drive(function() return job.status == "pending" end)
    client:step()
    assert.is_false(readable(0.1))
    local timeout = client:timeout()
    assert.is_true(timeout > 0 and timeout <= 1, timeout)
    assert.is_true(readable(5))
    job:cancel()
    client:step()
    assert.is_false(readable(0.1))
    assert.is_nil(client:timeout())
  end)

  it("is all that a loop needs: steps are few, and only when it is readable", function()
    begin({ poll_interval = 0.05 }, { poll = { waiting, waiting, waiting, raw.ready() } })
    needs_descriptor()
    local job, steps = edit(), 0
    while not job:ended() do
      assert.is_true(readable(5))
      client:step()
      steps = steps + 1
    end
    assert.equal("ready", job.status)
    assert.is_true(steps < 100, steps)
  end)

  it("or the time that `timeout` tells, where there is none", function()
    begin({ poll_interval = 0.05 }, { poll = { waiting, raw.ready() } })
    local job = edit()
    while not job:ended() do
      local timeout = client:timeout()
      assert.is_number(timeout)
      socket.select(nil, nil, math.min(timeout, 0.02))
      client:step()
    end
    assert.equal("ready", job.status)
  end)
end)

describe("a step", function()
  it("never blocks, whatever the server does", function()
    begin({}, { submit = { { hang = true } }, credits = { { hang = true } } })
    local jobs, worst = { edit(), edit(), client:credits() }, 0
    local limit = core.now() + 0.5
    while core.now() < limit do
      worst = math.max(worst, (clock(client.step, client)))
      socket.select(nil, nil, 0.001)
    end
    assert.is_true(worst < 0.1, worst)
    assert.equal(3, #jobs)
    assert.equal(3, client:step())
  end)
end)

describe("the engine's step", function()
  it("begins no more than there is time for", function()
    server:script { ["GET /"] = { { hang = true } } }
    local engine, count = core.engine {}, 200
    for _ = 1, count do
      assert(engine:fetch { url = server.url .. "/", allow_http = true, no_proxy = true,
        cap = 100 })
    end
    local function sockets()
      return tonumber(pictures.output "ls -l /proc/$PPID/fd 2>/dev/null | grep -c socket")
    end
    local before = sockets()
    engine:step(0.00005)
    assert.is_true(sockets() - before < count / 4, sockets())
    local limit = core.now() + 20
    while sockets() - before < count and core.now() < limit do engine:step(0.01) end
    assert.equal(count, sockets() - before)
    engine:close()
  end)

  it("takes no more of an answer than its cap, of an error 256 KiB", function()
    server:script { ["GET /200"] = { { status = 200, body = ("x"):rep(1001) } },
      ["GET /404"] = { { status = 404, body = ("x"):rep(262145) } } }
    local engine = core.engine {}
    for _, status in ipairs { 200, 404 } do
      assert(engine:fetch { url = ("%s/%d"):format(server.url, status), allow_http = true,
        no_proxy = true, cap = 1000 })
      local limit, events = core.now() + 10
      repeat
        engine:wait(core.now() + 0.1)
        events = engine:step(0.01)
      until events or core.now() > limit
      assert.same({ status, "protocol", "CURLE_FILESIZE_EXCEEDED" },
        { events[1].status, events[1].kind, events[1].code })
    end
    engine:close()
  end)
end)

describe("a program that the host starts", function()
  it("gets no descriptor of ours: no socket, no journal, no half of a picture", function()
    local folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    local function inherited()
      local tcp, list = pictures.output "cat /proc/net/tcp", {}
      for name in pictures.output "readlink /proc/self/fd/*":gmatch "[^\n]+" do
        local inode = name:match "^socket:%[(%d+)%]$"
        -- libcurl has a pair of sockets to itself, which lead nowhere.
        local ours = not inode or tcp:find(" " .. inode .. " ", 1, true)
        if ours and not name:find "^pipe:" then list[#list + 1] = name end
      end
      return list
    end
    local before = inherited()
    begin({ journal = folder .. "/journal" }, { sample = { { keep = true,
      raw = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n\137PNG\r\n" } } })
    local job = edit { save_as = folder .. "/a.png" }
    drive(function() return job.received > 0 end)
    assert.same(before, inherited())
    client:close()
    os.execute("rm -r " .. folder)
  end)
end)

describe("the credits", function()
  it("are a number", function()
    begin()
    assert.equal(12.5, client:credits():wait(10))
    assert.equal(raw.key, server:requests("GET", "credits")[1].headers["x-key"])
  end)

  it("are asked for again after trouble, and no longer than makes sense", function()
    begin({}, { credits = { raw.json(500, detail), raw.json(200, { credits = 3 }) } })
    assert.equal(3, client:credits():wait(10))
    client:close()
    begin({}, { credits = { raw.json(403, detail) } })
    local _, message, err = client:credits():wait(10)
    assert.equal("auth", err.kind)
    assert.matches("BFL_API_KEY", message)
    assert.equal(1, #server:requests())
    client:close()
    begin({}, { credits = { { status = 200, body = "{}" } } })
    _, _, err = client:credits():wait(10)
    assert.equal("protocol", err.kind)
    assert.equal(3, #server:requests())
  end)
end)

describe("close", function()
  it("ends every job at once, and what was accepted can be resumed", function()
    begin({ max_active = 2 }, { submit = { raw.accepted(), { hang = true } }, poll = { waiting } })
    local jobs = { edit(), edit(), edit() }
    drive(function() return #server:requests("POST") == 2 and (jobs[1].id or jobs[2].id) end)
    local accepted = jobs[1].id and jobs[1] or jobs[2]
    assert.is_true(clock(client.close, client) < 0.1)
    client:close()
    for _, job in ipairs(jobs) do
      assert.equal("failed", job.status)
      assert.equal("closed", job.error.kind)
      assert.equal(job == jobs[3], job.error.retryable)
      local image, _, err = job:wait()
      assert.is_nil(image)
      assert.equal(job.error, err)
      job:cancel()
      assert.same({ "failed" }, { job:poll() })
    end
    assert.matches("resume", accepted.error.message)
    server:script(raw.service({}, ""))
    client = kontext.new { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
    assert.equal(raw.picture, assert(client:resume(accepted:token()):wait(10)).bytes)
    assert.equal(0, #server:requests("POST"))
  end)

  it("is left out where the collector comes first", function()
    begin({}, { poll = { waiting } })
    edit()
    client:step()
    client = nil
    collectgarbage()
    collectgarbage()
  end)
end)

describe("a forked child", function()
  local found, posix = pcall(require, "posix")

  local function is_refused(status)
    if not found then pending "needs luaposix" end
    begin({ poll_interval = 0.05 }, { poll = { waiting, waiting, waiting, raw.ready() } })
    local job = edit()
    drive(function() return job.status == status end)
    local r, w = posix.pipe()
    local pid = posix.fork()
    if pid == 0 then
      local done, text = pcall(function()
        local again = edit()
        client:step()
        local said = ("%s %s %s"):format(tostring(again.error.kind), job.status,
          tostring(job.error.kind))
        client:close()
        return said
      end)
      posix.write(w, tostring(done) .. " " .. tostring(text))
      posix._exit(0)
    end
    posix.close(w)
    local text = posix.read(r, 1000)
    posix.close(r)
    posix.wait(pid)
    assert.equal("true fork failed fork", text)
    assert.equal(raw.picture, assert(job:wait(10)).bytes)
    assert.equal(1, #server:requests("POST"))
  end

  it("is refused the client, which goes on in the parent", function() is_refused "pending" end)

  it("is refused the edit whose transfer is under way in the parent", function()
    is_refused "uploading"
  end)
end)
