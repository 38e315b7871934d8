local core = require "kontext.core"

describe("a journal", function()
  it("begins a line of its own after one that was torn through another descriptor", function()
    local path = os.tmpname()
    local log = assert(core.log(path))
    assert(log:append("one\n", false))
    local file = assert(io.open(path, "a")) -- as when an upload's mark finds the disk full
    file:write "tor"
    file:close()
    assert(log:append("two\n", true))
    assert.equal("one\ntor\ntwo\n", (log:read(1000)))
    log:close()
    os.remove(path)
  end)
end)
