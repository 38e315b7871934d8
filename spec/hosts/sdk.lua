-- Other clients' word for the emulator: two npm packages that were written against the service edit
-- a photograph there. `make build/bench/sdk` installs them, with a Node.js that is new enough.
local core = require "kontext.core"
local emulator = require "spec.support.emulator"
local kontext = require "kontext"
local models = require "kontext.models"
local support = require "spec.hosts.support"

local SDK = "build/bench/sdk"

-- The clients: what npm calls each, and its command for a model and a file.
local clients = {
  {
    name = "@ai-sdk/black-forest-labs", options = { ready_after = 0.3 },
    command = function(runner, model, out)
      return ("%s/node %s/sdk.mjs %s %s 1 1 0.1 %s %s"):format(SDK, SDK, runner.server.url,
        runner.photo, out, model)
    end,
  },
  {
    name = "bfl-api", options = { ready_after = 0.3, tls = true },
    command = function(runner, model, out)
      return ("env NODE_EXTRA_CA_CERTS=%s %s/node %s/bfl_api.mjs %s %s %s %s"):format(
        runner.server.ca_file, SDK, SDK, runner.server.url, runner.photo, model, out)
    end,
  },
}

for _, client in ipairs(clients) do
  describe(client.name .. " from npm", function()
    local package = ("%s/node_modules/%s/package.json"):format(SDK, client.name)
    local runner

    setup(function() runner = support.start(support.small, client.options) end)
    teardown(function() runner:stop() end)

    for _, model in ipairs { "flux-kontext-pro", "flux-2-pro" } do
      it("edits a JPEG by " .. model .. ", and the picture has the right size", function()
        local installed = io.open(package)
        if not installed then return pending(client.name .. " is not installed: no npm?") end
        installed:close()
        runner:afresh()
        local out = runner.out .. "/out.jpg"
        local said = runner:host("5.4", client.command(runner, model, out))

        local info = core.check { path = out }
        assert.is_table(info, said)
        local told = assert(kontext.estimate { model = model, input_image = runner.photo })
        assert.same({ told.width, told.height }, { info.width, info.height })
        local posts = runner.server:requests "POST"
        assert.equal(1, #posts)
        assert.equal(models.find(model).path, posts[1].path)
        assert.equal(emulator.sha256(emulator.read(runner.photo)),
          posts[1].images.input_image.sha256)
        local totals = runner.server:ledger().totals
        assert.equal(1, totals.downloads)
        assert.equal(told.credits, totals.charged)
      end)
    end
  end)
end
