-- Which graphics the terminal draws. It is asked where Neovim hands the answers on: its name since
-- 0.10, and whether it draws kitty's graphics or sixels since 0.12. Before that an answer would be
-- taken for keys, so the environment alone tells.
local terminal = require "kontext.terminal"

local graphics = {}

local NAME = "\27[>q" -- XTVERSION
local KITTY = "\27_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\27\\" -- may it send one pixel?
local ATTRIBUTES = "\27[c" -- DA1; 4 among them stands for sixels

local names = { -- as XTVERSION's answers begin
  { "^kitty", "kitty" }, { "^ghostty", "kitty" }, { "^iTerm2", "iterm2" }, { "^WezTerm", "iterm2" },
  { "^foot", "sixel" }, { "^mlterm", "sixel" }, { "^tmux", "cells" },
}

local asked = false
local answers = {} -- what its answers came to: named, kitty, sixel

--- Takes one answer of the terminal's.
---@param sequence string
function graphics.take(sequence)
  local name = sequence:match "^\27P>|(.*)"
  for _, known in ipairs(name and names or {}) do
    if name:find(known[1]) then answers.named = known[2] end
  end
  if sequence:find "^\27_Gi=31;OK" then answers.kitty = "kitty" end
  local attributes = sequence:match "^\27%[%?([%d;]+)c"
  if attributes and (";" .. attributes .. ";"):find(";4;", 1, true) then answers.sixel = "sixel" end
end

local function has_terminal()
  for _, ui in ipairs(vim.api.nvim_list_uis()) do
    if ui.stdout_tty then return true end
  end
  return false
end

--- Asks the terminal, once, if the answers come back to us and no multiplexer stands between.
function graphics.ask()
  local between = vim.env.TMUX or vim.env.STY
  if asked or between or vim.fn.has "nvim-0.10" == 0 or not has_terminal() then return end
  asked = true
  vim.api.nvim_create_autocmd("TermResponse", {
    group = vim.api.nvim_create_augroup("kontext_terminal", {}),
    callback = function(event)
      local data = event.data
      graphics.take(type(data) == "table" and data.sequence or tostring(data))
    end,
  })
  local more = vim.fn.has "nvim-0.12" == 1 and KITTY .. ATTRIBUTES or ""
  io.stdout:write(NAME .. more)
  io.stdout:flush()
end

--- Returns "kitty", "iterm2", "sixel" or "cells".
---@return string
function graphics.best()
  return answers.kitty or answers.named or answers.sixel or terminal.graphics()
end

return graphics
