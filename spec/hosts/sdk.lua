-- Another client's word for the emulator: the most used TypeScript SDK of this API, as npm has it,
-- edits a photograph there. `make build/bench/sdk` installs it.
local core = require "kontext.core"
local emulator = require "spec.support.emulator"
local kontext = require "kontext"
local support = require "spec.hosts.support"

local SDK = "build/bench/sdk"

describe("the SDK from npm", function()
  local runner

  setup(function() runner = support.start(support.small, { ready_after = 0.3 }) end)
  teardown(function() runner:stop() end)

  it("edits a JPEG through the emulator, and the picture has the right size", function()
    local installed = io.open(SDK .. "/node_modules/ai/package.json")
    if not installed then return pending(SDK .. " is not installed") end
    installed:close()
    runner:afresh()
    local out = runner.out .. "/sdk.jpg"
    local said = runner:host("5.4", ("node %s/sdk.mjs %s %s 1 1 0.1 %s"):format(
      SDK, runner.server.url, runner.photo, out))

    local info = core.check { path = out }
    assert.is_table(info, said)
    assert.same({ kontext.output_size { path = runner.photo } }, { info.width, info.height })
    local posts = runner.server:requests "POST"
    assert.equal(1, #posts)
    assert.equal(emulator.sha256(emulator.read(runner.photo)), posts[1].images.input_image.sha256)
    assert.equal(1, runner.server:ledger().totals.downloads)
  end)
end)
