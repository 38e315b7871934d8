-- The journal: what is on the disk before what happens next, and what a later run makes of it.

local core = require "kontext.core"
local kontext = require "kontext"
local pictures = require "spec.support.pictures"
local raw = require "spec.support.raw"
local token = require "kontext.token"

local waiting = raw.status "Pending"
local detail = { detail = "no" }

local server, folder, path, client

setup(function()
  server = raw.start()
  folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
  path = folder .. "/journal"
end)

teardown(function()
  server:stop()
  os.execute("rm -r " .. folder)
end)

-- Makes a client over the journal, for a service that is spoilt like this.
local function begin(spoilt, options)
  if client then client:close() end
  server:script(raw.service({}, "", spoilt))
  local given = { base_url = server.url, api_key = raw.key, poll_interval = 0.01, journal = path }
  for name, value in pairs(options or {}) do given[name] = value end
  client = kontext.new(given)
  return client
end

after_each(function()
  if client then client:close() end
  client = nil
  os.execute("rm -f " .. folder .. "/*")
end)

local function edit(params)
  local given = { prompt = "Change it", input_image = raw.picture, key = "one",
    save_as = folder .. "/one.png" }
  for name, value in pairs(params or {}) do given[name] = value end
  return client:edit(given)
end

-- Drives the client until `done()`, twenty seconds at the most.
local function drive(done)
  local limit = core.now() + 20
  while not done() do
    assert(core.now() < limit, "it takes too long")
    client:poll(0.02)
  end
end

local function posts() return #server:requests "POST" end

