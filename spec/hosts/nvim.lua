-- nvim --headless -u NONE -S spec/hosts/nvim.lua: the API may be called where a wait comes back.
local task = require "spec.hosts.task"

local clock = vim.loop.new_timer()
clock:start(0, 2, task.tick)
task.start(function(fn)
  coroutine.wrap(function()
    fn()
    vim.api.nvim_buf_line_count(0)
  end)()
end, function() vim.cmd "qall!" end)
