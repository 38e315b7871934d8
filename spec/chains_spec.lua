-- Chains, trees and budgets of batches, as the emulator sees them.

local core = require "kontext.core"
local kontext = require "kontext"
local support = require "spec.support.emulator"

local picture = core.repaint { width = 64, height = 48, format = "png", seed = 7 }

describe("a chain", function()
  local server, client, folder
  setup(function() server = support.start { ready_after = 0 } end)
  teardown(function() server:stop() end)
  before_each(function()
    folder = os.tmpname()
    os.remove(folder)
    os.execute("mkdir " .. folder)
    server:forget()
  end)
  after_each(function()
    client:close()
    os.execute("rm -r " .. folder)
  end)

  local function begin(options)
    options = options or {}
    options.api_key, options.base_url, options.poll_interval = "k", server.url, 0.02
    client = kontext.new(options)
  end

  local function tree()
    return {
      { key = "leaf", prompt = "c", input_image = { result = "branch" } },
      { key = "branch", prompt = "b", input_image = { result = "base" },
        save_as = folder .. "/branch.jpg" },
      { key = "base", prompt = "a", input_image = picture, save_as = folder .. "/base.jpg" },
    }
  end

  it("sends the bytes of one item's result as another one's picture, in any order", function()
    begin()
    local results = assert(client:batch(tree(), { max_active = 1 }):wait(20))
    for _, result in ipairs(results) do assert.is_nil(result.error) end
    local posts = server:requests "POST"
    assert.equal(3, #posts)
    assert.equal(support.sha256(support.read(folder .. "/base.jpg")),
      posts[2].images.input_image.sha256)
    assert.equal(support.sha256(support.read(folder .. "/branch.jpg")),
      posts[3].images.input_image.sha256)
  end)

  it("fails with its reason what hangs on a failed item, and nothing else", function()
    begin()
    local list = tree()
    list[3].input_image = folder .. "/none.png"
    list[4] = { key = "other", prompt = "d", input_image = picture }
    local results = assert(client:batch(list):wait(20))
    for i = 1, 3 do
      assert.equal("file", results[i].error.kind)
      assert.matches("none.png", results[i].error.message, 1, true)
    end
    assert.is_nil(results[4].error)
    assert.equal(1, #server:requests "POST")
  end)

  it("that is a circle, or names no item, is refused before anything is sent", function()
    begin()
    local list = tree()
    list[3].input_image = { result = "leaf" }
    assert.error_matches(function() client:batch(list) end, "wait for each other's results")
    list[3].input_image = { result = "nobody" }
    assert.error_matches(function() client:batch(list) end, 'result of "nobody", and no item')
    assert.equal(0, #server:requests "POST")
  end)

  it("in a journal goes on from the file that an earlier run has saved", function()
    begin { journal = folder .. "/journal" }
    assert.is_nil(assert(client:batch({ tree()[3] }):wait(20))[1].error)
    client:close()
    begin { journal = folder .. "/journal" }
    local results = assert(client:batch(tree()):wait(20))
    assert.is_true(results[3].skipped)
    assert.is_nil(results[1].error)
    assert.equal(3, #server:requests "POST")
  end)

  it("stops at the budget, and all that is paid for is fetched", function()
    begin { budget = 10 }
    local list = {}
    for i = 1, 5 do list[i] = { prompt = "a" .. i, input_image = picture } end
    local results = assert(client:batch(list):wait(20))
    for i = 1, 5 do
      assert.equal(i > 2 and "budget" or nil, results[i].error and results[i].error.kind)
    end
    assert.equal(2, #server:requests "POST")
    assert.equal(8, server:ledger().totals.charged)
    assert.equal(2, server:ledger().totals.downloads)
  end)
end)
