local kontext = require "kontext"
local raw = require "spec.support.raw"

describe("polls", function()
  it("keep their connection while 23 other edits are in flight", function()
    local server = raw.start()
    local pending = raw.status("Pending")
    pending.keep = true
    local script = raw.service({}, "", { poll = { pending, pending, pending, raw.ready() } })
    script["POST /v1/flux-kontext-max"] = { { hang = true } }
    server:script(script)
    local client = kontext.new { base_url = server.url, api_key = raw.key, max_active = 24,
      poll_interval = 0.01 }
    for _ = 1, 23 do
      client:edit { prompt = "x", input_image = raw.picture, model = "flux-kontext-max" }
    end
    for _ = 1, 1000 do
      if #server:requests "POST" == 23 then break end
      client:poll(0.01)
    end
    assert(client:edit { prompt = "x", input_image = raw.picture }:wait(20))
    local polls = server:requests("GET", "get_result")
    assert.equal(4, #polls)
    for i = 2, 4 do assert.equal(polls[1].connection, polls[i].connection) end
    client:close()
    server:stop()
  end)
end)
