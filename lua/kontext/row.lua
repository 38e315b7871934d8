--- What a row of a model may hold. `kontext.models.define` checks a program's row by it and the
--- spec checks ours: a row that passes makes no arithmetic on what is not there, and no price that
--- a budget could not hold.
local row = {}

-- The kinds of values, each with what a sentence calls it.
local kinds = {
  truth = { "true or false", function(value) return type(value) == "boolean" end },
  text = { "a text", function(value) return type(value) == "string" and value ~= "" end },
  number = { "a number", function(value)
    return type(value) == "number" and value == value and math.abs(value) < math.huge
  end },
  credits = { "a number of credits, 0 or more", function(value)
    return type(value) == "number" and value >= 0 and value < math.huge
  end },
  amount = { "a number above 0", function(value)
    return type(value) == "number" and value > 0 and value < math.huge
  end },
  count = { "a whole number, 1 or more", function(value)
    return type(value) == "number" and value >= 1 and value < 2 ^ 31 and value % 1 == 0
  end },
  whole = { "a whole number, 0 or more", function(value)
    return type(value) == "number" and value >= 0 and value < 2 ^ 31 and value % 1 == 0
  end },
  facts = { "a table such as { max = true }", function(value)
    if type(value) ~= "table" then return false end
    for name, is in pairs(value) do
      if type(name) ~= "string" or is ~= true then return false end
    end
    return true
  end },
  texts = { "a list of texts", function(value)
    if type(value) ~= "table" or #value == 0 then return false end
    for _, one in ipairs(value) do
      if type(one) ~= "string" then return false end
    end
    return true
  end },
  table = { "a table", function(value) return type(value) == "table" end },
  amounts = { "a table of numbers above 0", function(value)
    if type(value) ~= "table" or next(value) == nil then return false end
    for name, one in pairs(value) do
      if type(name) ~= "string" or type(one) ~= "number" or one ~= one or one <= 0
        or one == math.huge then return false end
    end
    return true
  end },
  any = { "a value", function() return true end },
}

-- The parts of a row, and what each may hold; "!" behind a kind: it must be there.
local parts = {
  row = { name = "text", by_name = "table", path = "text", fields = "table", images = "table",
    mask = "table", sizes = "table", formats = "texts!", default_format = "text!", strict = "truth",
    reasons = "truth", active = "count", price = "table", cost_at = "text", link_life = "amount",
    confirmed = "truth", doubts = "facts", as_of = "text" },
  field = { name = "text", type = "text", required = "truth", min = "number", max = "number",
    max_length = "count", max_bytes = "count", max_tokens = "count", max_with_image = "number",
    choices = "texts", default = "any", nullable = "truth", may_be_empty = "truth", send = "truth",
    confirmed = "truth", doubts = "facts", as_of = "text" },
  images = { style = "text", first = "text", max = "whole", min_side = "amount",
    max_pixels = "amount", max_bytes = "amount", max_base64 = "amount", max_ratio = "amount",
    url_confirmed = "truth", doubts = "facts" },
  mask = { name = "text", white = "text", or_alpha = "truth" },
}

local field_types = { text = {}, image = {}, integer = {}, number = {}, boolean = {}, ratio = {},
  seed = {}, url = {}, secret = {}, choice = { choices = "texts!" }, images = { max = "count!" } }

local image_styles = { numbered = true, list = true, single = true, named = true,
  ["image and mask"] = true, none = true }

local size_rules = {
  ["17 sizes"] = {},
  ["width x height"] = { min_side = "amount!", max_area = "amount!", multiple = "count!" },
  input = { of = "text", shrinks_above = "amount", shrinks_to = "amount" },
  margins = {},
  exact = { min_side = "amount", max_area = "amount" },
  ["ratio and resolution"] = { areas = "amounts!", ratios = "texts!", known = "table",
    exact = "truth" },
}

local price_rules = {
  flat = { credits = "credits" }, -- without: the price is not known
  megapixels = { first = "credits!", output = "credits!", input = "credits!",
    max_megapixels = "amount" },
  resolution = { credits = "amounts!", default = "text!" },
  mode = { default = "text!" }, -- and each mode
  ["first input"] = { first = "credits!", output = "credits!", input = "credits!" },
}
local mode_price = { credits = "credits", per_megapixel = "credits" }

local output_formats = { jpeg = true, png = true, webp = true }

-- The parameters that are ours: a field of that name could not be given.
local reserved = { model = true, timeout = true, save_as = true, fit = true, region = true,
  keep_metadata = true, strip = true, no_replace = true, reserved = true, on_progress = true,
  key = true }

-- Returns what is wrong with a part, or nil. What `more` names is allowed as well.
local function wrong_part(where, part, known, more)
  more = more or {}
  for name in pairs(part) do
    if not known[name] and not more[name] then
      return ("%s has no part %s"):format(where, type(name) == "string" and name or type(name))
    end
  end
  for _, list in ipairs { known, more } do
    for name, kind in pairs(list) do
      local is_needed = kind:sub(-1) == "!"
      kind = kinds[is_needed and kind:sub(1, -2) or kind]
      local value = part[name]
      if value == nil and is_needed or value ~= nil and not kind[2](value) then
        return ("%s: %s must be %s"):format(where, name, kind[1])
      end
    end
  end
end

