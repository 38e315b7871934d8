-- Workers that are killed and paused, and a database that goes away. It takes minutes, and leases
-- of seconds need a machine that is not busy: only where TORTURE is set.
if not os.getenv "TORTURE" then return end

local support = require "spec.scale.support"

local missing = support.missing()
local it = missing and function(name, _) -- luacheck: ignore 431
  pending(name .. ": " .. missing)
end or it

-- Returns how often each prompt was accepted by the service, as the emulator's ledger has it.
local function accepted_of()
  local times = {}
  for _, request in ipairs(support.emulator():requests("POST", "^/v1/flux")) do
    local prompt = request.params.prompt
    if request.status == 200 then times[prompt] = (times[prompt] or 0) + 1 end
  end
  return times
end

describe("workers in trouble #once", function()
  if not missing then
    setup(support.enter)
    teardown(support.leave)
    before_each(support.fresh)
  end

  it("go on with what a killed one had, and pay for nothing twice", function()
    support.list("a", 4, " [emulate: slow 3]")
    support.run "enqueue a.jsonl"
    local pid = support.spawn "worker --timeout 4 --lease 5"
    assert.is_true(support.await(20, function()
      return support.states():find "accepted 4" ~= nil
    end), support.states())
    support.signal("KILL", pid)
    local output, code = support.run("worker --once --timeout 20 --lease 25", 60)
    assert.equal(0, code, output)
    assert.equal("saved 4", support.states())
    assert.equal(4, support.totals().accepted)
    assert.equal(4, support.totals().downloads)
  end)

  it("save nothing over another one's result when they were paused past their lease", function()
    support.list("a", 2, " [emulate: slow 3]")
    support.run "enqueue a.jsonl"
    local pid = support.spawn("worker --timeout 4 --lease 5", "paused")
    assert.is_true(support.await(20, function()
      return support.states():find "accepted 2" ~= nil
    end), support.states())
    support.signal("STOP", pid)
    local output, code = support.run("worker --once --timeout 20 --lease 25", 60)
    assert.equal(0, code, output)
    assert.equal("saved 2", support.states())
    local before = support.sql "SELECT string_agg(digest || path || fence, ',') FROM kontext.edits"
    support.signal("CONT", pid)
    local log
    support.await(15, function()
      log = require("spec.support.emulator").read(support.path "paused")
      return log:find "taken the edit over"
    end)
    support.signal("TERM", pid)
    assert.matches("taken the edit over", log)
    assert.equal(before, support.sql(
      "SELECT string_agg(digest || path || fence, ',') FROM kontext.edits"))
    local found = require("spec.support.emulator").shell("cd " .. support.folder()
      .. " && ls a-*.jpg"):gsub("\n", " ")
    assert.equal("a-1.jpg a-2.jpg ", found)
    assert.equal(2, support.totals().accepted)
  end)

  it("leave what may have been sent to a person, who can pay for it again", function()
    support.list("a", 1)
    support.run "enqueue a.jsonl"
    support.sql("UPDATE kontext.edits SET state = 'sending', attempt = 1, fence = 1, worker = "
      .. "'gone#1', lease = now() - interval '1 second'")
    support.run "worker --once"
    assert.equal("ambiguous 1", support.states())
    assert.equal(0, support.totals().submits)
    local output, code = support.run "requeue --kind ambiguous"
    assert.matches("may have been paid for", output)
    assert.equal(3, code)
    support.run "requeue --kind ambiguous --consent"
    support.run "worker --once"
    assert.equal("saved 1", support.states())
    assert.equal(1, support.totals().accepted)
  end)

  it("hand over when they are told to end", function()
    support.list("a", 6, " [emulate: slow 4]")
    support.run "enqueue a.jsonl"
    local pid = support.spawn "worker --max-active 3"
    assert.is_true(support.await(20, function()
      return support.states():find "accepted 3" ~= nil
    end), support.states())
    support.signal("TERM", pid)
    assert.is_true(support.await(10, function() return not support.is_alive(pid) end))
    assert.equal("accepted 3, waiting 3", support.states())
    assert.equal("0", support.sql "SELECT count(*) FROM kontext.edits WHERE lease > now()")
    assert.equal("0", support.sql "SELECT count(*) FROM kontext.slots WHERE lease > now()")
    local output = support.run("worker --once", 60)
    assert.equal("saved 6", support.states(), output)
    for _, times in pairs(accepted_of()) do assert.equal(1, times) end
  end)

  it("share one account's tasks: two batches of 40 beside each other are 80 of 80", function()
    support.list("a", 40)
    support.list("b", 40)
    support.run "enqueue a.jsonl b.jsonl"
    local one, two = support.spawn("worker --once", "one"), support.spawn("worker --once", "two")
    assert.is_true(support.await(60, function()
      return not support.is_alive(one) and not support.is_alive(two)
    end))
    assert.equal("saved 80", support.states())
    assert.equal(80, support.totals().accepted)
    assert.equal(80, support.totals().submits) -- no 429 in all
  end)

  it("finish when the database was restarted under them", function()
    support.list("a", 20, " [emulate: slow 1]")
    support.run "enqueue a.jsonl"
    local pid = support.spawn("worker --once --max-active 5", "one")
    assert.is_true(support.await(20, function()
      return support.states():find "saved" ~= nil
    end), support.states())
    support.server():stop "immediate"
    require("kontext.core").sleep(1)
    support.server():start()
    assert.is_true(support.await(60, function() return not support.is_alive(pid) end))
    assert.equal("saved 20", support.states())
    assert.equal(20, support.totals().accepted)
  end)
end)
