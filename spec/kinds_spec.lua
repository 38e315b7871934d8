-- One table says what each kind of error means; the documents and what the emulator provokes agree.
local kinds = require "kontext.kinds"
local kontext = require "kontext"
local sandbox = require "spec.support.sandbox"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local function word(value, yes, no)
  if value == nil then return "depends" end
  return value and yes or no
end

-- Returns the table of docs/errors.md as the rows make it.
local function page()
  local lines = { "| kind | exit code | retryable | charged | resumable | what happened "
    .. "| what to do |",
    "|---|---|---|---|---|---|---|" }
  local sorted = {}
  for i, row in ipairs(kinds.rows) do sorted[i] = row end
  table.sort(sorted, function(a, b) return a.code < b.code end)
  for _, row in ipairs(sorted) do
    lines[#lines + 1] = ("| `%s` | %d | %s | %s | %s | %s | %s |"):format(row.name, row.code,
      word(row.retryable, "yes", "no"), word(row.charged, "yes", "no"),
      word(row.resumable, "yes", "no"), row.what, row.advice)
  end
  return table.concat(lines, "\n")
end

describe("the table of error kinds", function()
  it("is the table of docs/errors.md #once", function()
    local wanted = page()
    assert.is_truthy(read "docs/errors.md":find(wanted, 1, true),
      "docs/errors.md needs this:\n" .. wanted)
  end)

  it("has each kind of the editors' types, and no other #once", function()
    local typed = {}
    for kind in read "types/kontext.lua":match "@alias kontext.ErrorKind\n(.-)\n\n"
      :gmatch '| "([%w_]+)"' do
      typed[kind] = true
      assert.is_table(kinds[kind], kind)
    end
    for _, row in ipairs(kinds.rows) do assert.is_true(typed[row.name], row.name) end
  end)

  it("gives each kind an exit code of its own", function()
    local seen = {}
    for _, row in ipairs(kinds.rows) do
      assert.is_nil(seen[row.code], row.name)
      seen[row.code] = row.name
    end
  end)

  for ending, kind in pairs { ["request moderated"] = "moderated", ["error"] = "failed",
    ["content moderated"] = "moderated", ["failed"] = "failed", ["out of credits"] = "credits",
    ["lost answer"] = "ambiguous", ["server error"] = "ambiguous" } do
    it("agrees with the error of [emulate: " .. ending .. "]", function()
      local client = kontext.new { base_url = sandbox.url(), timeout = 30 }
      local _, _, err = client:edit { prompt = "x [emulate: " .. ending .. "]" }:wait()
      client:close()
      assert.equal(kind, err.kind)
      local row = kinds[kind]
      for _, name in ipairs { "retryable", "charged" } do
        if row[name] ~= nil then assert.equal(row[name], err[name]) end
      end
      if row.resumable == false then assert.is_nil(err.token) end
    end)
  end
end)
