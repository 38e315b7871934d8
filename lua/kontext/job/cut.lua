--- Before an edit of a region is paid for: what can be checked is checked, then the window is cut
--- out of the photograph on the worker thread and sent in the photograph's place.
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

--- Plans the window of a checked picture and keeps it in `checked.window`.
---@param checked table of params.check
---@param source table {path=, stamp=} or {bytes=}
---@param known table of check.source
---@return kontext.RegionPlan? plan
---@return table? err
function cut.plan(checked, source, known)
  local name, format = check.name(source), known.format
  local width, height = check.upright(known)
  local plan, err = region.prepare(source, known, { region = checked.region, mask = checked.mask })
  if not plan then return nil, err end
  if checked.result_format and checked.result_format ~= format then
    return nil, refusal("invalid", ("%s is a %s and stays one when a region of it is edited: "
      .. "end the name in %s, and leave output_format out"):format(name, labels[format],
      endings[format]))
  end
  checked.window = { plan = plan, source = source, format = format, width = width,
    height = height, mask = checked.mask and checked.mask.path, strip = checked.strip,
    keep_metadata = checked.keep_metadata }
  if plan.scale < 1 then
    checked.warnings = checked.warnings or {}
    table.insert(checked.warnings, ("the region is larger than the service's pictures: it is sent "
      .. "and comes back at %.0f%% of its size, and is less sharp than the rest"):format(
      plan.scale * 100))
  end
  return plan
end

local function was_cut(self, event)
  local window = self._params.window
  if event.kind then
    return self:fail { kind = event.kind, code = event.code, stage = "check", charged = false,
      message = ("the region cannot be cut out of %s: %s"):format(check.name(window.source),
        event.detail) }
  end
  self._params.input_image = { bytes = event.body }
  fit.begin(self)
end

--- Cuts the window out; then the other pictures are made to fit, and the edit is sent.
---@param self kontext.Job
function cut.begin(self)
  local window = self._params.window
  self._plans = self._plans or {} -- the deadline counts while the worker runs
  if self:key() then self:identity() end -- of the photograph, not of its window
  local id, message, code = self._client.transport:cut(self,
    region.cut(window.plan, window.source, window.format))
  if not self:expect(id, was_cut) then
    self:fail { kind = "internal", code = code, stage = "check", charged = false, retryable = true,
      message = "the region cannot be cut out: " .. message }
  end
end

return cut
