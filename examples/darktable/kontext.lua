-- darktable: edits the selected pictures with words. The results stand beside them, grouped.
-- Put this file into ~/.config/darktable/lua/ as edit_with_words.lua ("kontext" is the module), and
-- `require "edit_with_words"` into ~/.config/darktable/luarc.
local dt = require "darktable"
local kontext = require "kontext"

local client

-- What darktable shows of a picture, its edits included, as a JPEG no larger than is of use: of a
-- region at its full size, for the rest of the picture stays as it is.
local function export(image, region)
  local jpeg, most = dt.new_format "jpeg", region and 0 or 2048
  jpeg.quality, jpeg.max_width, jpeg.max_height = 95, most, most
  local path = os.tmpname() .. ".jpg"
  jpeg:write_image(image, path)
  return path
end

-- car.nef → car-kontext-1.jpg, beside it.
local function free_path(image)
  local stem = image.path .. "/" .. image.filename:gsub("%.%w+$", "")
  for n = 1, math.huge do
    local path = ("%s-kontext-%d.jpg"):format(stem, n)
    local file = io.open(path)
    if not file then return path end
    file:close()
  end
end

-- All are started, then each is waited for: waiting for one drives all, and darktable goes on.
local function edit(images, prompt, region)
  client = client or kontext.new { api_key = os.getenv "BFL_API_KEY" }
  local jobs, stop = {}, false
  local bar = dt.gui.create_job("kontext: " .. prompt, true, function() stop = true end)
  for n, image in ipairs(images) do
    jobs[n] = client:edit { prompt = prompt, region = region,
      input_image = { path = export(image, region) } }
  end
  for n, job in ipairs(jobs) do
    if stop then job:cancel() end
    local result, message = job:wait()
    local path = result and result:save(free_path(images[n]))
    if path then
      dt.database.import(path):group_with(images[n].group_leader)
    else
      dt.print(("kontext: %s: %s"):format(images[n].filename, message))
    end
    bar.percent = n / #jobs
  end
  bar.valid = false
end

local entry = dt.new_widget "entry" { placeholder = "Make it snow", tooltip = "what to change" }
local where = dt.new_widget "entry" { placeholder = "everywhere", tooltip =
  "the only part that may change: x,y,width,height in per cent, such as 25%,40%,20%,30%" }

-- Returns the rectangle that was written, or nil.
local function region()
  local text = (where.text or ""):gsub("%s+", "")
  return text ~= "" and text or nil
end

dt.register_lib("kontext", "edit with words", true, false, {
  [dt.gui.views.lighttable] = { "DT_UI_CONTAINER_PANEL_RIGHT_CENTER", 100 },
}, dt.new_widget "box" {
  orientation = "vertical",
  entry,
  where,
  dt.new_widget "button" {
    label = "edit the selected pictures",
    clicked_callback = function() edit(dt.gui.selection(), entry.text, region()) end,
  },
})

return { edit = edit }
