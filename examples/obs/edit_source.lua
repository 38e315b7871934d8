-- OBS Studio: edits the picture of an image source while it is on the air, and puts it back.
-- Tools → Scripts → +, then name the source and what to change. OBS keeps its Lua to itself:
-- `require "kontext"` knows what to do about that (docs/hosts.md).
local obs = obslua
local kontext = require "kontext"

local client, job
local settings = { source = "", prompt = "" }
local originals = {} -- source → the file it showed first

local STEP = 10 -- milliseconds

-- Calls `fn` with a source's settings, and gives them back to it if `fn` returns true.
local function with_source(name, fn)
  local source = obs.obs_get_source_by_name(name)
  if not source then return obs.script_log(obs.LOG_WARNING, "kontext: no source " .. name) end
  local data = obs.obs_source_get_settings(source)
  if fn(data) then obs.obs_source_update(source, data) end
  obs.obs_data_release(data)
  obs.obs_source_release(source)
end

local function show(name, path)
  with_source(name, function(data)
    obs.obs_data_set_string(data, "file", path)
    return true
  end)
end

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

local function tick()
  client:step()
  if not job:ended() then return end
  obs.timer_remove(tick)
  if job.image then
    show(settings.source, job.image.path)
  else
    obs.script_log(obs.LOG_WARNING, "kontext: " .. job.error.message)
  end
end

local function edit()
  if job and not job:ended() then return false end
  client = client or kontext.new()
  with_source(settings.source, function(data)
    local path = obs.obs_data_get_string(data, "file")
    originals[settings.source] = originals[settings.source] or path
    job = client:edit { prompt = settings.prompt, input_image = { path = path },
      save_as = free_path(path) }
    obs.timer_add(tick, STEP)
  end)
  return false
end

local function put_back()
  if originals[settings.source] then show(settings.source, originals[settings.source]) end
  return false
end

local script = { edit = edit, put_back = put_back, settings = settings }

function script.job() return job end

function script_description()
  return "Edits the picture of an image source with words."
end

function script_properties()
  local properties = obs.obs_properties_create()
  obs.obs_properties_add_text(properties, "source", "Image source", obs.OBS_TEXT_DEFAULT)
  obs.obs_properties_add_text(properties, "prompt", "What to change", obs.OBS_TEXT_DEFAULT)
  obs.obs_properties_add_button(properties, "edit", "Edit", edit)
  obs.obs_properties_add_button(properties, "back", "Put back", put_back)
  return properties
end

function script_update(data)
  settings.source = obs.obs_data_get_string(data, "source")
  settings.prompt = obs.obs_data_get_string(data, "prompt")
end

return script
