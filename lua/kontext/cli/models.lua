--- kontext models: the rows of the table of models, for people and for programs.
local json = require "kontext.json"
local models = require "kontext.models"
local report = require "kontext.cli.report"

local command = {}

-- Returns a number for a sentence.
local function digits(number)
  return json.number(number) or "?"
end

-- What an edit costs, by the rule of the row's price.
local prices = {}

function prices.flat(price)
  return price.credits and digits(price.credits) .. " credits" or "the price is not known"
end

function prices.megapixels(price)
  return ("%s credits, %s more for each further megapixel of the answer%s"):format(
    digits(price.first), digits(price.output),
    price.input > 0 and (" and %s for each of the pictures'"):format(digits(price.input)) or "")
end

function prices.resolution(price)
  local list = {}
  for name, credits in pairs(price.credits) do list[#list + 1] = { name, credits } end
  table.sort(list, function(a, b) return a[2] < b[2] end)
  for i, pair in ipairs(list) do list[i] = pair[1] .. " " .. digits(pair[2]) end
  return table.concat(list, ", ") .. " credits"
end

function prices.mode(price)
  return ("%s credits for each megapixel of the answer; fast: %s"):format(
    digits(price.high.per_megapixel), digits(price.fast.credits))
end

prices["first input"] = function(price)
  return ("%s credits, %s more for each further megapixel of the pictures, and %s for each of the "
    .. "answer"):format(digits(price.first), digits(price.input), digits(price.output))
end

-- The same in a few words.
local outlines = { flat = prices.flat }

local function from_first(price)
  return ("from %s credits, by the megapixel"):format(digits(price.first))
end
outlines.megapixels, outlines["first input"] = from_first, from_first

function outlines.mode(price)
  return digits(price.high.per_megapixel) .. " credits a megapixel"
end

function outlines.resolution(price)
  local least, most = math.huge, 0
  for _, credits in pairs(price.credits) do
    least, most = math.min(least, credits), math.max(most, credits)
  end
  return ("%s to %s credits"):format(digits(least), digits(most))
end

-- How large an answer is, by the rule of the row's sizes.
local sizes = {
  ["17 sizes"] = function() return "the nearest of 17 sizes of about a megapixel" end,
  ["width x height"] = function(of)
    return ("width x height, each from %d on, %d pixels at most; else as input_image"):format(
      of.min_side, of.max_area)
  end,
  exact = function(of)
    return ("width x height as asked for, each from %d on, %d pixels at most"):format(of.min_side,
      of.max_area)
  end,
  input = function(of) return "as " .. (of.of or "the picture") end,
  margins = function() return "the picture and its margins" end,
  ["ratio and resolution"] = function() return "by aspect_ratio and resolution" end,
}

local types = { text = "text", image = "picture", images = "pictures", integer = "whole number",
  number = "number", boolean = "true or false", ratio = "W:H", seed = "whole number", url = "URL",
  secret = "text" }

-- Describes the values of a field in a few words.
local function values(field)
  local parts = { field.choices and table.concat(field.choices, " ") or types[field.type] }
  local is_ratio = field.type == "ratio"
  if field.min and field.max and not is_ratio then
    parts[#parts + 1] = ("%s to %s"):format(digits(field.min), digits(field.max))
  elseif field.min and not is_ratio then
    parts[#parts + 1] = "from " .. digits(field.min)
  elseif field.type == "images" then
    parts[#parts + 1] = ("up to %d"):format(field.max)
  end
  if field.max_length then parts[#parts + 1] = ("up to %d characters"):format(field.max_length) end
  if field.max_with_image then
    parts[#parts + 1] = ("up to %d with a picture"):format(field.max_with_image)
  end
  if field.required then parts[#parts + 1] = "required" end
  if field.default ~= nil and field.default ~= "" then
    parts[#parts + 1] = "default " .. (type(field.default) == "number" and digits(field.default)
      or tostring(field.default))
  end
  if field.confirmed == false then parts[#parts + 1] = "not confirmed" end
  return table.concat(parts, ", ")
end

-- Says in a few words what is not confirmed about a model; nil if everything is.
local function doubt(model)
  if not model.confirmed then return "known from one source only" end
  return model.price.confirmed == false and "the price is not confirmed" or nil
end

-- Returns a model's short names.
local function short_names(model)
  local names = {}
  for short, name in pairs(models.aliases) do
    if name == model.name then names[#names + 1] = short end
  end
  table.sort(names)
  return names
end

local function describe(model)
  local images, lines = model.images, {}
  local function add(name, text)
    lines[#lines + 1] = ("%-10s %s"):format(name, text):gsub(" +$", "")
  end
  local short = short_names(model)
  add(#short > 0 and "names" or "name", table.concat({ model.name, table.concat(short, ", ") },
    #short > 0 and ", " or ""))
  add("path", model.path)
  add("pictures", ("%s%d%s"):format(images.max > 1 and "up to " or "", images.max, model.mask
    and ", and a mask of the same size, in which white is to be changed" or ""))
  add("size", sizes[model.sizes.rule](model.sizes))
  add("formats", ("%s (%s)"):format(table.concat(model.formats, " "), model.default_format))
  add("price", prices[model.price.rule](model.price))
  add("at once", ("%d tasks"):format(model.active))
  add("known", ("%s, %s"):format(doubt(model) or "confirmed", model.as_of or "with no date"))
  add("fields", "")
  for _, field in ipairs(model.fields) do
    lines[#lines + 1] = ("  %-20s %s"):format(field.name, values(field))
  end
  report.say(table.concat(lines, "\n"))
end

-- Writes a model as one line of JSON, or a summary as one line of a table.
local function tell(options, model)
  if options.json then
    model.aliases = short_names(model)
    return report.say_json(model, "name aliases path fields images mask sizes formats "
      .. "default_format strict active price cost_at link_life doubts confirmed as_of")
  end
  local unsure = doubt(model)
  report.say(("%-26s%2d picture%s  %s%s"):format(model.name, model.images.max,
    model.images.max == 1 and " " or "s", outlines[model.price.rule](model.price),
    unsure and (" (%s)"):format(unsure) or ""))
end

--- kontext models [NAME]
---@param options table
---@return integer code
function command.run(options)
  if not options.name then
    for _, name in ipairs(models()) do tell(options, models(name)) end
    return 0
  end
  local model, message = models(options.name)
  if not model then return report.fail(options, { kind = "invalid", message = message }) end
  if options.json then tell(options, model) else describe(model) end
  return 0
end

return command
