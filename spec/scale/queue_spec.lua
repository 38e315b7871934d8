local support = require "spec.scale.support"

local missing = support.missing()
local it = missing and function(name, _) -- luacheck: ignore 431
  pending(name .. ": " .. missing)
end or it

describe("a queue in PostgreSQL #once", function()
  if not missing then
    setup(support.enter)
    teardown(support.leave)
    before_each(support.fresh)
  end

  it("makes what was enqueued, once, and says so", function()
    support.list("a", 3)
    local output, code = support.run "enqueue a.jsonl"
    assert.equal("kontext: 3 added, 0 already there, 0 refused\n", output)
    assert.equal(0, code)
    output = support.run "enqueue a.jsonl"
    assert.equal("kontext: 0 added, 3 already there, 0 refused\n", output)
    output, code = support.run "worker --once"
    assert.equal(0, code, output)
    for i = 1, 3 do
      assert.matches(("/a%%-%d%%.jpg\n"):format(i), output)
      assert.equal("\255\216", io.open(support.path(("a-%d.jpg"):format(i)), "rb"):read(2))
    end
    assert.equal("saved 3", support.states())
    assert.equal(3, support.totals().accepted)
    output = support.run "status --json"
    assert.matches('"total":3,"waiting":0,"active":0,"done":3,"failed":0', output)
    assert.matches('"credits":12', output)
    assert.equal("", (support.run "worker --once"))
    assert.equal(3, support.totals().accepted)
  end)

  it("has the digest of each picture in its row", function()
    support.list("a", 1)
    support.run "enqueue a.jsonl"
    support.run "worker --once"
    local path, digest = support.sql("SELECT path, digest FROM kontext.edits"):match "^(.*)|(.*)$"
    assert.equal(support.path "a-1.jpg", path)
    local core = require "kontext.core"
    assert.equal(core.md5_file(path), digest)
  end)

  it("refuses a key with other parameters, a place that is taken, and what is misused", function()
    local function list(name, line)
      require("spec.support.emulator").write(support.path(name), line .. "\n")
    end
    list("a.jsonl", '{"key":"k","prompt":"one","input_image":"car.jpg","save_as":"x.jpg"}')
    list("b.jsonl", '{"key":"k","prompt":"two","input_image":"car.jpg","save_as":"x.jpg"}')
    list("c.jsonl", '{"key":"l","prompt":"two","input_image":"car.jpg","save_as":"x.jpg"}')
    list("d.jsonl", '{"prompt":5}')
    support.run "enqueue a.jsonl"
    for name, says in pairs { ["b.jsonl"] = 'key "k" is in the queue with other parameters',
      ["c.jsonl"] = "another edit of the queue goes to [^\n]*/x.jpg",
      ["d.jsonl"] = "d.jsonl:1: prompt must be a string" } do
      local output, code = support.run("enqueue " .. name)
      assert.matches(says, output)
      assert.equal(3, code)
    end
    assert.equal("waiting 1", support.states())
  end)

  it("replaces no file", function()
    require("spec.support.emulator").write(support.path "a-1.jpg", "mine")
    support.list("a", 1)
    support.run "enqueue a.jsonl"
    assert.matches("/a%-1%-2.jpg\n$", (support.run "worker --once"))
    assert.equal("mine", io.open(support.path "a-1.jpg"):read "*a")
  end)

  it("says how to make the tables where there are none, and shows no password", function()
    support.sql "DROP SCHEMA kontext CASCADE"
    for _, words in ipairs { "status", "worker --once", "requeue --kind network" } do
      local output, code = support.run(words)
      assert.matches("kontext queue init", output)
      assert.is_nil(output:find("w%20d", 1, true))
      assert.equal(5, code)
    end
  end)

  it("shows no password of an address that cannot be used", function()
    local url = support.url():gsub("^(postgres://[^:]*:)[^@]*", "%1oh%%20secret")
    local output, code = support.run("status --queue '" .. url .. "'")
    assert.matches("cannot be used", output)
    assert.is_nil(output:find "oh")
    assert.equal(5, code)
  end)

  it("reads the password where libpq does", function()
    local place = support.path "pass"
    local server = support.server()
    require("spec.support.emulator").write(place, "*:*:*:*:" .. server.password .. "\n")
    require("spec.support.emulator").shell("chmod 600 " .. place)
    local output, code = support.run("status --queue '" .. server.bare_url .. "&passfile="
      .. place .. "'")
    assert.matches("^0 edits", output)
    assert.equal(0, code)
  end)

  it("puts what failed before it was charged back, and what the service refused not", function()
    local write = require("spec.support.emulator").write
    write(support.path "a.jsonl", '{"key":"gone","prompt":"x","input_image":"gone.jpg"}\n'
      .. '{"key":"bad","prompt":"x","input_image":"bad.jpg"}\n')
    write(support.path "bad.jpg", "no picture")
    support.run "enqueue a.jsonl"
    local pid = support.spawn "worker"
    assert.is_true(support.await(15, function()
      return support.sql "SELECT count(*) FROM kontext.edits WHERE kind IS NOT NULL" == "2"
    end))
    support.signal("TERM", pid)
    assert.equal("file", support.sql("SELECT kind FROM kontext.edits WHERE key = 'gone'"))
    assert.equal("failed|image", support.sql(
      "SELECT state, kind FROM kontext.edits WHERE key = 'bad'"))
    assert.equal(0, support.totals().submits)
    local output = support.run "requeue --kind image"
    assert.matches("1 edits wait again", output)
    assert.is_true(support.await(5, function() return not support.is_alive(pid) end))
  end)
end)
