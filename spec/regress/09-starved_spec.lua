-- What memory or system calls that failed in C once led to, each failed in turn by campaign R5. It
-- takes minutes: only where TORTURE is set.
if not os.getenv "TORTURE" then return end

describe("what fails in C #once", function()
  local promises = {
    path = "does not crash or hang when a socket cannot be watched",
    thread = "does not keep for good a picture that is being made to fit",
    again = "does not try a download again without end",
    proxy = "does not send past the proxy that was asked for",
    address = "does not hide the user's name in a URL",
    batch = "does not make a paid edit unknown to the next run",
  }
  for scenario, promise in pairs(promises) do
    it(promise, function()
      local stride = scenario == "batch" and 7 or 1 -- it makes hundreds of calls
      local pipe = assert(io.popen(("STRIDE=%d SCENARIOS='%s;' timeout 200 spec/faults/run R5 2>&1")
        :format(stride, scenario)))
      local text = pipe:read "*a"
      pipe:close()
      assert.is_true(text:find("1 passed, 0 failed", 1, true) ~= nil, text)
    end)
  end
end)
