-- Jobs: waiting, cancelling, tokens and progress in every state of an edit.

local clock = require "spec.support.clock"
local core = require "kontext.core"
local kontext = require "kontext"
local raw = require "spec.support.raw"

local waiting = raw.status "Pending"
local server, client

setup(function() server = raw.start() end)
teardown(function() server:stop() end)
after_each(function() if client then client:close() end end)

local function begin(spoilt, options)
  server:script(raw.service({}, "", spoilt))
  local given = { base_url = server.url, api_key = raw.key, poll_interval = 0.01 }
  for name, value in pairs(options or {}) do given[name] = value end
  client = kontext.new(given)
end

local function edit(params)
  local given = { prompt = "Change it", input_image = raw.picture }
  for name, value in pairs(params or {}) do given[name] = value end
  return client:edit(given)
end

local function drive(done)
  local limit = core.now() + 10
  while not done() do
    assert(core.now() < limit, "it takes too long")
    client:poll(0.02)
  end
end

-- How a service keeps a job in a state.
local states = {
  waiting = { submit = { raw.json(429, { detail = "no" }, { "Retry-After: 60" }) } },
  uploading = { submit = { { hang = true } } },
  pending = { poll = { waiting } },
  downloading = { sample = { { hang = true } } },
}

-- Returns a job that is in this state.
local function job_in(state)
  begin(states[state], { poll_interval = 0.05 })
  local job = edit()
  local posts = state == "waiting" and 1 or 0
  drive(function() return job.status == state and #server:requests("POST") >= posts end)
  -- A request of the job before may arrive late: not exactly one.
  if state == "uploading" then drive(function() return #server:requests("POST") >= 1 end) end
  return job
end

describe("wait", function()
  it("gives the image, however often it is asked for", function()
    begin {}
    local job = edit()
    local image = assert(job:wait())
    assert.equal(raw.picture, image.bytes)
    assert.equal(image, job.image)
    assert.equal(image, job:wait(0))
    assert.equal(1, #server:requests("POST"))
  end)

  for state in pairs(states) do
    it("that runs out leaves a job that is " .. state .. " to live on", function()
      local job = job_in(state)
      local image, message, err
      assert.is_true(clock(function() image, message, err = job:wait(0.1) end) < 0.5)
      assert.is_nil(image)
      assert.same({ "timeout", "wait", false }, { err.kind, err.stage, err.retryable })
      assert.equal(message, tostring(err))
      assert.equal(state, job.status)
      assert.is_nil(job.error)
      assert.equal(job.id, err.job_id)
      assert.equal("timeout", select(3, job:wait(0)).kind)
      assert.equal("timeout", select(3, job:wait(-1)).kind)
    end)
  end

  it("of no time gets on too, as often as it is called", function()
    begin {}
    local job, limit = edit(), core.now() + 10
    local image, err
    repeat
      image, err = job:wait(0), job.error
    until image or err or core.now() > limit
    assert.equal(raw.picture, assert(image, err).bytes)
  end)

  it("drives the other jobs too", function()
    begin({}, { max_active = 2 })
    local jobs = { edit(), edit(), edit(), edit() }
    assert(jobs[4]:wait(10))
    assert.equal("ready", jobs[1].status)
  end)

  it("is the same error each time for a job that failed", function()
    begin { submit = { raw.json(422, { detail = "no" }) } }
    local job = edit()
    local _, first, err = job:wait(10)
    local _, second, again = job:wait(10)
    assert.same({ first, err }, { second, again })
    assert.equal(job.error, err)
  end)
end)

describe("poll", function()
  it("never blocks, and tells the status and how far the task is", function()
    begin { poll = { raw.status("Pending", { progress = 0.25 }) } }
    local job, worst = edit(), 0
    local status, progress
    local limit = core.now() + 10
    repeat
      worst = math.max(worst, (clock(function() status, progress = job:poll() end)))
    until progress or core.now() > limit
    assert.same({ "pending", 0.25 }, { status, progress })
    assert.is_true(worst < 0.1, worst)
  end)

  it("does not yield", function()
    begin({}, { loop = "yield" })
    local job = edit()
    local co = coroutine.create(function() job:poll() end)
    coroutine.resume(co)
    assert.equal("dead", coroutine.status(co))
  end)
end)

local stages = { waiting = "submit", uploading = "submit", pending = "poll",
  downloading = "download" }

describe("cancel", function()
  for state in pairs(states) do
    it("ends a job that is " .. state .. ", at once and for good", function()
      local job = job_in(state)
      assert.is_true(clock(job.cancel, job) < 0.05)
      assert.equal("cancelled", job.status)
      local err = job.error
      assert.same({ "cancelled", stages[state] }, { err.kind, err.stage })
      job:cancel()
      assert.equal(err, job.error)
      assert.equal(err, select(3, job:wait()))
      assert.equal(0, client:step())
      local seen, now = nil, #server:requests()
      drive(function() -- what was under way arrives, and then nothing does
        local look = core.now() + 0.1
        drive(function() return core.now() > look end)
        seen, now = now, #server:requests()
        return seen == now
      end)
      -- Only what the service cannot have got may be sent again.
      assert.equal(state == "waiting", err.retryable)
      assert.equal(job.id ~= nil, err.message:find("resume", 1, true) ~= nil)
      if state == "uploading" then assert.matches("may have been paid for", err.message) end
    end)
  end

  it("of a job that was never begun sends nothing, and gives its place away", function()
    begin({ poll = { waiting } }, { max_active = 1 })
    local first, second, third = edit { seed = 1 }, edit { seed = 2 }, edit { seed = 3 }
    drive(function() return first.id end)
    second:cancel()
    first:cancel()
    drive(function() return third.id end)
    assert.matches('"seed":3', server:requests("POST")[2].body)
    assert.equal(2, #server:requests("POST"))
  end)

  it("of a job that has ended changes nothing", function()
    begin {}
    local job = edit()
    assert(job:wait(10))
    job:cancel()
    assert.equal("ready", job.status)
    assert.is_nil(job.error)
  end)
end)

describe("token", function()
  for state in pairs(states) do
    it("of a job that is " .. state .. (state:find "ing$" and state ~= "downloading"
      and state ~= "pending" and " is refused, for there is nothing to resume"
      or " is all that another client needs"), function()
      local job = job_in(state)
      local text, message, err = job:token()
      if not job.id then
        assert.is_nil(text)
        assert.is_string(message)
        assert.equal("invalid", err.kind)
        return
      end
      assert.is_nil(text:find(raw.key, 1, true))
      client:close()
      begin {}
      local image = assert(client:resume(text):wait(10))
      assert.equal(raw.picture, image.bytes)
      assert.equal(0, #server:requests("POST"))
    end)
  end

  it("that is none, or not whole, becomes a job that says so", function()
    begin {}
    for _, text in ipairs { "", "x", "kontext1:id=a:00000000" } do
      local _, message, err = client:resume(text):wait(1)
      assert.equal("invalid", err.kind)
      assert.matches("^cannot resume: ", message)
    end
    assert.equal(0, #server:requests())
  end)
end)

describe("on_progress", function()
  it("shows every status once, in order, last of all the end", function()
    begin { poll = { waiting, waiting, raw.ready() } }
    local seen = {}
    local job = edit { on_progress = function(job)
      if seen[#seen] ~= job.status then seen[#seen + 1] = job.status end
    end }
    assert(job:wait(10))
    assert.same({ "uploading", "pending", "downloading", "ready" }, seen)
  end)

  it("shows an upload move, never backwards, up to all of it", function()
    begin {}
    local sent, total = {}, nil
    local job = edit {
      input_image = { bytes = raw.picture .. ("\0"):rep(8e6) },
      on_progress = function(job)
        if job.status ~= "uploading" then return end
        sent[#sent + 1], total = job.sent, job.total
      end,
    }
    assert(job:wait(10))
    assert.is_true(#sent > 2, #sent)
    for i = 2, #sent do assert.is_true(sent[i] >= sent[i - 1]) end
    assert.equal(server:requests("POST")[1].length, total)
    assert.equal(total, job.sent)
  end)

  it("shows how much of a download has come, and how much there is", function()
    local picture = raw.picture .. ("\0"):rep(100000)
    local head = ("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(#picture)
    local half = { raw = head .. picture:sub(1, 50000), drain = true }
    begin { sample = { half } }
    local job = edit()
    drive(function() return job.status == "downloading" and job.received == 50000 end)
    assert.equal(#picture, job.total)
    job:cancel()
    begin {}
    job = edit()
    assert(job:wait(10))
    assert.same({ #raw.picture, #raw.picture }, { job.received, job.total })
  end)

  it("that raises is reported once, by step, and no edit loses anything by it", function()
    begin { poll = { waiting, waiting, raw.ready() } }
    local raised = 0
    local job = edit { on_progress = function() error("from the host", 0) end }
    local other = edit()
    local limit = core.now() + 10
    while not (job:ended() and other:ended()) and core.now() < limit do
      local done, message = pcall(client.poll, client, 0.02)
      if not done then
        assert.equal("from the host", message)
        raised = raised + 1
      end
    end
    assert.equal(1, raised)
    assert.same({ "ready", "ready" }, { job.status, other.status })
    assert.equal(raw.picture, job.image.bytes)
    assert.equal(2, #server:requests("POST"))
  end)

  it("may edit, cancel and close", function()
    begin {}
    local more
    local job = edit { on_progress = function(job)
      if job.status == "ready" then more = edit() end
    end }
    assert(job:wait(10))
    drive(function() return more end)
    assert(more:wait(10))
    job = edit { on_progress = function(of) of:cancel() end }
    assert.equal("cancelled", select(3, job:wait(10)).kind)
    job = edit { on_progress = function() client:close() end }
    pcall(job.wait, job, 10)
    assert.equal("closed", job.error.kind)
  end)
end)

describe("a job", function()
  it("prints as its status and id, and shows no key", function()
    begin { poll = { waiting } }
    local job = edit()
    assert.equal("kontext.job: waiting", tostring(job))
    drive(function() return job.id end)
    assert.equal("kontext.job: pending task-1", tostring(job))
    local function scan(value, seen)
      if type(value) == "string" then assert.is_nil(value:find(raw.key, 1, true)) end
      if type(value) ~= "table" or seen[value] then return end
      seen[value] = true
      for key, item in pairs(value) do
        scan(key, seen)
        scan(item, seen)
      end
    end
    scan(job, {})
  end)
end)
