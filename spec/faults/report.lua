-- Writes docs/reliability.md's table of campaigns from the figures that their last runs left.

local cjson = require "cjson"
local sys = require "faults.sys"

local FOLDER, PAGE = "build/torture", "docs/reliability.md"
local BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local rows, leaks = {}, 0
for _, name in ipairs(sys.list(FOLDER) or {}) do
  if name:find "%.json$" then
    local one = cjson.decode(read(FOLDER .. "/" .. name))
    leaks = leaks + one.leaks
    rows[#rows + 1] = one
  end
end
table.sort(rows, function(a, b) return a.id < b.id end)

local out = {
  BEGIN, "",
  "| id | what is shown | size | cases | violations | longest call | told besides |",
  "|---|---|---|---|---|---|---|",
}
for _, one in ipairs(rows) do
  out[#out + 1] = ("| %s | %s | %s | %d | %d | %s | %s |"):format(one.id, one.title, one.size,
    one.cases, one.violations, one.worst ~= "" and one.worst or "–", one.notes)
end
out[#out + 1] = ""
out[#out + 1] = ("S2: a key, a secret or a signature was seen %d times in all that these runs said "
  .. "or wrote."):format(leaks)
out[#out + 1] = ""
out[#out + 1] = END

local page = read(PAGE) or "# Reliability\n\nThe campaigns are under spec/faults/; `make torture` "
  .. "runs them at CI size, `make torture FULL=1` at full size. What each asserts stands at the "
  .. "top of its file; a server's ledger is the witness, not the client's word.\n\n" .. BEGIN
  .. "\n" .. END .. "\n"
local first, last = page:find(BEGIN, 1, true), select(2, page:find(END, 1, true))
assert(first and last, PAGE .. " has no place for the figures")
os.execute "mkdir -p docs"
local file = assert(io.open(PAGE, "w"))
file:write(page:sub(1, first - 1), table.concat(out, "\n"), page:sub(last + 1))
file:close()
