--- Prepares an edit of a region before it is paid for: checks what can be checked, then the worker
--- thread reads the mask and cuts out the window that is sent in place of the photograph.
local check = require "kontext.job.check"
local fit = require "kontext.job.fit"
local region = require "kontext.job.region"

local cut = {}

local labels = { jpeg = "JPEG", png = "PNG" }
local endings = { jpeg = ".jpg", png = ".png" }

local function refusal(kind, message)
  return { kind = kind, message = message, stage = "check", charged = false }
end

--- Returns whether a checked edit changes a region of this picture.
---@param checked table of params.check
---@param name string the picture's
---@return boolean
function cut.is_wanted(checked, name)
  return checked.is_region == true and name == "input_image"
end

-- Returns the warning about a plan that scales, or nil.
local function less_sharp(plan)
  return plan.scale < 1 and ("the region is larger than the service's pictures: it is sent and "
    .. "comes back at %.0f%% of its size, and is less sharp than the rest"):format(plan.scale * 100)
    or nil
end

-- Plans the whole picture as an upper limit, until the mask is read.
local function expect(checked, source, known)
  local width, height = check.upright(known)
  local wrong = region.refusal(source) or region.wrong_mask(checked.mask, known)
  if wrong then return nil, wrong end
  return region.plan({ x = 0, y = 0, width = width, height = height }, width, height)
end

--- Plans the window of a checked picture and keeps it in `checked.window`. With a mask, which is
--- read later, this plan is an upper limit, and the window itself has no plan yet.
---@param checked table of params.check
---@param source table {path=, stamp=} or {bytes=}
---@param known table of check.source
---@return kontext.RegionPlan? plan
---@return table? err
function cut.plan(checked, source, known)
  local name, format = check.name(source), known.format
  local width, height = check.upright(known)
  local plan, err
  if checked.mask then
    plan, err = expect(checked, source, known)
  else
    plan, err = region.prepare(source, known, { region = checked.region })
  end
  if not plan then return nil, err end
  if checked.result_format and checked.result_format ~= format then
    return nil, refusal("invalid", ("%s is a %s and stays one when a region of it is edited: "
      .. "end the name in %s, and leave output_format out"):format(name, labels[format],
      endings[format]))
  end
  checked.window = { plan = not checked.mask and plan or nil, source = source, format = format,
    width = width, height = height, bytes = known.bytes,
    mask = checked.mask and checked.mask.path, mask_stamp = checked.mask and checked.mask.stamp,
    strip = checked.strip,
    keep_metadata = checked.keep_metadata }
  local warning = not checked.mask and less_sharp(plan)
  if warning then
    checked.warnings = checked.warnings or {}
    table.insert(checked.warnings, warning)
  end
  return plan
end

-- Ends a job before anything is paid.
local function fail(self, kind, message, code)
  self:fail { kind = kind, code = code, stage = "check", charged = false, message = message,
    retryable = kind == "internal" or nil }
end

local function was_cut(self, event)
  local window = self._params.window
  if event.kind then
    return fail(self, event.kind, ("the region cannot be cut out of %s: %s"):format(
      check.name(window.source), event.detail), event.code)
  end
  self._params.input_image = { bytes = event.body }
  fit.begin(self)
end

local function begin_cut(self)
  local window = self._params.window
  local id, message, code = self._client.transport:cut(self,
    region.cut(window.plan, window.source, window.format))
  if not self:expect(id, was_cut) then
    fail(self, "internal", "the region cannot be cut out: " .. message, code)
  end
end

-- Plans the window around the part that the mask lets change.
local function mask_was_read(self, event)
  local window = self._params.window
  if event.kind then
    return fail(self, event.kind == "image" and "invalid" or event.kind,
      ("the mask %s cannot be used: %s"):format(check.name { path = window.mask }, event.detail),
      event.code)
  end
  local plan, err = region.prepare(window.source, { width = window.width, height = window.height,
    orientation = 1, format = window.format, bytes = window.bytes }, { box = event.box })
  if not plan then return fail(self, err.kind, err.message) end
  window.plan = plan
  local warning = less_sharp(plan)
  if warning then self:warn(warning) end
  begin_cut(self)
end

--- Reads the mask and cuts the window out, then makes the other pictures fit and submits the edit.
---@param self kontext.Job
function cut.begin(self)
  local window = self._params.window
  self._plans = self._plans or {} -- the deadline counts while the worker runs
  if self:key() then self:identity() end -- of the photograph, not of its window
  if window.plan then return begin_cut(self) end
  local id, message, code = self._client.transport:mask(self, { path = window.mask,
    stamp = window.mask_stamp })
  if not self:expect(id, mask_was_read) then
    fail(self, "internal", "the mask cannot be read: " .. message, code)
  end
end

return cut
