-- pandoc --lua-filter=edit-figures.lua
-- ![A car](car.jpg){edit="Make it red"} shows the edited picture.
-- What was made is kept beside the original, so that the next run pays nothing.
local kontext = require "kontext"

local jobs = {} -- path → job

local function made_of(image)
  local name = pandoc.utils.sha1(image.src .. "\n" .. image.attributes.edit)
  return ("%s-%s.jpg"):format(image.src:gsub("%.%w+$", ""), name:sub(1, 10))
end

local function is_there(path)
  local file = io.open(path)
  return file ~= nil and file:close()
end

local function start(image)
  local prompt = image.attributes.edit
  local path = prompt and made_of(image)
  if not path or jobs[path] or is_there(path) then return end
  jobs[path] = kontext.edit {
    prompt = prompt,
    input_image = { path = image.src },
    save_as = path,
  }
end

local function finish(image)
  if not image.attributes.edit then return end
  local path = made_of(image)
  if jobs[path] then assert(jobs[path]:wait()) end
  image.src, image.attributes.edit = path, nil
  return image
end

return { { Image = start }, { Image = finish } } -- two walks: all run at once
