-- lua src/lua/chunks.lua FOLDER: writes, as C, what `require "kontext"` loads of the modules in
-- FOLDER, compiled by the Lua that runs this and for it. Errors name the same files and lines.
local folder = arg[1]

-- LuaJIT parses several times as fast, and its releases do not promise to read each other's code.
assert(not rawget(_G, "jit"), "LuaJIT reads the files")

local function read(module)
  local path = folder .. "/" .. module:gsub("%.", "/")
  local file = io.open(path .. ".lua", "rb") or assert(io.open(path .. "/init.lua", "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

local compile = rawget(_G, "loadstring") or load
local modules, texts = {}, {}

-- Takes a module, behind those that it requires when it is loaded.
local function take(module)
  if texts[module] or module == "kontext.core" then return end
  texts[module] = read(module)
  for required in ("\n" .. texts[module]):gmatch '\nlocal [%w_]+ = require "(kontext[%w_.]*)"' do
    take(required)
  end
  if module ~= "kontext" then modules[#modules + 1] = module end -- whose file asks for the others
end

take "kontext"

io.write('#include "lua/chunks.h"\n')
for i, module in ipairs(modules) do
  local name = "@lua/" .. module:gsub("%.", "/") .. ".lua"
  local code = string.dump(assert(compile(texts[module], name)))
  io.write(("\nstatic const unsigned char chunk_%d[] = {"):format(i))
  for at = 1, #code, 32 do
    io.write("\n  ", table.concat({ code:byte(at, at + 31) }, ","), ",")
  end
  io.write("};\n")
end
io.write "\nconst kx_chunk kx_chunks[] = {\n"
for i, module in ipairs(modules) do
  io.write(('  {"%s", chunk_%d, sizeof chunk_%d},\n'):format(module, i, i))
end
io.write "  {NULL, NULL, 0}};\n"
