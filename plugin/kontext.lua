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

-- Edits that an earlier Neovim left are paid for, and their pictures can be fetched for some time.
local function tell_unfinished()
  local count = #require("kontext.nvim.unfinished").list()
  if count == 0 then return end
  vim.notify(("kontext: %s left unfinished; :Kontext resume goes on with %s"):format(
    count == 1 and "an edit was" or count .. " edits were", count == 1 and "it" or "them"),
    vim.log.levels.WARN)
end

if vim.v.vim_did_enter == 1 then -- a plugin manager loads it later
  vim.schedule(tell_unfinished)
else
  vim.api.nvim_create_autocmd("VimEnter", {
    once = true,
    callback = vim.schedule_wrap(tell_unfinished),
  })
end