-- The facts that the journal tells, in order.
local function facts()
  local list = {}
  for fact in (pictures.read(path) or ""):gmatch "%x+ (%u+) [^\n]*\n" do list[#list + 1] = fact end
  return table.concat(list, " ")
end

-- Writes a journal of these facts about edits.
local function write(lines)
  local file = assert(io.open(path, "wb"))
  for _, text in ipairs(lines) do file:write(token.sum(text), " ", text, "\n") end
  file:close()
end

-- Runs a script in a Lua of its own, behind the words of a shell; returns what it prints.
local function child(before, script)
  local lua = rawget(_G, "jit") and "luajit" or "lua" .. _VERSION:match "%d+%.%d+"
  return pictures.output(("%s %s -e '%s' 2>&1"):format(before, lua, ([[
    local kontext = require "kontext"
    local client = kontext.new { base_url = "$URL", api_key = "$KEY", poll_interval = 0.01,
      journal = "$FOLDER/journal" }
    local job = client:edit { prompt = "Change it", save_as = "$FOLDER/one.png" }
    local image, message, err = job:wait(20)
  ]] .. script):gsub("$(%u+)", { URL = server.url, KEY = raw.key, FOLDER = folder })))
end

describe("a journal", function()
  it("is for its owner's eyes, and shows no key", function()
    begin()
    assert(edit { webhook_secret = "s3cret-of-a-test" }:wait(20))
    assert.equal("600\n", pictures.output("stat -c %a " .. path))
    assert.equal("INTENT SENDING ACCEPTED SAVED", facts())
    local text = pictures.read(path)
    assert.is_nil(text:find(raw.key, 1, true))
    assert.is_nil(text:find("s3cret", 1, true))
  end)

  it("is one client's at a time", function()
    begin()
    local other = kontext.new { base_url = server.url, api_key = raw.key, journal = path }
    local _, message, err = other:edit({ prompt = "x" }):wait(10)
    assert.same({ "file", "EAGAIN" }, { err and err.kind, err and err.code })
    assert.matches("held by another process", message)
    assert.equal(0, posts())
    other:close()
    client:close()
    begin()
    assert(edit():wait(20))
  end)

  -- What was on the disk when, as the kernel saw it.
  it("is synced before what depends on it happens #once #plain", function()
    begin()
    client:close()
    local trace = folder .. "/trace"
    local said = child("strace -f -y -s 4096 -o " .. trace
      .. " -e trace=write,fsync,fdatasync,connect,sendto,linkat,renameat,renameat2",
      'print(image and "ready" or message)')
    assert.equal("ready\n", said)
    local events = {}
    for line in io.lines(trace) do
      local event
      if line:find "^%d+ +write%(" then
        event = line:match '/journal>, "%x+ (%u+) '
      elseif line:find "^%d+ +f%a*sync%(" then
        -- The file of a picture that comes has a hidden name, or none.
        event = (line:find "/%.kontext" or line:find "/#%d+") and "sync picture"
          or line:find "/journal>" and "sync" or "sync folder"
      elseif line:find "^%d+ +rename" or line:find "^%d+ +linkat" then
        event = "name"
      elseif line:find "^%d+ +connect%(" and line:find "sin_port" then
        event = "connect"
      elseif line:find "^%d+ +sendto%(" then
        event = line:find('\\"prompt\\"', 1, true) and "body" or line:find "GET [^ ]*get_result"
          and "poll" or line:find "GET [^ ]*sample" and "get"
      end
      if event and (event ~= "connect" or not (" " .. table.concat(events, " ")):find " connect")
      then
        events[#events + 1] = event
      end
    end
    assert.equal("sync folder INTENT sync connect SENDING sync body ACCEPTED sync poll get "
      .. "sync picture name sync folder SAVED sync", table.concat(events, " "))
  end)

  it("that cannot be written is an edit that is not sent", function()
    begin()
    client:close()
    local said = child('trap "" XFSZ; ulimit -f 0;',
      'print(err.kind, err.stage, err.code, err.charged, err.retryable, message)')
    assert.matches("^file\tsubmit\tEFBIG\tfalse\ttrue\tnothing was sent", said)
    assert.equal(0, posts())
  end)
end)

describe("a later run", function()
  -- Resumes all that the journal knows of, and waits; returns the jobs.
  local function resume(spoilt)
    begin(spoilt)
    local jobs = client:resume { journal = path }
    for _, job in ipairs(jobs) do job:wait(20) end
    return jobs
  end

  it("goes on with what was accepted, also when its time had run out", function()
    begin { poll = { waiting } }
    assert.equal("timeout", select(3, edit { timeout = 0.8 }:wait(20)).kind)
    assert.equal(1, posts())
    local jobs = resume()
    assert.same({ 1, "ready" }, { #jobs, jobs[1] and jobs[1].status })
    assert.equal(raw.picture, pictures.read(folder .. "/one.png"))
    assert.equal(0, posts())
    assert.same({}, resume())
  end)

  it("does not go on with what this one is at, and edits of one key hide no other", function()
    begin { poll = { waiting } }
    local job = edit()
    drive(function() return job.id end)
    assert.same({}, client:resume { journal = path })
    client:close()
    local lines = { "AMBIGUOUS 1 key=twice", "INTENT 2 key=twice", "SENDING 2 key=twice",
      "FAILED 2 key=twice" }
    write(lines)
    assert.equal(1, #resume()) -- the one that failed does not hide the other
    lines[4] = nil
    write(lines)
    assert.equal(2, #resume())
    lines[4] = "SAVED 2 key=twice,path=x.png"
    write(lines)
    assert.equal(1, #resume()) -- nor does one that was saved: the other may have been paid for, too
  end)

  it("knows a key by what was paid for, whatever failed under it later", function()
    begin { poll = { waiting } }
    local job = edit()
    drive(function() return job.id end)
    client:close()
    local file = assert(io.open(path, "ab"))
    for _, text in ipairs { "INTENT 9 key=one", "SENDING 9 key=one", "FAILED 9 key=one" } do
      file:write(token.sum(text), " ", text, "\n")
    end
    file:close()
    begin()
    assert.equal("task-1", assert(edit():wait(20)).id)
    assert.equal(0, posts())
  end)

  it("has nothing left to do when a picture was saved by its holder", function()
    begin()
    local image = assert(client:edit({ prompt = "x", key = "one" }):wait(20))
    assert.equal("INTENT SENDING ACCEPTED", facts())
    assert(image:save(folder .. "/by-hand.png"))
    assert.equal("INTENT SENDING ACCEPTED SAVED", facts())
    assert.same({}, resume())
  end)

  it("has nothing to do with what ended, was not charged, or was never sent", function()
    for _, spoilt in ipairs {
      {}, { poll = { raw.status "Request Moderated" } }, { submit = { raw.json(422, detail) } },
      { submit = { raw.json(429, detail, { "Retry-After: 60" }) } },
    } do
      begin(spoilt)
      local job = edit()
      drive(function() return job:ended() or job.status == "waiting" and posts() > 0 end)
      os.execute(("cp %s %s.killed && mv %s.killed %s"):format(path, path, path, path))
      assert.same({}, resume())
      assert.equal(0, posts())
      client:close()
      os.remove(path)
    end
  end)

  it("sends nothing again that may have been paid for, and says so", function()
    for name, how in pairs {
      ["no answer"] = function() return edit():wait(20) end,
      ["a cancel"] = function()
        local job = edit()
        drive(function() return posts() == 1 end)
        drive(function() return job.total and job.sent == job.total end)
        job:cancel()
        return job:wait()
      end,
      ["a close"] = function()
        local job = edit()
        drive(function() return posts() == 1 end)
        client:close()
        return job:wait()
      end,
    } do
      begin { submit = { name == "no answer" and { drop = true } or { hang = true } } }
      local _, message, err = how()
      assert.is_false(err.retryable, name)
      assert.matches("may have been paid for", message)
      assert.equal("INTENT SENDING AMBIGUOUS", facts(), name)
      local jobs = resume()
      assert.same({ 1, "failed", "ambiguous" }, { #jobs, jobs[1].status, jobs[1].error.kind })
      assert.equal(0, posts())
      client:close()
      os.remove(path)
    end
  end)

  it("believes no line that is damaged, and none that is torn", function()
    begin { poll = { waiting }, submit = { raw.accepted { id = "task-1" } } }
    local job = edit()
    drive(function() return job.id end)
    client:close()
    local text = pictures.read(path)
    assert.equal("INTENT SENDING ACCEPTED", facts())
    for _, altered in ipairs {
      text:gsub("task%-1", "task-2"), -- as a bad disk would
      text:sub(1, -3), text:sub(1, -9), -- torn
      (text:gsub("\n(%x+) ACCEPTED", "\n00000000 ACCEPTED")),
    } do
      local file = assert(io.open(path, "wb"))
      file:write(altered)
      file:close()
      local jobs = resume()
      assert.same({ 1, "ambiguous" }, { #jobs, jobs[1].error and jobs[1].error.kind }, altered)
      assert.equal(0, #server:requests())
    end
    local file = assert(io.open(path, "wb")) -- nor is what stands before and behind it lost
    file:write("0123 INTENT 5 key=x\n\n", text, text:match "[^\n]+\n":sub(1, 30))
    file:close()
    local jobs = resume()
    assert.same({ 1, "ready" }, { #jobs, jobs[1] and jobs[1].status })
    assert.equal("SAVED", facts():match "%u+$")
  end)

  it("keeps what counts when it makes the journal shorter, and its lock and mode", function()
    local lines = { "SENDING 1 key=doubt", "SAVED 2 key=there,path=x.png", "AMBIGUOUS 3 key=lost" }
    for number = 4, 200 do
      lines[#lines + 1] = ("INTENT %d key=old%d"):format(number, number)
      lines[#lines + 1] = ("FAILED %d key=old%d"):format(number, number)
    end
    write(lines)
    begin()
    assert.equal("SENDING SAVED AMBIGUOUS", facts())
    assert.equal("600\n", pictures.output("stat -c %a " .. path))
    assert.equal(2, #client:resume { journal = path })
    local other = kontext.new { base_url = server.url, api_key = raw.key, journal = path }
    assert.equal("EAGAIN", select(3, other:edit({ prompt = "x" }):wait(10)).code)
    other:close()
  end)
end)
