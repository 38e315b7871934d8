local core = require "kontext.core"
local kontext = require "kontext"
local raw = require "spec.support.raw"

-- A webhook that came while its job was polled was lost: the next poll was ten seconds away.
describe("a webhook", function()
  it("that comes during a poll lets another follow it", function()
    local server, pending = raw.start(), raw.status "Pending"
    pending.delay = 0.3
    server:script(raw.service({}, "", { poll = { pending, raw.ready() } }))
    local client = kontext.new { base_url = server.url, api_key = raw.key }
    local job = client:edit { prompt = "x", webhook_url = "https://hooks.test/" }
    local event, limit = { id = "task-1", status = "Ready" }, core.now() + 5
    local function polls() return #server:requests("GET", "get_result") end
    while not job.id and core.now() < limit do client:poll(0.01) end
    assert.is_true(client:notify(event))
    while polls() == 0 and core.now() < limit do client:poll(0.01) end
    assert.is_true(client:notify(event))
    assert(job:wait(limit - core.now()))
    assert.equal(2, polls())
    client:close()
    server:stop()
  end)
end)
