-- report.lua ID …: tells the figures that these campaigns' last runs left, and writes them as a
-- table into docs/reliability.md. What left none has failed.

local cjson = require "cjson"

local FOLDER, PAGE = "build/torture", "docs/reliability.md"
local BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local out = {
  BEGIN, "",
  "| campaign | what is shown | size | cases | violations | longest call | told besides |",
  "|---|---|---|---|---|---|---|",
}
local passed, failed, leaks, swept = 0, 0, 0, 0
table.sort(arg)
for _, id in ipairs(arg) do
  local text = read(("%s/%s.json"):format(FOLDER, id))
  if text then
    local one = cjson.decode(text)
    leaks, swept = leaks + one.leaks, swept + one.swept
    if one.violations == 0 then passed = passed + 1 else failed = failed + 1 end
    print(one.line)
    out[#out + 1] = ("| %s (%s) | %s | %s | %d | %d | %s | %s |"):format(one.name, one.id,
      one.title, one.size, one.cases, one.violations, one.worst ~= "" and one.worst or "–",
      one.notes)
  else
    failed = failed + 1
    print(("%-3s left no figures"):format(id))
    out[#out + 1] = ("| %s | | | | | | no figures |"):format(id)
  end
end
out[#out + 1] = ("\nS2: a key, a secret or a signature was seen %d times in all that these runs "
  .. "said, and in the %d files that they left.\n\n%s"):format(leaks, swept, END)

local page = read(PAGE)
local first, last = page:find(BEGIN, 1, true), select(2, page:find(END, 1, true))
local file = assert(io.open(PAGE, "w"))
assert(file:write(page:sub(1, first - 1), table.concat(out, "\n"), page:sub(last + 1)))
assert(file:close())

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0)
