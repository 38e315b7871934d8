-- In OBS: edits the source "Photo" by the example and puts it back; writes which file it showed.
local obs = obslua
local out = os.getenv "KONTEXT_OUT"

local example = dofile(os.getenv "KONTEXT_EXAMPLE")
local shown = {}

local function file_of_source()
  local source = obs.obs_get_source_by_name "Photo"
  if not source then return nil end
  local data = obs.obs_source_get_settings(source)
  local path = obs.obs_data_get_string(data, "file")
  obs.obs_data_release(data)
  obs.obs_source_release(source)
  return path:match "[^/]*$"
end

local function look()
  local file = file_of_source()
  if not file then return end -- the scenes are not loaded yet
  if #shown == 0 then
    example.settings.source, example.settings.prompt = "Photo", "Make it snow"
    example.edit()
  end
  if shown[#shown] ~= file then shown[#shown + 1] = file end
  if #shown == 2 then example.put_back() end
  if #shown == 3 or example.job() and example.job().error then
    local report = assert(io.open(out .. "/shown", "w"))
    local problem = example.job().error
    report:write(table.concat(shown, " "), problem and problem.message or "")
    report:close()
    os.execute "kill -KILL $PPID" -- it asks before it quits
  end
end

obs.timer_add(look, 100)
