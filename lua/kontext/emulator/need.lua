-- `require` for lua-http and what it stands on.

--- Requires a module. Debian installs lua-http's Lua files, which are the same for every version,
--- for Lua 5.1 only: when this Lua's own path has them not, or not all, 5.1's is tried after it.
---@param name string
---@return any module
local function need(name)
  local found, module = pcall(require, name)
  if found then return module end
  local version = _VERSION:match "%d+%.%d+"
  local others = package.path:gsub("/lua/" .. version:gsub("%p", "%%%0") .. "/", "/lua/5.1/")
  if others ~= package.path and not package.path:find(others, 1, true) then
    package.path = package.path .. ";" .. others
  end
  found, module = pcall(require, name)
  if found then return module end
  error("the emulator needs lua-http, lua-cqueues, lua-luaossl, lua-socket "
    .. "and lua-cjson or dkjson: " .. tostring(module), 0)
end

return need
