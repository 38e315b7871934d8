local sandbox = require "spec.support.sandbox"

-- The schedule of polls and the tokens were read from their files when the first edit had been paid
-- for: where files cannot be opened then, or the folder is another, step raised, and the task was
-- never polled.
describe("an edit that was begun #once", function()
  teardown(sandbox.close)

  it("needs no module's file any more", function()
    local output, code = sandbox.run [[
      local kontext = require "kontext"
      local job = kontext.edit { prompt = "x", input_image = "car.jpg", save_as = "late.jpg" }
      local failing = kontext.edit { prompt = "x [emulate: content moderated]" }
      local again = kontext.edit { prompt = "x [emulate: flaky polls]" }
      package.path, package.cpath = "", ""
      io.write(assert(job:wait(30)).path, " ", (select(3, failing:wait(30))).kind, " ",
        tostring(again:wait(30)), " ", type(job:token()))]]
    assert.equal("late.jpg moderated kontext.image: jpeg, 1024 x 1024 string", output)
    assert.equal(0, code)
  end)
end)
