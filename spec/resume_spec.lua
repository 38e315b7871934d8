-- Going on with what another process began: what a token and a journal's entry become, over a
-- client that only notes what is begun. That nothing is paid for twice, the server sees in
-- spec/journal_spec.lua.

local earlier = require "kontext.journal.earlier"
local identity = require "kontext.journal.identity"
local resume = require "kontext.journal.resume"
local token = require "kontext.token"

-- A client whose jobs are notes: { begun | refused | saved, … }.
local function new_client(entries, open)
  local function first(name, value)
    for _, entry in ipairs(entries) do
      if entry[name] == value then return entry end
    end
  end
  local journal = {
    unfinished = function() return entries end,
    is_open = function(_, entry) return (open or {})[entry] == true end,
    find = function(_, key) return first("key", key) end,
    find_task = function(_, id) return first("id", id) end,
  }
  local client = { files = {} }
  client.transport = {
    polling_url = function(_, url, id)
      if url then return url end
      return "https://base.test/get_result?id=" .. id, true
    end,
  }
  client.system = {
    file_info = function(path) return client.files[path] end,
    md5_file = function(path) return client.files[path].md5 end,
  }
  client.journal = function() return entries and journal end
  client.journal_for_resume = function(_, path)
    if path == "held" then return nil, { kind = "file", message = "held" } end
    return journal
  end
  client.default_model = function() return "flux-kontext-pro" end
  client.begin_resumed = function(_, checked, known) return { begun = known, params = checked } end
  client.begin_saved = function(_, _, entry) return { saved = entry } end
  client.refuse = function(_, checked, fields) return { refused = fields, params = checked } end
  return client
end

local function token_of(fields)
  local task = { id = "task-1", model = "flux-kontext-max", polling_url = "https://x.test/1",
    at = "1700000000", output_format = "jpeg" }
  for name, value in pairs(fields or {}) do task[name] = value end
  return token.write(task)
end

describe("a token", function()
  it("becomes a job that polls its task, under the time and model of the first process", function()
    local job = resume.token(new_client(), token_of())
    assert.same({ id = "task-1", polling_url = "https://x.test/1", own_url = false,
      at = 1700000000 }, job.begun)
    assert.equal("flux-kontext-max", job.params.model)
    assert.equal("jpeg", job.params.output_format)
  end)

  it("names no file: where the picture goes is the caller's to say", function()
    local text = token_of { save_as = "/etc/passwd" }
    assert.is_nil(resume.token(new_client(), text).params.save_as)
    local given = { save_as = "mine.jpg", no_replace = true }
    local params = resume.token(new_client(), text, given).params
    assert.same({ "mine.jpg", true }, { params.save_as, params.no_replace })
  end)

  it("without a polling URL is polled at the client's base", function()
    local job = resume.token(new_client(), token_of { polling_url = false })
    assert.equal("https://base.test/get_result?id=task-1", job.begun.polling_url)
    assert.is_true(job.begun.own_url)
  end)

  it("of a model that this version does not know is polled as the client's own", function()
    assert.equal("flux-kontext-pro",
      resume.token(new_client(), token_of { model = "flux-9" }).params.model)
  end)

  it("goes on with the journal's entry of its task, so that the end is noted there", function()
    local entry = { id = "task-1", number = 7, state = "accepted", region = "1 2 3 4" }
    local job = resume.token(new_client { entry }, token_of())
    assert.equal(7, job.begun.entry)
    assert.equal("1 2 3 4", job.params.window.region)
  end)

  it("leaves an entry alone that a job of this process is at work on", function()
    local entry = { id = "task-1", number = 7, state = "accepted" }
    assert.is_nil(resume.token(new_client({ entry }, { [entry] = true }), token_of()).begun.entry)
  end)

  it("that is damaged, or none, asks the service for nothing and says so", function()
    for _, text in ipairs { "", "kontext1:id=task-1:00000000", token_of():sub(1, -2), "\0",
      ("x"):rep(70000), token_of { id = false } } do
      local job = resume.token(new_client(), text)
      assert.is_nil(job.begun)
      assert.equal("invalid", job.refused.kind)
      assert.is_false(job.refused.charged)
      assert.matches("^cannot resume: ", job.refused.message)
    end
  end)
end)

