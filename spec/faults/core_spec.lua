-- The share of the campaigns that every run of the tests has: small, and over in half a minute.

local function run(ids)
  local pipe = assert(io.popen("QUICK=1 timeout 300 spec/faults/run " .. ids .. " 2>&1"))
  local text = pipe:read "*a"
  pipe:close()
  return text
end

describe("under faults #once", function()
  local promises = {
    S1 = "shows its key to nobody else",
    S9 = "writes nowhere else and nothing by halves",
  }
  if os.getenv "TORTURE" then -- they take minutes on a loaded machine
    promises.R1 = "sends a paid request at most once"
    promises.R2 = "loses and repeats nothing when it is killed"
    promises.R5 = "survives its own memory running out"
    promises.R8 = "never hangs its host"
    promises.R9 = "may be closed, dropped and forked in any order"
    promises.T1 = "pays once for each edit of a tree, whatever is killed"
    promises.S3 = "sends nothing to whom TLS does not vouch for"
  end
  for id, promise in pairs(promises) do
    it(promise .. " (" .. id .. ")", function()
      local text = run(id)
      assert.is_true(text:find("1 passed, 0 failed", 1, true) ~= nil, text)
    end)
  end
end)

describe("a mutant of Q2 #once", function()
  it("stands where it did: its text is in its file, once", function()
    for _, mutant in ipairs(require "spec.faults.mutants") do
      local file = assert(io.open(mutant.file))
      local text = file:read "a"
      file:close()
      local _, last = text:find(mutant.old, 1, true)
      local where = ("%s: %s: mend it in spec/faults/mutants.lua"):format(mutant.file, mutant.name)
      assert.is_number(last, where)
      assert.is_nil(text:find(mutant.old, last, true), where)
    end
  end)
end)
