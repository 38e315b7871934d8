-- on_event and --log: what a host is told, in which order, and what it is never told.
local command = require "spec.support.command"
local json = require "kontext.json"
local kontext = require "kontext"
local raw = require "spec.support.raw"
local sandbox = require "spec.support.sandbox"

describe("on_event", function()
  local client, events
  setup(sandbox.emulator)
  teardown(sandbox.close)
  after_each(function() client:close() end)

  -- Makes a client that keeps its events.
  local function begin(more)
    events = {}
    local options = { base_url = sandbox.url(), api_key = raw.key, poll_interval = 0.02,
      on_event = function(event) events[#events + 1] = event end }
    for name, value in pairs(more or {}) do options[name] = value end
    client = kontext.new(options)
  end

  -- Returns the names of the events, polls once.
  local function order()
    local names = {}
    for _, event in ipairs(events) do
      if event.event ~= "poll" or names[#names] ~= "poll" then names[#names + 1] = event.event end
    end
    return table.concat(names, " ")
  end

  local function of(name)
    for _, event in ipairs(events) do
      if event.event == name then return event end
    end
  end

  it("tells the life of an edit in its order, with ids, bytes, milliseconds and credits", function()
    begin()
    local path = sandbox.path "told.jpg"
    local job = client:edit { prompt = "p", input_image = sandbox.path "car.jpg", save_as = path,
      key = "mine" }
    local image = assert(job:wait(30))
    client:step()
    assert.equal("submit accepted poll ready saved", order())
    assert.equal(image.id, of "accepted".id)
    assert.equal(job.sent, of "accepted".bytes)
    assert.same({ "mine", "flux-kontext-pro", 1 }, { of "submit".key, of "submit".model,
      of "submit".try })
    assert.same({ path, #image.bytes, image.cost },
      { of "saved".path, of "saved".bytes, of "saved".credits })
    local last = 0
    for _, event in ipairs(events) do
      assert.is_true(event.ms >= last and event.job == 1)
      last = event.ms
    end
    assert.equal(job.status, "ready")
  end)

  it("tells of a further try, of a full account, and why an edit failed", function()
    begin()
    client:edit { prompt = "[emulate: shedding load 1]" }:wait(30)
    client:step()
    assert.equal("submit retry submit accepted poll ready", order())
    assert.equal(503, of "retry".http)
    begin()
    client:edit { prompt = "[emulate: rate limited 1]" }:wait(30)
    client:step()
    assert.equal("submit limited submit accepted poll ready", order())
    begin()
    client:edit { prompt = "[emulate: request moderated]" }:wait(30)
    client:step()
    assert.same({ "moderated", false }, { of "failed".kind, of "failed".charged })
  end)

  it("tells nothing secret: no key, no link, no token", function()
    begin { timeout = 1 }
    local job = client:edit { prompt = "[emulate: slow 3]", webhook_url = "http://127.0.0.1:9/x",
      webhook_secret = "s3cret" }
    job:wait(30)
    client:step()
    local parts = {}
    for _, event in ipairs(events) do
      for name, value in pairs(event) do parts[#parts + 1] = name .. "=" .. tostring(value) end
    end
    local text = table.concat(parts, "\n")
    assert.is_truthy(text:find("timeout", 1, true))
    for _, secret in ipairs { raw.key, "s3cret", "http", job.error.token } do
      assert.is_nil(text:gsub("http=", ""):find(secret, 1, true), secret)
    end
  end)

  it("is reported once where it raises, and hurts no edit", function()
    begin { on_event = function(event)
      if event.event == "submit" then error "the host's mistake" end
    end }
    local one, other = client:edit { prompt = "p" }, client:edit { prompt = "p" }
    local raised = 0
    repeat
      local done, message = pcall(client.poll, client, 0.05)
      if not done then
        raised = raised + 1
        assert.matches("the host's mistake", message)
      end
    until one:ended() and other:ended()
    assert.same({ 2, "ready", "ready" }, { raised, one.status, other.status })
  end)

  it("says nothing of a question for the credits", function()
    begin()
    assert(client:credits():wait(30))
    client:step()
    assert.same({}, events)
  end)
end)

describe("--log #once", function()
  setup(sandbox.emulator)
  teardown(sandbox.close)

  it("adds a JSON object a line, for each edit that the command makes", function()
    for _ = 1, 2 do command.done("edit", "car.jpg", "p", "--log", "run.log", "-q") end
    local names = {}
    for line in sandbox.read "run.log":gmatch "[^\n]+" do
      local event = assert(json.decode(line))
      assert.matches("^%d+%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", event.time)
      if event.event ~= "poll" then names[#names + 1] = event.event end
    end
    local life = "submit accepted ready saved"
    assert.equal(life .. " " .. life, table.concat(names, " "))
  end)

  it("is refused before anything is sent where it cannot be written", function()
    command.refused(5, "the log cannot be written", "edit", "car.jpg", "p", "--log", "none/x.log")
  end)
end)
