--- The models: one row each, and nothing about a model stands anywhere else.
--- To add a model, add a row here (or call `models.define`) and its name to spec/models_spec.lua.
---
--- A row has
---   path            where an edit is sent
---   fields          what may be sent, in the order of the request's JSON
---   images          how pictures are given: { style, first, max } and what they may be
---   mask            the field of a mask that must be as large as the picture, where there is one
---   sizes           how large the answer will be: { rule }, see kontext.geometry
---   formats         what the service makes, with `default_format`
---   strict          the service refuses fields that it does not know
---   reasons         a task is also "Reasoning" and "Generating" before it is Ready: the emulator's
---   active          how many tasks may be active at once
---   price           what an edit costs in credits: { rule }, see kontext.price
---   cost_at         "submit" or "poll": which answer names the cost
---   link_life       seconds that a signed link lives after Ready
---   confirmed       false: one source only; `doubts` names the single facts of which that is so
---   as_of           the month in which the row was last compared with what is published
---
--- A field has a `name`, a `type` and what its value may be: `min`, `max`, `max_length`, `choices`,
--- `default`, `required`, `nullable` (false: null is not as good as absent). A fact that is not
--- confirmed never refuses a value: it warns.
local row_rules = require "kontext.row"

local models = {}

--- The model of an edit that names none.
models.default = "flux-kontext-pro"

--- Short names.
models.aliases = { pro = "flux-kontext-pro", max = "flux-kontext-max" }

-- Returns a field.
local function field(name, kind, facts)
  facts = facts or {}
  facts.name, facts.type = name, kind
  return facts
end

-- Fields that several models have.
local prompt = field("prompt", "text", { required = true })
local optional_prompt = field("prompt", "text", { default = "", may_be_empty = true })
local seed = field("seed", "seed")
local webhook_url = field("webhook_url", "url", { max_length = 2083 })
local webhook_secret = field("webhook_secret", "secret")
local user = field("user", "text", { max_length = 256, as_of = "2026-09" })
local disable_pup = field("disable_pup", "boolean", { default = false, nullable = false,
  as_of = "2026-09" })
local three_formats = { "jpeg", "png", "webp" }

local function safety(max, facts)
  facts = facts or {}
  facts.min, facts.max, facts.default, facts.nullable = 0, max, 2, false
  return field("safety_tolerance", "integer", facts)
end

local function output_format(default)
  return field("output_format", "choice", { choices = three_formats, default = default })
end

-- Returns the fields in which FLUX.2 and Kontext take one picture each.
local function numbered(count)
  local fields = { field("input_image", "image") }
  for i = 2, count do fields[i] = field("input_image_" .. i, "image") end
  return fields
end

