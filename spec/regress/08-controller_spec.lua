local cqueues = require "cqueues"
local emulator = require "spec.support.emulator"
local kontext = require "kontext"

-- What cannot be waited for longer than this hangs.
local LIMIT = 20

describe("a client that two cqueues controllers share", function()
  local server, client

  setup(function() server = emulator.start { ready_after = 0.05 } end)
  teardown(function() server:stop() end)

  before_each(function()
    client = kontext.new { base_url = server.url, api_key = "key-of-a-test" }
  end)
  after_each(function() client:close() end)

  local function edit(prompt)
    local image = client:edit { prompt = prompt }:wait(LIMIT)
    return image and image.prompt
  end

  it("wakes who waits in the one though the other is never stepped again", function()
    local left = cqueues.new()
    left:wrap(edit, "The first")
    left:step(0)
    local controller, prompt = cqueues.new(), nil
    controller:wrap(function() prompt = edit "The second" end)
    assert(controller:loop(LIMIT))
    assert.equal("The second", prompt)
  end)

  it("wakes who waits in one that is nested in the other", function()
    local outer, inner, prompts = cqueues.new(), cqueues.new(), {}
    outer:wrap(function() prompts[1] = edit "The outer" end)
    outer:wrap(function()
      inner:wrap(function() prompts[2] = edit "The inner" end)
      assert(inner:loop(LIMIT))
    end)
    assert(outer:loop(LIMIT))
    assert.same({ "The outer", "The inner" }, prompts)
  end)
end)
