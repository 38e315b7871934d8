--- `fit = true`: before the upload the worker thread scales a picture to the size to which the
--- service would scale it, turns it upright, and encodes it again.
local check = require "kontext.job.check"
local geometry = require "kontext.geometry"
local models = require "kontext.models"
local submit = require "kontext.job.submit"

local fit = {}

local quality = 95 -- of a JPEG: indistinguishable from the service's own scaling
local taken = { jpeg = true, png = true } -- by the service; other formats become PNG
local memory = 512 * 1024 * 1024 -- bytes that decoding may take; 20 megapixels take 60 to 240 MiB

--- Returns how a picture is made to fit.
---@param known table of check.source
---@param checked table the edit's parameters, of params.check
---@return table? plan {width, height, quality, memory}; nil: it is sent as it is
function fit.plan(known, checked)
  if not check.is_decoded(known.format) then return nil end
  local row = models.find(checked.model)
  local width, height = check.upright(known)
  local to_width, to_height = geometry.fitted_size(row, checked, width, height)
  if not to_width then to_width, to_height = width, height end -- another format, the same size
  if taken[known.format] and width * height <= to_width * to_height
    and not check.is_too_large(known, row) then
    return nil
  end
  return {
    width = math.min(width, to_width),
    height = math.min(height, to_height),
    quality = known.format == "jpeg" and quality or 0,
    memory = memory,
  }
end

local fitted

-- Makes one picture after the other fit, then submits them.
local function next_picture(self)
  local name, plan = next(self._plans)
  if not name then
    self._plans = nil
    return submit.begin(self)
  end
  local transport = self._client.transport
  local how = plan.strip and transport.strip or transport.fit
  local id, message, code = how(transport, self, self._params[name], plan)
  if not self:expect(id, fitted) then
    self:fail { kind = "internal", code = code, stage = "check", charged = false, retryable = true,
      message = ("the picture cannot be %s: %s"):format(plan.strip and "stripped"
        or "made to fit", message) }
  end
end

function fitted(self, event)
  local name = next(self._plans)
  if event.kind then
    return self:fail { kind = event.kind, code = event.code, stage = "check", charged = false,
      message = ("%s cannot be %s: %s"):format(check.name(self._params[name]),
        self._plans[name].strip and "stripped" or "made to fit", event.detail) }
  end
  self._plans[name] = nil
  self._params[name] = { bytes = event.body }
  next_picture(self)
end

--- Makes the job's pictures fit, then submits.
---@param self kontext.Job
function fit.begin(self)
  if self:key() then self:identity() end -- before the pictures change
  next_picture(self)
end

return fit
