--- The JSON of a submit.
local fields = require "kontext.job.fields"
local json = require "kontext.json"

local body = {}

--- Makes the JSON of a submit. Strings alternate with the images' sources, which the engine reads
--- and writes as base64 while it sends: a picture is never in memory as JSON.
---@param checked table from `params.check`
---@return (string|table)[] pieces
function body.of(checked)
  local pieces, written, before = {}, "", '{"'

  local function image(source)
    if source.url then
      written = written .. json.string(source.url)
    else
      pieces[#pieces + 1] = written .. '"'
      pieces[#pieces + 1] = source
      written = '"'
    end
  end

  local function images(field)
    written = written .. "["
    local i, source = 1, checked[fields.item_name(field.name, 1)]
    while source do
      if i > 1 then written = written .. "," end
      image(source)
      i = i + 1
      source = checked[fields.item_name(field.name, i)]
    end
    written = written .. "]"
  end

  for _, field in ipairs(fields.row_of(checked).fields) do
    local value = checked[field.type == "images" and fields.item_name(field.name, 1) or field.name]
    if value ~= nil and field.send ~= false then
      written = written .. before .. field.name .. '":'
      before = ',"'
      if field.type == "images" then
        images(field)
      elseif field.type == "image" then
        image(value)
      else
        written = written .. fields.writers[field.type](value)
      end
    end
  end
  pieces[#pieces + 1] = written .. "}"
  return pieces
end

return body
