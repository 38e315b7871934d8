-- VLC: an interface script that edits each picture of the playlist and adds the results to it.
-- Put it into ~/.local/share/vlc/lua/intf/ (another name than kontext.lua), then
--   vlc --extraintf luaintf --lua-intf edit_pictures \
--     --lua-config 'edit_pictures={prompt="Make it snow"}' car.jpg
-- VLC keeps its Lua to itself: `require "kontext"` knows what to do about that (docs/hosts.md).
local kontext = require "kontext"

local client = kontext.new()
local prompt = (config or {}).prompt or "Make it a watercolour painting"
local jobs = {} -- path → job

-- car.jpg → car-kontext-1.jpg, beside it: the first that is not there.
local function free_path(path)
  local stem = path:gsub("%.%w+$", "")
  for n = 1, math.huge do
    local free = ("%s-kontext-%d.jpg"):format(stem, n)
    local file = io.open(free)
    if not file then return free end
    file:close()
  end
end

-- Edits what is new in the playlist and no result of ours.
local function look()
  for _, item in ipairs(vlc.playlist.get("playlist", false).children or {}) do
    local path = vlc.strings.make_path(item.path)
    if path and not jobs[path] and not path:find "%-kontext%-%d+%.jpg$"
      and kontext.check { path = path } then
      jobs[path] = client:edit { prompt = prompt, input_image = { path = path },
        save_as = free_path(path) }
      vlc.msg.info("kontext: " .. path)
    end
  end
end

-- Adds what is ready, and reports what failed.
local function collect()
  for path, job in pairs(jobs) do
    if job ~= true and job:ended() then
      if job.image then
        vlc.playlist.enqueue { { path = vlc.strings.make_uri(job.image.path) } }
      else
        vlc.msg.err(("kontext: %s: %s"):format(path, job.error.message))
      end
      jobs[path] = true
    end
  end
end

-- An interface has a thread of its own. What ends VLC ends mwait, with an error.
while true do
  look()
  client:step()
  collect()
  vlc.misc.mwait(vlc.misc.mdate() + 20000) -- microseconds
end
