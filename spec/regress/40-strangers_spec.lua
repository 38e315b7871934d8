-- What strangers to the code found, from the reference alone: an answer that is somebody else's, a
-- paid task in an answer that is odd, and files that are not ours to write.
local core = require "kontext.core"
local kontext = require "kontext"
local raw = require "spec.support.raw"

local json, status = raw.json, raw.status

local function read(path)
  local file = io.open(path, "rb")
  local text = file and file:read "*a"
  if file then file:close() end
  return text
end

local function write(path, bytes)
  local file = assert(io.open(path, "wb"))
  file:write(bytes)
  file:close()
end

-- Returns a text as UTF-16, low bytes first, with its mark.
local function utf16(text)
  return "\255\254" .. text:gsub(".", "%0\0")
end

describe("a stranger's finding", function()
  local server, client, folder

  setup(function() server = raw.start() end)
  teardown(function() server:stop() end)
  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
  end)
  after_each(function()
    if client then client:close() end
    client = nil
    os.execute("rm -rf " .. folder)
  end)

  local function begin(spoilt, options)
    server:script(raw.service({}, "", spoilt))
    options = options or {}
    options.base_url, options.api_key, options.poll_interval = server.url, raw.key, 0.01
    client = kontext.new(options)
    return client
  end

  local function edit(more)
    local params = { prompt = "Make it red" }
    for name, value in pairs(more or {}) do params[name] = value end
    return client:edit(params)
  end

  it("is not the end of a paid edit: a gateway's word for an error", function()
    for code, body in pairs {
      [502] = { status = "error", message = "bad gateway" },
      [503] = { status = "Error", message = "no upstream" },
      [403] = { status = "failed", message = "blocked" },
      [200] = { status = "error", message = "try later" },
    } do
      begin { poll = { json(code, body), raw.ready() } }
      assert(edit():wait(20))
      assert.equal(1, #server:requests "POST")
      client:close()
    end
  end)

  it("is another task's: an answer whose id has the form of ours", function()
    for _, other in ipairs { "Ready", "Error", "Content Moderated" } do
      begin { poll = { status(other, { id = "task-77", result = { sample = "$HERE/other.png" } }),
        raw.ready() } }
      assert(edit():wait(20))
      client:close()
    end
  end)

  it("is ours although its id has another form", function()
    begin { poll = { status("Ready", { id = "0e8a5a3e-0000-4000-8000-000000000001",
      result = { sample = "$HERE/sample.png" } }) } }
    assert(edit():wait(20))
  end)

  it("may be a paid task: a refusal with a task's id in it", function()
    local url = server.url .. "/v1/get_result?id=task-1"
    for _, answer in ipairs {
      json(503, { detail = "busy", id = "task-1" }),
      json(429, { detail = "wait", id = "task-1" }),
      json(400, { id = "task-1", polling_url = url, status = "Pending" }),
    } do
      begin { submit = { answer } }
      local _, _, err = edit():wait(20)
      assert.equal("ambiguous", err.kind)
      assert.equal("task-1", err.job_id)
      assert.is_string(err.token)
      assert.equal(1, #server:requests "POST")
      client:close()
    end
  end)

  it("is read: a paid answer in UTF-16, with something after it, with half a character", function()
    local accepted = ('{"id":"task-1","polling_url":"%s/v1/get_result?id=task-1"}'):format(
      server.url)
    local ready = ('{"id":"task-1","status":"Ready","result":{"sample":"%s/sample.png"}%%s}')
      :format(server.url)
    for _, body in ipairs { utf16(ready:format ""), ready:format "" .. "<!-- cached -->",
      ready:format ',"note":"\\ud800"' } do
      begin { submit = { json(200, utf16(accepted)) }, poll = { json(200, body) } }
      assert(edit():wait(20))
      assert.equal(1, #server:requests "POST")
      client:close()
    end
  end)

  it("is asked for anew: a link that nobody can ask for", function()
    for _, link in ipairs { "", "ftp://127.0.0.1/a.png", "/results/1", "data:image/png,x" } do
      begin { poll = { status("Ready", { result = { sample = link } }),
        status("Ready", { result = { sample = link } }), raw.ready() } }
      assert(edit():wait(20))
      client:close()
    end
  end)

  it("counts: an answer that came while the host slept past the deadline", function()
    for _, spoilt in ipairs {
      { poll = { { status = 200, delay = 0.3, body = status "Ready".body:gsub("}$", "") ..
        (',"result":{"sample":"%s/sample.png"}}'):format(server.url) } } },
      { submit = { { status = 200, delay = 0.3, body = '{"id":"task-1"}' } } },
    } do
      spoilt.sample = { raw.sample { delay = 0.2 } }
      begin(spoilt, { timeout = 1 })
      local job = edit()
      local route = spoilt.poll and "GET" or "POST"
      repeat client:poll(0.01) until #server:requests(route) > 0
      os.execute "sleep 1.6"
      assert(job:wait(20))
      client:close()
    end
  end)

  it("is left as it is: a file that another program put at the destination meanwhile", function()
    local path = folder .. "/car.png"
    begin { poll = { status "Pending", status "Pending", raw.ready() } }
    local job = edit { save_as = path }
    repeat client:poll(0.01) until job.status ~= "waiting" and job.status ~= "uploading"
    write(path, "another's")
    local image = assert(job:wait(20))
    assert.equal("another's", read(path))
    assert.equal(folder .. "/car-2.png", image.path)
    assert.equal(raw.picture, read(image.path))
    assert.truthy(job.warnings[1]:find(path, 1, true))
  end)

  it("is no journal: a photograph, a text", function()
    for _, bytes in ipairs { raw.picture, "dear diary\n" } do
      local path = folder .. "/mine"
      write(path, bytes)
      begin({}, { journal = path })
      local _, message, err = edit():wait(20)
      assert.equal("file", err.kind)
      assert.truthy(message:find("is no journal", 1, true))
      assert.equal(bytes, read(path))
      assert.equal(0, #server:requests "POST")
      client:close()
    end
  end)

  it("is the same journal: lines that an editor ended its own way", function()
    local path = folder .. "/journal"
    begin({}, { journal = path })
    assert(edit { key = "car", save_as = folder .. "/car.png" }:wait(20))
    client:close()
    write(path, (read(path):gsub("\n", "\r\n")))
    begin({}, { journal = path })
    local results = assert(client:batch({ { key = "car", prompt = "Make it red",
      save_as = folder .. "/car.png" } }):wait(20))
    assert.is_true(results[1].skipped)
    assert.equal(0, #server:requests "POST")
  end)

  it("stops what is not paid yet: a journal that was emptied while it is open", function()
    local path = folder .. "/journal"
    begin({}, { journal = path })
    assert(edit():wait(20))
    write(path, "")
    local _, _, err = edit():wait(20)
    assert.equal("file", err.kind)
    assert.equal(false, err.charged)
    assert.equal(1, #server:requests "POST")
  end)

  it("is refused in a list: a result in the place of another one's photograph", function()
    begin {}
    local photograph = folder .. "/b.png"
    write(photograph, core.repaint { width = 64, height = 48, format = "png", seed = 1 })
    for _, list in ipairs {
      { { prompt = "a", save_as = photograph }, { prompt = "b", input_image = photograph } },
      { nil, { prompt = "b" } },
    } do
      local done, message = pcall(client.batch, client, list)
      assert.is_false(done)
      assert.matches("item", message)
      assert.not_matches("kontext/", message)
    end
    assert.equal(0, #server:requests "POST")
  end)

  it("is not the end of a paid edit: a gateway's error with the id of its own request", function()
    for code, word in pairs { [502] = "Error", [503] = "failed", [500] = "Content Moderated" } do
      begin { poll = { json(code, { id = "req_8f3a", status = word, message = "upstream" }),
        raw.ready() } }
      assert(edit():wait(20))
      assert.equal(1, #server:requests "POST")
      client:close()
    end
  end)

  it("is joined, not paid for again: an edit while another one of its key is under way", function()
    local pending = status "Pending"
    for _, options in ipairs { {}, { journal = folder .. "/journal" } } do
      begin({ poll = { pending, pending, pending, pending, pending, pending, raw.ready() } },
        options)
      local first = edit { key = "car" }
      local second = edit { key = "car", prompt = "Make it blue" }
      assert.not_equal(first, second)
      assert.equal(first, edit { key = "car" })
      assert(second:wait(20))
      assert(first:wait(20))
      assert.equal(2, #server:requests "POST")
      client:close()
    end
  end)

  it("is joined, also when the later one of its key has ended", function()
    begin { submit = { raw.accepted(), raw.accepted {
      polling_url = "$HERE/v1/other_result?id=task-1" } }, poll = { status "Pending" },
      more = { ["GET /v1/other_result"] = { raw.ready() } } }
    local first = edit { key = "car" }
    repeat client:poll(0.01) until first.status == "pending"
    assert(edit { key = "car", prompt = "Make it blue" }:wait(20))
    assert.equal(first, edit { key = "car" })
    assert.equal(2, #server:requests "POST")
  end)

  it("is not paid for again: a saved edit while another one of its key is under way", function()
    local path = folder .. "/car.png"
    begin({ submit = { raw.accepted(), raw.accepted { id = "task-2",
      polling_url = "$HERE/v1/other_result?id=task-2" } }, poll = { raw.ready() },
      more = { ["GET /v1/other_result"] = { status("Pending", { id = "task-2" }) } } },
      { journal = folder .. "/journal" })
    local first = edit { key = "car", save_as = path }
    repeat client:poll(0.01) until first.status == "pending" or first:ended()
    local second = edit { key = "car", prompt = "Make it blue" }
    repeat client:poll(0.01) until second.status == "pending"
    assert(first:wait(20))
    assert.equal(path, assert(edit { key = "car", save_as = path }:wait(20)).path)
    assert.equal(2, #server:requests "POST")
  end)

  it("is the destination still: a name whose file somebody deleted meanwhile", function()
    local path = folder .. "/car.png"
    write(path, "an older one")
    begin { poll = { status "Pending", status "Pending", raw.ready() } }
    local job = edit { save_as = path }
    repeat client:poll(0.01) until job.status ~= "waiting" and job.status ~= "uploading"
    os.remove(path)
    assert.equal(path, assert(job:wait(20)).path)
    assert.equal(raw.picture, read(path))
    assert.is_nil(job.warnings)
  end)

  it("is no danger in a list: a photograph that no result may replace", function()
    begin {}
    local photograph = folder .. "/b.png"
    write(photograph, core.repaint { width = 640, height = 480, format = "png", seed = 1 })
    local before, list = read(photograph), {}
    for i, prompt in ipairs { "a", "b" } do
      list[i] = { prompt = prompt, input_image = photograph, save_as = photograph,
        no_replace = true }
    end
    for _, result in ipairs(assert(client:batch(list):wait(20))) do
      assert.is_nil(result.error)
      assert.not_equal(photograph, result.saved)
    end
    assert.equal(before, read(photograph))
  end)

  it("keeps its mode: a photograph in the place of a journal", function()
    local path = folder .. "/mine"
    write(path, raw.picture)
    os.execute("chmod 644 " .. path)
    begin({}, { journal = path })
    assert.is_nil((edit():wait(20)))
    local pipe = io.popen("stat -c %a " .. path)
    assert.equal("644", pipe:read "*l")
    pipe:close()
  end)

  it("is told once: a picture that is ready, whichever of its links works", function()
    local ready, bad = 0, status("Ready", { result = { sample = "/results/1" } })
    begin({ poll = { bad, bad, raw.ready() } }, { on_event = function(event)
      if event.event == "ready" then ready = ready + 1 end
    end })
    assert(edit():wait(20))
    client:poll(0)
    assert.equal(1, ready)
  end)
end)
