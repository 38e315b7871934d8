-- Edits in several threads at once, each with a Lua state of its own, against one emulator.
-- Run by any Lua with the program `threads` and its module as arguments, it starts the emulator;
-- run by that program it edits.
local first, cpath = ...

if first:find "^http" then
  package.cpath = cpath .. ";" .. package.cpath
  local kontext = require "kontext"
  local core = require "kontext.core"
  local picture = core.repaint { width = 640, height = 480, format = "png", seed = 1 }
  local large = core.repaint { width = 1400, height = 1000, format = "jpeg", seed = 1 }
  for round = 1, 3 do
    local client = kontext.new { base_url = first, api_key = "threads", poll_interval = 0.05 }
    local jobs = {}
    for i = 1, 4 do
      jobs[i] = client:edit { prompt = "Change it", input_image = picture, seed = round * 10 + i }
    end
    for i = 5, 7 do
      jobs[i] = client:edit { prompt = "Change it", input_image = large, fit = true }
    end
    jobs[4]:cancel()
    jobs[6]:cancel()
    for _, i in ipairs { 1, 2, 3, 5, 7 } do assert(jobs[i]:wait(30)) end
    client:edit { prompt = "Change it", input_image = picture }:poll()
    client:edit { prompt = "Change it", input_image = large, fit = true }:poll()
    if round > 1 then client:close() end -- else the state is closed with an upload under way
  end
  return
end

local server = assert(require("kontext.emulator").start { ready_after = 0.1 })
local done, _, status = os.execute(("%s 2 spec/support/threads.lua %s '%s'")
  :format(first, server.url, cpath))
server:stop()
print(done == true and "1 passed, 0 failed" or "0 passed, 1 failed: status " .. tostring(status))
os.exit(done == true)
