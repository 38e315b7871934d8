-- lua systems.lua SUITE…: writes what the newest `make world` found into docs/systems.md.
local PAGE = "docs/systems.md"
local BEGIN, END = "<!-- table -->", "<!-- end of table -->"
local WORLD = os.getenv "WORLD"
WORLD = WORLD and WORLD ~= "" and WORLD or "build/world"

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read "*a"
  file:close()
  return text
end

local page = assert(read(PAGE))
local first, last = page:find(BEGIN, 1, true), select(2, page:find(END, 1, true))
local rows = { BEGIN, "",
  "| suite | Debian | gcc | libcurl | stb_image | Neovim | ImageMagick | newest Lua | passed |",
  "|---|---|---|---|---|---|---|---|---|" }
for _, suite in ipairs(arg) do
  local row = read(("%s/%s.row"):format(WORLD, suite))
    or page:match("\n(| " .. suite .. " |[^\n]*)\n")
  rows[#rows + 1] = row and row:gsub("%s+$", "") or nil
end
rows[#rows + 1] = "\n" .. END

local file = assert(io.open(PAGE, "w"))
assert(file:write(page:sub(1, first - 1), table.concat(rows, "\n"), page:sub(last + 1)))
assert(file:close())