-- Returns one list of what single fields and lists of fields are given.
local function list(...)
  local fields = {}
  for i = 1, select("#", ...) do
    local part = select(i, ...)
    if part and part.name then
      fields[#fields + 1] = part
    elseif part then
      for _, one in ipairs(part) do fields[#fields + 1] = one end
    end
  end
  return fields
end

local rows = {}

-- FLUX.1 Kontext ----------------------------------------------------------------------------------

local function kontext(name, credits, active)
  rows[name] = {
    path = "/v1/" .. name,
    fields = list(
      -- The service's tokenizer is not available: this is more than 512 tokens in any language.
      field("prompt", "text", { required = true, max_bytes = 16384, max_tokens = 512 }),
      numbered(4),
      field("aspect_ratio", "ratio", { min = 3 / 7, max = 7 / 3 }),
      seed, field("prompt_upsampling", "boolean", { default = false, nullable = false }),
      safety(6, { max_with_image = 2 }),
      field("output_format", "choice", { choices = { "jpeg", "png" }, default = "jpeg" }),
      webhook_url, webhook_secret, user),
    images = { style = "numbered", first = "input_image", max = 4, max_bytes = 20e6,
      max_pixels = 20e6 },
    sizes = { rule = "17 sizes" },
    formats = { "jpeg", "png" }, default_format = "jpeg",
    active = active, cost_at = "poll", link_life = 600,
    price = { rule = "flat", credits = credits, confirmed = true, as_of = "2026-10" },
    confirmed = true, as_of = "2026-10",
  }
end

kontext("flux-kontext-pro", 4, 24)
kontext("flux-kontext-max", 8, 6)

-- FLUX.2 ------------------------------------------------------------------------------------------

local function flux2(name, facts)
  rows[name] = {
    path = "/v1/" .. name,
    fields = list(prompt, facts.before, numbered(facts.images), seed,
      field("width", "integer", { min = 64 }), field("height", "integer", { min = 64 }),
      facts.after, safety(5), output_format "jpeg", webhook_url, webhook_secret, user,
      -- No published document has it: a program that sets it gets a warning, and it is not sent.
      field("transparent_bg", "boolean", { confirmed = false, send = false })),
    images = { style = "numbered", first = "input_image", max = facts.images, min_side = 64 },
    sizes = { rule = "width x height", min_side = 64, max_area = 4194304, multiple = 16,
      doubts = { multiple = true } },
    formats = three_formats, default_format = "jpeg",
    active = 24, cost_at = "submit", link_life = 600,
    price = { rule = "megapixels", first = facts.first, output = facts.extra, input = facts.extra,
      max_megapixels = 4, confirmed = not facts.preview, doubts = { megapixels = true },
      as_of = "2026-09" },
    confirmed = true, as_of = "2026-09",
  }
end

flux2("flux-2-pro", { images = 8, before = disable_pup, first = 3, extra = 1.5 })
flux2("flux-2-max", { images = 8, before = disable_pup, first = 7, extra = 3 })
flux2("flux-2-flex", { images = 8, first = 5, extra = 5,
  before = field("prompt_upsampling", "boolean", { default = true }),
  after = list(field("guidance", "number", { min = 1.5, max = 10, default = 5 }),
    field("steps", "integer", { min = 1, max = 50, default = 50 })) })
flux2("flux-2-klein-4b", { images = 4, first = 1.4, extra = 0.1 })
flux2("flux-2-klein-9b", { images = 4, first = 1.5, extra = 0.2 })
flux2("flux-2-pro-preview", { images = 8, before = disable_pup, first = 3, extra = 1.5,
  preview = true })
flux2("flux-2-klein-9b-preview", { images = 4, first = 1.5, extra = 0.2, preview = true })

-- FLUX 3 ------------------------------------------------------------------------------------------

local flux3_ratios = { "auto", "21:9", "2:1", "16:9", "3:2", "7:5", "4:3", "5:4", "1:1", "4:5",
  "3:4", "5:7", "2:3", "9:16", "1:2", "9:21" }
local flux3_resolutions = { "768sq", "1k", "1.5k", "2k", "4k" }
local aspect_ratio = field("aspect_ratio", "choice", { choices = flux3_ratios, default = "auto" })
local resolution = field("resolution", "choice", { choices = flux3_resolutions, default = "1k" })
-- The whole table of sizes is not published: what is not in `known` is computed from these.
local flux3_areas = { ["768sq"] = 768 ^ 2, ["1k"] = 1024 ^ 2, ["1.5k"] = 1536 ^ 2,
  ["2k"] = 2048 ^ 2, ["4k"] = 4096 ^ 2 }

rows["flux-3-image"] = {
  path = "/v1/flux-3-image",
  fields = list(field("prompt", "text", { required = true, max_length = 15000 }),
    field("images", "images", { max = 10 }), aspect_ratio, resolution,
    safety(4, { doubts = { max = true } }), field("grounding", "boolean", { default = true }),
    field("version", "text", { default = "latest" })),
  images = { style = "list", first = "images", max = 10, min_side = 256, max_pixels = 16e6,
    max_base64 = 20e6, max_ratio = 64 },
  sizes = { rule = "ratio and resolution", areas = flux3_areas, ratios = flux3_ratios,
    known = { ["1k 4:3"] = { 1184, 880 }, ["1k 3:4"] = { 880, 1184 },
      ["1.5k 3:4"] = { 1328, 1760 }, ["2k 16:9"] = { 2736, 1536 } } },
  formats = { "png" }, default_format = "png",
  strict = true, reasons = true, active = 24, cost_at = "submit", link_life = 3600,
  doubts = { active = true },
  price = { rule = "resolution", default = "1k", confirmed = true, doubts = { ["1.5k"] = true },
    credits = { ["768sq"] = 4.1, ["1k"] = 4.8, ["1.5k"] = 7, ["2k"] = 10, ["4k"] = 60.7 },
    as_of = "2026-10" },
  confirmed = true, as_of = "2026-10",
}

rows["flux-3-image-klein"] = {
  path = "/v1/flux-3-image-klein",
  fields = list(prompt, field("images", "images", { max = 10 }), aspect_ratio, resolution,
    field("width", "integer"), field("height", "integer"), seed,
    field("steps", "integer", { min = 1 }), safety(7), output_format()),
  images = { style = "list", first = "images", max = 10 },
  sizes = { rule = "ratio and resolution", areas = flux3_areas, ratios = flux3_ratios,
    exact = true },
  formats = three_formats, default_format = "png",
  reasons = true, active = 24, cost_at = "submit", link_life = 600,
  price = { rule = "resolution", default = "1k", confirmed = false,
    credits = { ["1k"] = 0.9, ["2k"] = 1.4, ["4k"] = 3.6 }, as_of = "2026-10" },
  confirmed = false, as_of = "2026-10",
}

-- FLUX.1 Fill and Expand --------------------------------------------------------------------------

local function flux1_tool(name, facts)
  rows[name] = {
    path = "/v1/" .. name,
    fields = list(field("image", "image", { required = true }), facts.fields, optional_prompt,
      field("steps", "integer", { min = 15, max = 50, default = 50 }),
      field("prompt_upsampling", "boolean", { default = false }), seed,
      field("guidance", "number", { min = 1.5, max = 100, default = 60 }), output_format "jpeg",
      safety(6), webhook_url, webhook_secret, user),
    images = { style = facts.mask and "image and mask" or "single", first = "image", max = 1,
      url_confirmed = false },
    mask = facts.mask,
    sizes = facts.sizes,
    formats = three_formats, default_format = "jpeg",
    active = 24, cost_at = "poll", link_life = 600,
    price = { rule = "flat", credits = 5, confirmed = facts.price_confirmed, as_of = "2026-06" },
    confirmed = true, as_of = "2026-09",
  }
end

flux1_tool("flux-pro-1.0-fill", {
  fields = field("mask", "image"), mask = { name = "mask", white = "change", or_alpha = true },
  sizes = { rule = "input" }, price_confirmed = true,
})
local function margin(name) return field(name, "integer", { min = 0, max = 2048, default = 0 }) end
flux1_tool("flux-pro-1.0-expand", {
  fields = list(margin "top", margin "bottom", margin "left", margin "right"),
  sizes = { rule = "margins", doubts = { size = true } }, price_confirmed = false,
})

-- FLUX Tools --------------------------------------------------------------------------------------

local function tool(name, facts)
  local hooks = not facts.strict and list(webhook_url, webhook_secret) or nil
  rows["flux-tools/" .. name] = {
    path = "/v1/flux-tools/" .. name,
    fields = list(facts.fields, not facts.strict and seed, safety(5),
      output_format(facts.format or "png"), hooks, user),
    images = facts.images,
    mask = facts.mask,
    sizes = facts.sizes,
    formats = three_formats, default_format = facts.format or "png",
    strict = facts.strict, active = 24, cost_at = "submit", link_life = 600,
    doubts = { active = true, link_life = true },
    price = facts.price,
    confirmed = true, as_of = "2026-09",
  }
  facts.price.as_of = "2026-09"
end

tool("erase-v1", {
  fields = list(field("image", "image", { required = true }),
    field("mask", "image", { required = true }),
    field("dilate_pixels", "integer", { min = 0, max = 25, default = 10 })),
  images = { style = "image and mask", first = "image", max = 1, min_side = 256 },
  mask = { name = "mask", white = "remove" },
  sizes = { rule = "input" },
  price = { rule = "megapixels", first = 3, output = 0.4, input = 0, confirmed = false },
})
tool("outpainting-v1", {
  strict = true,
  fields = list(field("input_image", "image", { required = true }),
    field("width", "integer", { required = true, min = 64 }),
    field("height", "integer", { required = true, min = 64 }),
    field("auto_crop", "boolean", { default = false }), field("reference_offset_x", "integer"),
    field("reference_offset_y", "integer"), field("prompt", "text", { may_be_empty = true }),
    field("mode", "choice", { choices = { "high", "fast" }, default = "high" }), disable_pup),
  images = { style = "single", first = "input_image", max = 1 },
  sizes = { rule = "exact", min_side = 64, max_area = 4194304, doubts = { max_area = true } },
  price = { rule = "mode", default = "high", high = { per_megapixel = 10 },
    fast = { credits = 4.5 }, confirmed = true, doubts = { fast = true } },
})
tool("deblur-v1", {
  fields = list(field("image", "image", { required = true })),
  images = { style = "single", first = "image", max = 1, max_pixels = 4 * 1024 ^ 2 },
  sizes = { rule = "input" },
  price = { rule = "flat", credits = 3, confirmed = false },
})
tool("vto-v2", {
  format = "jpeg",
  fields = list(prompt, field("person", "image", { required = true }),
    field("garment", "image", { required = true })),
  images = { style = "named", first = "person", max = 2 },
  sizes = { rule = "input", of = "person", shrinks_above = 4 * 1024 ^ 2, shrinks_to = 1024 ^ 2 },
  price = { rule = "first input", first = 3.75, input = 0.5, output = 0.5, confirmed = false },
})

-- Looking rows up ---------------------------------------------------------------------------------

local own = {} -- names of the rows that are ours

-- Fills in a row's defaults, and indexes its fields by name.
local function complete(name, row)
  row.name = name
  row.active, row.link_life = row.active or 24, row.link_life or 600
  row.cost_at, row.doubts = row.cost_at or "poll", row.doubts or {}
  row.sizes.doubts = row.sizes.doubts or {}
  row.by_name = {}
  for _, one in ipairs(row.fields) do row.by_name[one.name] = one end
  row.price = row.price or { rule = "flat", confirmed = false }
  row.price.doubts = row.price.doubts or {}
  return row
end

for name, row in pairs(rows) do
  complete(name, row)
  own[name] = true
end

--- Finds a model's row by its name or its short name.
---@param name any
---@return table? row not to be changed; nil: no such model
function models.find(name)
  return rows[models.aliases[name] or name]
end

--- Returns whether a model is one of ours, and not a program's.
---@param name string
---@return boolean
function models.is_own(name)
  return own[name] == true
end

--- Finds a model's row by its path.
---@param path string
---@return table? row
function models.by_path(path)
  for _, row in pairs(rows) do
    if row.path == path then return row end
  end
end

--- Returns the names of all models, sorted.
---@return string[]
function models.names()
  local names = {}
  for name in pairs(rows) do names[#names + 1] = name end
  table.sort(names)
  return names
end

--- Returns whether what the row says of one thing is confirmed.
---@param row table
---@param fact? string such as "active"; none: the row as a whole
---@return boolean
function models.is_confirmed(row, fact)
  return row.confirmed ~= false and not (fact and row.doubts[fact])
end

-- Returns a copy that shares no table with what is copied.
local function copy(value)
  if type(value) ~= "table" then return value end
  local made = {}
  for key, item in pairs(value) do made[key] = copy(item) end
  return made
end

--- Adds a program's own model, checked like ours; the top of this file describes a row. Raises when
--- the row is wrong or the name is one of ours.
---@param name string
---@param row table
function models.define(name, row)
  if type(name) ~= "string" or not name:find "^[%w%-%._/]+$" then
    error("a model's name is a string of letters, digits, \"-\", \".\", \"_\" and \"/\"", 2)
  elseif own[name] or models.aliases[name] then
    error(("the model %s is kontext's own"):format(name), 2)
  end
  local wrong = row_rules.wrong(row)
  if wrong then error(("the model %s: %s"):format(name, wrong), 2) end
  local made = copy(row)
  if made.confirmed == nil then made.confirmed = true end
  rows[name] = complete(name, made)
end

--- Returns what is wrong with a row, or nil: what `define` raises.
models.wrong = row_rules.wrong

-- Describes a model to a program.
local function describe(row)
  return {
    name = row.name, path = row.path, fields = copy(row.fields), images = copy(row.images),
    mask = copy(row.mask), sizes = copy(row.sizes), formats = copy(row.formats),
    default_format = row.default_format, strict = row.strict == true, active = row.active,
    price = copy(row.price), cost_at = row.cost_at, link_life = row.link_life,
    doubts = copy(row.doubts), confirmed = row.confirmed ~= false, as_of = row.as_of,
  }
end

--- Called without a name, returns the names of all models, sorted; with one, a copy of what is
--- known of that model: { path, fields, images, sizes, price, confirmed, as_of, … }, or nil and a
--- sentence where there is no such model.
---@param name? string
---@return table? names_or_model
---@return string? message
return setmetatable(models, {
  __call = function(_, name)
    if name == nil then return models.names() end
    if type(name) ~= "string" then
      error("models takes the name of a model, not a " .. type(name), 2)
    end
    local row = models.find(name)
    if row then return describe(row) end
    return nil, ('there is no model "%s"; there are %s'):format(
      name:sub(1, 60):gsub("[%c]", "?"), table.concat(models.names(), ", "))
  end,
})
