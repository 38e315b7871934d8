-- :Kontext, loaded when it is first used.
if vim.g.loaded_kontext then return end
vim.g.loaded_kontext = true

-- Returns the plugin, or nil where its C module was not built.
local function load()
  if pcall(require, "kontext.core") then return require "kontext.nvim" end
  vim.notify("kontext is not built: run `make deps nvim` in its folder (:checkhealth kontext "
    .. "says more)", vim.log.levels.ERROR)
end

vim.api.nvim_create_user_command("Kontext", function(command)
  local nvim = load()
  if nvim then nvim.command(command) end
end, {
  nargs = "+",
  range = true,
  desc = "Edit a picture with words",
  complete = function(...)
    local nvim = load()
    return nvim and nvim.complete(...) or {}
  end,
})
