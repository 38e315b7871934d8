local main = require "spec.simulation.main"
local chance = require "spec.simulation.chance"

describe("the simulation", function()
  it("lives the same lives from the same seed", function()
    local plan = { lives = 150, seconds = 0, seed = 3, first = 1, step = 1 }
    local one, two = main.run(plan), main.run(plan)
    assert.equal(0, one.failed)
    assert.same({ one.first, one.second, one.events }, { two.first, two.second, two.events })
    -- Written down: the same on every Lua and every machine.
    plan.seed = 4
    assert.is_not.equal(one.first, main.run(plan).first)
  end)

  it("lives a life again from its script, and one without a script has no fault", function()
    local world, _, one = main.live(3, 17)
    local again = main.live(3, 17, chance.read(one.chance:script()))
    assert.equal(world.detail, again.detail)
    assert.same({}, select(3, main.live(3, 17, {})).chance:script())
  end)
end)
