-- What is a bug in the calling program raises, names what is wrong, and blames the line that is.
local kontext = require "kontext"

local client = kontext.new { base_url = "http://127.0.0.1:1" } -- nothing listens there

-- Asserts that fn raises `message`, at the line where it stands.
local function raises(message, fn)
  local done, raised = pcall(fn)
  assert.is_false(done)
  assert.matches(message, raised, 1, true)
  local line = debug.getinfo(fn, "S").linedefined
  assert.equal(("misuse_spec.lua:%d:"):format(line), raised:match "misuse_spec%.lua:%d+:")
end

describe("misuse", function()
  teardown(function() client:close() end)

  it("of an edit is blamed on its caller", function()
    raises('unknown key "promt" (did you mean', function() client:edit { promt = "x" } end)
    raises("prompt is missing", function() client:edit {} end)
    raises("prompt must be a string", function() client:edit { prompt = 5 } end)
    raises("the parameters must be a table", function() client:edit "x" end)
    raises('unknown key "promt"', function() kontext.edit { promt = "x" } end)
  end)

  it("of a client is blamed on its caller", function()
    raises('(did you mean "region"?)', function() kontext.new { regoin = "eu" } end)
    raises("timeout must be a number", function() kontext.new { timeout = "1" } end)
    raises("base_url", function() kontext.new { base_url = "ftp://a" } end)
    raises("region must be", function() kontext.new { region = "mars" } end)
    raises('model is "flux": it must be one of', function() kontext.new { model = "flux" } end)
    raises('loop must be a function, "yield" or', function() kontext.new { loop = "callbacks" } end)
    raises('not "nonsense"', function() kontext.new { loop = "nonsense" } end)
    raises("resume takes", function() client:resume(5) end)
    raises("resume takes", function() kontext.resume(5) end)
    raises("journal must be a string, not nil", function() client:resume {} end)
    for _, name in ipairs { "a", "b", "c", "d", "e", "f", "g", "h" } do -- whichever comes first
      local from = { journal = "/nonexistent/journal", [name] = 1 }
      raises(('unknown key "%s"'):format(name), function() client:resume(from) end)
    end
    raises("seconds must be", function() client:poll "x" end)
    raises("event must be", function() client:notify(1) end)
    raises("seconds must be", function() kontext.poll "x" end)
    raises("event must be", function() kontext.notify(1) end)
  end)

  it("of a batch is blamed on its caller", function()
    raises("batch takes a list", function() client:batch(5) end)
    raises("item 1 must be a table", function() client:batch { 5 } end)
    raises('unknown key "promt"', function() client:batch { { promt = "x" } } end)
    local twice = { { prompt = "x", key = "k" }, { prompt = "x" }, { prompt = "y", key = "k" } }
    raises('items 1 and 3 have the same key "k"', function() client:batch(twice) end)
    raises("max_active must be", function() client:batch({}, { max_active = "x" }) end)
    raises('unknown key "promt"', function() kontext.batch { { promt = "x" } } end)
  end)

  it("of a job is blamed on its caller", function()
    local job = client:edit { prompt = "x" }
    raises("seconds must be", function() job:wait "x" end)
  end)

  it("by a dot for a colon, or the other way round, is said so", function()
    local job = client:edit { prompt = "x" }
    raises("client:edit{ … } takes a colon, not a dot", function() client.edit { prompt = "x" } end)
    raises("takes a colon", function() client.batch { { prompt = "x" } } end)
    raises("takes a colon", function() client.step() end)
    raises("takes a colon", function() client.poll(1) end)
    raises("takes a colon", function() client.credits() end)
    raises("takes a colon", function() client.close() end)
    raises("job:wait() takes a colon", function() job.wait() end)
    raises("takes a colon", function() job.token() end)
    raises("takes a colon", function() job.cancel() end)
    raises("takes a colon", function() client:batch({}).wait() end)
    raises("kontext.edit takes a dot", function() kontext:edit { prompt = "x" } end)
    raises("kontext.poll takes a dot", function() kontext:poll() end)
    raises("batch takes a list", function() client:batch { prompt = "x" } end)
  end)

  it("of the helpers is blamed on their caller", function()
    raises("image must be", function() kontext.check(5) end)
    raises("output_size", function() kontext.output_size(true) end)
    raises("replace_text", function() kontext.replace_text(1, 2) end)
    raises("run takes functions", function() kontext.run(5) end)
    raises("verify", function() kontext.webhook.verify(1) end)
  end)

  it("is any use of a client after close, but close", function()
    local closed = kontext.new { base_url = "http://127.0.0.1:1" }
    closed:close()
    closed:close()
    for _, use in ipairs {
      function() closed:edit { prompt = "x" } end, function() closed:resume "x" end,
      function() closed:credits() end, function() closed:step() end, function() closed:poll() end,
      function() closed:pollfd() end, function() closed:getfd() end,
      function() closed:timeout() end, function() closed:batch {} end,
      function() closed:events() end,
      function() closed:notify { id = "x" } end,
    } do
      raises("the client is closed", use)
    end
  end)
end)
