-- :Kontext, loaded when it is first used.
if vim.g.loaded_kontext then return end
vim.g.loaded_kontext = true

vim.api.nvim_create_user_command("Kontext", function(command)
  require("kontext.nvim").command(command)
end, {
  nargs = "+",
  range = true,
  desc = "Edit a picture with words",
  complete = function(...) return require("kontext.nvim").complete(...) end,
})
