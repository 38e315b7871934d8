-- What the service takes: one table of parameters, judged as FastAPI and pydantic judge them
-- (numbers in strings pass, unknown members are ignored), each refusal one entry of `detail`.

local json = require "kontext.emulator.json"
local body = require "kontext.emulator.body"
local rehearsals = require "kontext.emulator.rehearsals"

local rules = {}

-- Each judge gets a value that is not null and the field's row, and returns the value to use, or
-- nil, pydantic's type of error and its message.
local judge = {}

function judge.string(value)
  if type(value) == "string" then return value end
  return nil, "string_type", "Input should be a valid string"
end

function judge.prompt(value)
  local kind, message = select(2, judge.string(value))
  if kind then return nil, kind, message end
  local unknown = select(2, rehearsals.parse(value))
  if not unknown then return value end
  return nil, "value_error", ("Value error, the emulator knows no rehearsal %q"):format(unknown)
end

function judge.boolean(value)
  if type(value) == "boolean" then return value end
  local words = {
    ["1"] = true, ["true"] = true, t = true, y = true, yes = true, on = true,
    ["0"] = false, ["false"] = false, f = false, n = false, no = false, off = false,
  }
  local known = words[(tostring(value):lower():gsub("%.0$", ""))]
  if known ~= nil then return known end
  if type(value) == "table" then
    return nil, "bool_type", "Input should be a valid boolean"
  end
  return nil, "bool_parsing", "Input should be a valid boolean, unable to interpret input"
end

function judge.integer(value, field)
  local text, number = value, value
  if type(value) == "boolean" then number = value and 1 or 0 end
  if type(value) == "string" then
    number = tonumber((text:match "^%s*([+-]?%d+)%s*$" or text:match "^%s*([+-]?%d+)%.0+%s*$"))
    if not number then
      return nil, "int_parsing",
        "Input should be a valid integer, unable to parse string as an integer"
    end
  elseif type(number) ~= "number" then
    return nil, "int_type", "Input should be a valid integer"
  elseif number % 1 ~= 0 then
    return nil, "int_from_float",
      "Input should be a valid integer, got a number with a fractional part"
  end
  if field.least and number < field.least then
    return nil, "greater_than_equal",
      ("Input should be greater than or equal to %d"):format(field.least)
  end
  if field.most and number > field.most then
    return nil, "less_than_equal", ("Input should be less than or equal to %d"):format(field.most)
  end
  return number
end

function judge.choice(value, field)
  for _, choice in ipairs(field.choices) do
    if value == choice then return value end
  end
  return nil, "enum", ("Input should be '%s'"):format(table.concat(field.choices, "' or '"))
end

function judge.ratio(value)
  local _, kind, message = judge.string(value)
  if kind then return nil, kind, message end
  local w, h = value:match "^%s*(%d+%.?%d*)%s*:%s*(%d+%.?%d*)%s*$"
  w, h = tonumber(w), tonumber(h)
  if not w then
    return nil, "value_error", "Value error, aspect_ratio should be 'width:height', such as '16:9'"
  end
  if w <= 0 or h <= 0 or w * 7 < h * 3 or w * 3 > h * 7 then
    return nil, "value_error", "Value error, aspect_ratio should be between 9:21 and 21:9"
  end
  return { w, h }
end

function judge.url(value)
  local _, kind = judge.string(value)
  if kind then return nil, "url_type", "URL input should be a string or URL" end
  if #value > 2083 then
    return nil, "url_too_long", "URL should have at most 2083 characters"
  end
  local scheme, rest = value:match "^(%a[%w+.-]*):/*(.*)$"
  if not scheme then
    return nil, "url_parsing", value == "" and "Input should be a valid URL, input is empty"
      or "Input should be a valid URL, relative URL without a base"
  end
  if not ({ http = true, https = true })[scheme:lower()] then
    return nil, "url_scheme", "URL scheme should be 'http' or 'https'"
  end
  if not rest:match "^[^/?#%s]" then
    return nil, "url_parsing", "Input should be a valid URL, empty host"
  end
  return value
end

function judge.image(value)
  local _, kind, message = judge.string(value)
  if kind then return nil, kind, message end
  if value:match "^https?://" then return { url = value } end
  if value:match "^data:" then
    return nil, "value_error",
      "Value error, expected base64 without a 'data:' prefix, or a URL"
  end
  local bytes = value ~= "" and body.unbase64(value)
  if not bytes then return nil, "value_error", "Value error, not valid base64" end
  return { bytes = bytes }
end

-- In the order of BFL's OpenAPI document. `null = true`: null is as good as absent.
rules.fields = {
  { name = "prompt", judge = "prompt", required = true },
  { name = "input_image", judge = "image", null = true },
  { name = "input_image_2", judge = "image", null = true },
  { name = "input_image_3", judge = "image", null = true },
  { name = "input_image_4", judge = "image", null = true },
  { name = "seed", judge = "integer", null = true },
  { name = "aspect_ratio", judge = "ratio", null = true },
  { name = "output_format", judge = "choice", null = true, choices = { "jpeg", "png" } },
  { name = "webhook_url", judge = "url", null = true },
  { name = "webhook_secret", judge = "string", null = true },
  { name = "prompt_upsampling", judge = "boolean" },
  { name = "safety_tolerance", judge = "integer", least = 0, most = 6 },
}

--- One entry of `detail`.
---@param place any[] where: "body" or "query", then the name
---@param kind string
---@param message string
function rules.refusal(place, kind, message)
  return json.object {
    { "loc", json.array(place) }, { "msg", message }, { "type", kind },
  }
end

-- With a picture to edit, the guide's range ends at 2.
local function most_tolerance(sent)
  return (sent.input_image and sent.input_image ~= json.null) and 2 or 6
end

--- Judges the parameters of a submit. Returns those that were given, in the form the work needs,
--- and a list of refusals, which is empty when all is well.
---@param sent table as it came
---@return table params, table refusals
function rules.judge(sent)
  local params, refusals = {}, json.array {}
  for _, field in ipairs(rules.fields) do
    local name, value = field.name, sent[field.name]
    if value == nil or (value == json.null and field.null) then
      if field.required then
        refusals[#refusals + 1] = rules.refusal({ "body", name }, "missing", "Field required")
      end
    else
      local limits = field
      if name == "safety_tolerance" then limits = { least = 0, most = most_tolerance(sent) } end
      local good, kind, message = judge[field.judge](value, limits)
      if kind then
        refusals[#refusals + 1] = rules.refusal({ "body", name }, kind, message)
      end
      params[name] = good
    end
  end
  return params, refusals
end

return rules
