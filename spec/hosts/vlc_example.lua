-- In VLC, as an interface script: plays the example until its result is in the playlist.
local mwait = vlc.misc.mwait

function vlc.misc.mwait(...)
  local names = {}
  for n, item in ipairs(vlc.playlist.get("playlist", false).children) do
    names[n] = vlc.strings.make_path(item.path):match "[^/]*$"
  end
  if #names > 1 then
    local file = assert(io.open(os.getenv "KONTEXT_OUT" .. "/playlist", "w"))
    file:write(table.concat(names, " "))
    file:close()
    vlc.misc.quit()
  end
  return mwait(...)
end

dofile(os.getenv "KONTEXT_EXAMPLE")
