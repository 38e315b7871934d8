-- What kontext.nvim is while its C module is missing or does not load: each function says so in a
-- sentence, and none raises in a user's configuration.
local unbuilt = {}

local root = debug.getinfo(1, "S").source:match "^@(.*)/lua/kontext/nvim/unbuilt%.lua$"

local function sentence()
  local _, problem = pcall(require, "kontext.core")
  problem = tostring(problem)
  if problem:find "^module 'kontext.core' not found" then
    return ("kontext is not built: run `make nvim` in %s (:checkhealth kontext says more)"):format(
      root or "its folder")
  end
  return "kontext's C module does not load: " .. problem:gsub("\n.*", "")
end

local function tell()
  package.loaded["kontext.nvim"] = nil -- once it is built, it loads
  vim.schedule(function() vim.notify(sentence(), vim.log.levels.ERROR) end)
end

unbuilt.setup, unbuilt.command = tell, tell

function unbuilt.complete()
  tell()
  return {}
end

function unbuilt.client() error(sentence(), 0) end

return unbuilt