describe("a journal", function()
  it("gives a job for each edit whose picture can be had or is in doubt, in its order", function()
    local jobs = resume.journal(new_client {
      { number = 1, state = "failed" }, { number = 2, state = "accepted", id = "a" },
      { number = 3, state = "saved", id = "b" }, { number = 4, state = "ambiguous" },
      { number = 5, state = "unsent" }, { number = 6, state = "ambiguous", id = "c" },
      { number = 7, state = "lost", id = "d", key = "seven" },
    }, "j")
    assert.equal(4, #jobs)
    assert.equal("a", jobs[1].begun.id)
    assert.equal("ambiguous", jobs[2].refused.kind)
    assert.matches("^edit number 4 was sent", jobs[2].refused.message)
    assert.equal("c", jobs[3].begun.id)
    assert.equal("lost", jobs[4].refused.kind)
    assert.matches('^edit "seven" was accepted', jobs[4].refused.message)
    for _, at in ipairs { 2, 4 } do
      assert.matches("may have been paid for", jobs[at].refused.message)
      assert.is_nil(jobs[at].refused.charged) -- nobody knows
    end
  end)

  it("leaves out what a job of this process is at work on", function()
    local entry = { number = 1, state = "accepted", id = "a" }
    assert.same({}, resume.journal(new_client({ entry }, { [entry] = true }), "j"))
  end)

  it("keeps where a picture was to be saved, and whether it may replace a file", function()
    local job = resume.journal(new_client {
      { number = 1, state = "accepted", id = "a", save_as = "a.png", no_replace = "1" } }, "j")[1]
    assert.same({ "a.png", true }, { job.params.save_as, job.params.no_replace })
  end)

  it("that cannot be opened is one job, which has ended with the reason", function()
    local jobs = resume.journal(new_client {}, "held")
    assert.same({ 1, "file" }, { #jobs, jobs[1].refused.kind })
  end)
end)

describe("a second edit under a key", function()
  local asked = { model = "flux-kontext-pro", prompt = "Change it", key = "k", save_as = "k.png" }

  -- Returns what becomes of it where the first left this entry.
  local function second(entry, files)
    for name, value in pairs { number = 1, key = "k", identity = identity.of(asked) } do
      if entry[name] == nil then entry[name] = value end
    end
    local client = new_client { entry }
    client.files = files or {}
    return earlier.job(client, asked)
  end

  it("is new where the first was refused or never sent", function()
    assert.is_nil(second { state = "failed" })
    assert.is_nil(second { state = "unsent" })
  end)

  it("goes on with what was accepted", function()
    local job = second { state = "accepted", id = "a" }
    assert.same({ "a", "k.png" }, { job.begun.id, job.params.save_as })
    job = resume.entry(new_client(), { id = "a", save_as = "old.png" }, {})
    assert.is_nil(job.params.save_as) -- this time the caller named no file
  end)

  it("is refused while nobody knows whether the first was paid for", function()
    for _, state in ipairs { "ambiguous", "lost" } do
      local job = second { state = state }
      assert.equal(state, job.refused.kind)
      assert.matches("may have been paid for", job.refused.message)
    end
  end)

  it("is refused where the first asked for something else", function()
    local job = second { state = "accepted", id = "a", identity = "0123456789abcdef" }
    assert.equal("invalid", job.refused.kind)
    assert.matches("other parameters", job.refused.message)
  end)

  it("is the saved picture, while the file is the one that was saved", function()
    local entry = { state = "saved", id = "a", path = "k.png", size = "10", md5 = "m" }
    assert.equal(entry, second(entry, { ["k.png"] = { bytes = 10, md5 = "m" } }).saved)
  end)

  it("fetches the picture again where the file has gone, and replaces none that came since",
    function()
      for _, file in ipairs { false, { bytes = 11, md5 = "m" }, { bytes = 10, md5 = "n" } } do
        local job = second({ state = "saved", id = "a", path = "k.png", size = "10", md5 = "m" },
          { ["k.png"] = file or nil })
        assert.equal("a", job.begun.id)
        assert.equal("k.png", job.params.save_as)
        assert.equal(file and true or nil, job.params.no_replace or nil)
      end
    end)
end)
