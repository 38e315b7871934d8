--- What an edit will cost and how large its answer will be, before anything is sent.
local chains = require "kontext.chains"
local check = require "kontext.job.check"
local cut = require "kontext.job.cut"
local errors = require "kontext.errors"
local fit = require "kontext.job.fit"
local geometry = require "kontext.geometry"
local models = require "kontext.models"
local params = require "kontext.job.params"
local price = require "kontext.price"

local estimate = {}

---@class kontext.Estimate
---@field model string
---@field credits number? the most that the service can charge; nil: the price is not known
---@field usd number?
---@field width integer? of the answer; nil: not known beforehand, as with a URL
---@field height integer?
---@field upload integer? bytes of the request's body; nil with `fit`, and a picture to be scaled
---@field confirmed boolean false: it relies on a fact that only one source states
---@field as_of string? the month of the price
---@field warnings string[]?

-- Returns how many bytes a body has, from the sizes of its pictures.
local function body_size(checked, known)
  local by_source, size = {}, 0
  for _, picture in ipairs(params.pictures(checked)) do
    by_source[picture.source] = known[picture.name]
  end
  for _, piece in ipairs(params.body(checked)) do
    if type(piece) == "string" then
      size = size + #piece
    else
      local bytes = by_source[piece] and by_source[piece].bytes
      if not bytes then return nil end
      size = size + math.ceil(bytes / 3) * 4
    end
  end
  return size
end

--- Estimates an edit whose parameters and pictures were checked.
---@param checked table from `params.check`
---@param known table<string, table?> by name, {width, height, bytes} of each picture as it will be
--- sent; without `bytes` where that is not known yet, and nothing of a URL
---@return kontext.Estimate
function estimate.of(checked, known)
  local row = models.find(checked.model)
  local pictures, first = {}, nil
  local followed = row.sizes.of or row.images.first
  for _, picture in ipairs(params.pictures(checked)) do
    local of = known[picture.name] or {}
    if picture.name == followed or picture.name == followed .. "[1]" then first = of end
    if not picture.is_mask then pictures[#pictures + 1] = of end
  end
  local width, height, sure = geometry.output_size(row, checked, first)
  local credits, confirmed = price.credits(row, checked, { width = width, height = height },
    pictures)
  return {
    model = row.name, credits = credits, usd = credits and credits / 100,
    width = width, height = height, upload = body_size(checked, known),
    confirmed = confirmed and (width == nil or sure == true), as_of = row.price.as_of,
    warnings = checked.warnings,
  }
end

-- Reads the pictures' headers, and takes from `made` what other edits will make. Returns what is
-- known of each as it will be sent, and the size of the photograph of which a region is edited; or
-- nil and an error.
local function look(checked, made)
  local known, whole = {}, nil
  for _, picture in ipairs(params.pictures(checked)) do
    local result = params.result_key(picture.source)
    if result then
      known[picture.name] = made[result]
    elseif not picture.source.url then
      local has_window = cut.is_wanted(checked, picture.name)
      local found, err = check.source(picture.source, checked.fit or has_window, checked.model)
      if not found then return nil, err end
      local width, height = check.upright(found)
      local format, bytes = found.format, found.bytes
      local plan
      if has_window then
        plan, err = cut.plan(checked, picture.source, found)
        if not plan then return nil, err end
        whole = { width = width, height = height, format = found.format }
        plan, bytes = plan.upload, plan.upload.bytes
      else
        plan = checked.fit and fit.plan(found, checked)
        bytes = not plan and bytes or nil
      end
      known[picture.name] = { format = format, bytes = bytes,
        width = plan and plan.width or width, height = plan and plan.height or height }
    end
  end
  return known, whole
end

local function refusal(kind, message)
  return errors.new { kind = kind, message = message, stage = "check", charged = false }
end

-- Estimates an edit. `made` has, by key, the pictures that other edits will make. Returns the
-- estimate and what is known of the picture that this one makes; or nil and an error.
local function one(given, default_model, made, level)
  if type(given) == "table" and given.prompt == nil then
    local row = models.find(given.model or default_model or models.default)
    local copy = {}
    for key, value in pairs(given) do copy[key] = value end
    if not row or row.by_name.prompt then copy.prompt = "?" end
    given = copy
  end
  local checked, message = params.check(given, level + 1, default_model)
  if not checked then return nil, refusal("invalid", message) end
  local known, whole = look(checked, made)
  if not known then return nil, errors.copy(whole) end
  local done
  done, message = params.check_pictures(checked, known)
  if not done then return nil, refusal("image", message) end
  -- The mask's pixels tell how large the window is, and reading them would hold up the host.
  if checked.window and not checked.window.plan then known.input_image = {} end
  local found = estimate.of(checked, known)
  return found, whole or found.width and
    { width = found.width, height = found.height, format = checked.output_format } or nil
end

--- Estimates an edit. Nothing is sent; of pictures only the headers are read.
---@param given table the parameters of an edit; the prompt may be missing
---@param default_model? string the model of an edit that names none
---@return kontext.Estimate? estimate
---@return string? message
---@return kontext.Error? err what the edit itself would end with
function estimate.estimate(given, default_model)
  local found, err = one(given, default_model, {}, 2)
  if found then return found end
  return errors.result(err)
end

--- Estimates the edits of a list. As in a batch, an edit may take the result of another.
---@param list table[] with keys that differ, and nothing that `kontext.chains` finds wrong
---@param default_model? string the model of an edit that names none
---@return (kontext.Estimate|false)[] estimates false: refused, or what it takes the result of
---@return table<integer, kontext.Error> errs by item: why
function estimate.list(list, default_model)
  local index_of, found, errs, made = {}, {}, {}, {}
  for i, item in ipairs(list) do
    if item.key ~= nil then index_of[item.key] = i end
  end
  local function visit(i)
    if found[i] ~= nil then return end
    found[i] = false
    local item, is_whole = list[i], true
    for _, key in ipairs(chains.needs(item)) do
      local parent = index_of[key]
      if parent then
        visit(parent)
        is_whole = is_whole and found[parent] ~= false
      end
    end
    if not is_whole then return end
    local estimated, more = one(chains.marked(item), default_model, made, 2)
    if not estimated then
      errs[i] = more
    else
      found[i] = estimated
      if item.key ~= nil then made[item.key] = more end
    end
  end
  for i in ipairs(list) do visit(i) end
  return found, errs
end

return estimate
