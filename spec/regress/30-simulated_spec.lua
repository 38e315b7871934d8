-- Lives in which the simulation found a fault that nobody knew. Each is its seed, its number and
-- the shortest script that failed; see spec/simulation.
local main = require "spec.simulation.main"
local chance = require "spec.simulation.chance"

local function survives(seed, number, lines)
  local world, broken = main.live(seed, number, chance.read(lines))
  assert.is_nil(broken, tostring(world.detail))
end

describe("a batch", function()
  it("begins nothing in the step in which its key is refused", function()
    survives(31, 195, { "life.edits#1=7", "submit.verdict#44=19", "submit.verdict#46=9" })
  end)

  it("sends no item whose digest comes in the step in which its key is refused", function()
    survives(869758, 8865, { "life.input#1=4", "life.edits#1=7", "submit.storm#1=3",
      "speed.digest#8=4", "speed.digest#11=4", "speed.digest#14=3", "speed.digest#17=4",
      "speed.digest#24=2", "upload.fate#5=4", "sync.fails#9=2", "speed.upload#7=5",
      "speed.upload#9=4", "speed.connect#11=4", "upload.fate#17=9", "sync.fails#36=2",
      "speed.digest#26=3", "pause.step#8=5", "submit.verdict#16=11", "upload.fate#21=5" })
  end)
end)

describe("a paid picture", function()
  it("is not given up because our own clock is a day ahead", function()
    survives(1, 2081, { "clock.jump#1=4", "link.skew#1=2", "download.date#1=2",
      "download.date#2=2" })
  end)

  it("is not given up because an earlier link of it is old", function()
    survives(7, 2909, { "speed.task#2=5", "link.stored#1=3", "pause.step#16=5", "pause.step#17=5",
      "link.se#2=2", "link.skew#2=3" })
  end)

  it("is not paid for again because its name was taken, and a number was added", function()
    survives(7, 205, { "life.mode#1=2", "life.save#1=4", "user.twice#2=2" })
  end)

  it("is not told to be free when its destination is another one's after a restart", function()
    survives(32, 481, { "life.mode#1=3", "life.save#1=3", "folder.trouble#1=2", "user.returns#1=2",
      "user.changes#1=2", "user.close#2=3" })
  end)

  it("is known by the content that was sent, also where the file changed as it was read", function()
    survives(32, 2737, { "life.input#1=4", "life.edits#1=6", "speed.digest#13=3",
      "input.change#13=5" })
  end)

  it("is not lost because a later process asks at a URL of our own making", function()
    survives(99, 321, { "answer.form#1=10" })
  end)

  it("is not paid for again by a second run that sends what is in doubt", function()
    survives(5, 1, { "answer.form#1=2", "user.returns#1=2", "user.retry#1=2", "user.returns#2=2",
      "user.retry#2=2" })
  end)

  it("keeps its key to itself: another edit of that key is refused", function()
    survives(7, 9, { "life.mode#1=2", "user.returns#1=2", "user.changes#1=2" })
  end)

  it("is still accepted after a kill before the sync and a power failure later", function()
    survives(2, 6905, { "crash.sync#6=2", "crash.folder#1=3" })
  end)
end)

describe("an edit that was not sent", function()
  it("may be asked for again by the same process whose journal could not note that", function()
    survives(99, 531, { "life.mode#1=3", "folder.trouble#2=5", "folder.from#1=2",
      "user.again#1=2" })
  end)
end)