-- Returns what is wrong with a field, or nil.
local function wrong_field(i, field, seen)
  local name = type(field) == "table" and field.name
  if type(name) ~= "string" or not name:find "^[%l_][%l%d_]*$" then
    return ("field %d has no name of lower-case letters, digits and \"_\""):format(i)
  elseif seen[name] then
    return ("the field %s is there twice"):format(name)
  elseif reserved[name] then
    return ("the field %s has the name of a parameter of kontext's own"):format(name)
  elseif not field_types[field.type] then
    return ("the field %s has no type that is known"):format(name)
  end
  local wrong = wrong_part("the field " .. name, field, parts.field, field_types[field.type])
  if not wrong and field.min and field.max and field.min > field.max then
    wrong = ("the field %s: min is above max"):format(name)
  end
  return wrong
end

-- Returns the fields by name; or nil and what is wrong with them.
local function index(fields)
  if type(fields) ~= "table" or #fields == 0 then return nil, "fields must be a list of fields" end
  local by_name = {}
  for i, field in ipairs(fields) do
    local wrong = wrong_field(i, field, by_name)
    if wrong then return nil, wrong end
    by_name[field.name] = field
  end
  return by_name
end

-- Returns whether a name is that of a field that takes pictures.
local function takes_pictures(by_name, name)
  local field = name and by_name[name]
  return field ~= nil and (field.type == "image" or field.type == "images")
end

local function wrong_pictures(given, by_name)
  local images, mask = given.images, given.mask
  if type(images) ~= "table" or not image_styles[images.style] then
    return "images.style is not known"
  elseif images.style ~= "none" and not takes_pictures(by_name, images.first) then
    return "images.first must name a field of type \"image\" or \"images\""
  elseif images.style ~= "none" and images.max == 0 then
    return "images.max must be 1 or more"
  elseif mask and not (type(mask) == "table" and takes_pictures(by_name, mask.name)
    and mask.name ~= images.first) then
    return "mask.name must name a field of type \"image\", and not the picture's"
  end
  return wrong_part("images", images, parts.images)
    or mask and wrong_part("mask", mask, parts.mask) or nil
end

-- Which fields a rule of sizes reads.
local function wrong_size_fields(sizes, by_name)
  local rule = sizes.rule
  if rule == "width x height" or rule == "exact" then
    for _, name in ipairs { "width", "height" } do
      local field = by_name[name]
      if not field or field.type ~= "integer" or rule == "exact" and not field.required then
        return ('sizes: the rule "%s" needs a field %s of type "integer"%s'):format(rule, name,
          rule == "exact" and " that is required" or "")
      end
    end
  elseif rule == "ratio and resolution" then
    local resolution = by_name.resolution
    for _, name in ipairs(resolution and resolution.choices or { "1k" }) do
      if not sizes.areas[name] then return ("sizes.areas has no %s"):format(name) end
    end
    if not sizes.areas["1k"] then return "sizes.areas has no 1k" end
  elseif rule == "input" and (sizes.shrinks_above == nil) ~= (sizes.shrinks_to == nil) then
    return "sizes: shrinks_above and shrinks_to belong together"
  end
end

local function wrong_sizes(sizes, by_name)
  local rule = type(sizes) == "table" and size_rules[sizes.rule]
  if not rule then return "sizes.rule is not known" end
  return wrong_part("sizes", sizes, { rule = "text", doubts = "facts" }, rule)
    or wrong_size_fields(sizes, by_name)
end

local function wrong_price(price, by_name)
  local rule = type(price) == "table" and price_rules[price.rule]
  if not rule then return "price.rule is not known" end
  local more = {}
  for name, kind in pairs(rule) do more[name] = kind end
  if price.rule == "mode" then
    local field = by_name.mode
    for _, mode in ipairs(field and field.choices or { price.default }) do
      more[tostring(mode)] = "table!"
    end
    if not more[tostring(price.default)] then return "price.default must be a mode" end
  end
  local wrong = wrong_part("price", price, { rule = "text", confirmed = "truth", doubts = "facts",
    as_of = "text" }, more)
  if wrong then return wrong end
  for name, kind in pairs(more) do
    local mode = kind == "table!" and price[name]
    wrong = mode and wrong_part("price." .. name, mode, mode_price)
    if mode and not wrong and not mode.credits and not mode.per_megapixel then
      wrong = ("price.%s must have credits or per_megapixel"):format(name)
    end
    if wrong then return wrong end
  end
end

local function wrong_formats(given)
  for _, format in ipairs(given.formats) do
    if not output_formats[format] then return "formats must be of jpeg, png and webp" end
    if format == given.default_format then return nil end
  end
  return "default_format must be one of formats"
end

--- Returns what is wrong with a row, or nil.
---@param given any
---@return string?
function row.wrong(given)
  if type(given) ~= "table" then return "the row must be a table" end
  local path = given.path
  if type(path) ~= "string" or not path:find "^/[%w%-%._/]+$" or path:find "//"
    or path:find("..", 1, true) then
    return "path must be such as \"/v1/my-model\""
  end
  local by_name, wrong = index(given.fields)
  if not by_name then return wrong end
  wrong = wrong_pictures(given, by_name) or wrong_sizes(given.sizes, by_name)
    or given.price ~= nil and wrong_price(given.price, by_name)
    or wrong_part("the row", given, parts.row) or wrong_formats(given)
  if wrong then return wrong end
  if given.cost_at and given.cost_at ~= "submit" and given.cost_at ~= "poll" then
    return "cost_at must be \"submit\" or \"poll\""
  end
end

return row
