local support = require "spec.support.emulator"

describe("the emulator's process #once", function()
  it("ends with status 0 on a signal that comes as soon as its URL has", function()
    local script = "local flush = io.flush "
      .. "io.flush = function() flush() os.execute 'kill -TERM $PPID' end "
      .. "require('kontext.emulator').serve {}"
    local said = support.shell(("timeout 20 lua5.4 -e %s; echo $?"):format(support.quote(script)))
    assert.matches("^http://[%d.:]+\n0\n$", said)
  end)
end)
