--- Puts the service's answer to an edit of a region back into the photograph, on the worker thread.
--- The answer is paid for: it is kept whatever goes wrong, and never under the photograph's name.
local check = require "kontext.job.check"
local core = require "kontext.core"
local image = require "kontext.image"
local region = require "kontext.job.region"
local save = require "kontext.job.save"

local compose = {}

local poor_match = 0.7 -- below this the answer itself is saved as well
local most_names = 100 -- to try while other programs take each name first

-- Returns a rectangle's four numbers as a journal keeps them.
local function text_of(rect)
  return ("%d,%d,%d,%d"):format(rect.x, rect.y, rect.width, rect.height)
end

local function copy(rect)
  return { x = rect.x, y = rect.y, width = rect.width, height = rect.height }
end

local function rect_of(text)
  local x, y, width, height = (text or ""):match "^(%d+),(%d+),(%d+),(%d+)$"
  if not x or #text > 60 then return nil end
  return { x = tonumber(x), y = tonumber(y), width = tonumber(width), height = tonumber(height) }
end

--- Adds the fields that composing needs to a job's fields for the journal.
---@param window table? of the job's parameters
---@param known table
function compose.note(window, known)
  if not window then return end
  known.region = window.region or window.plan and text_of(window.plan.region)
  if not window.plan then return end -- the mask was not read, so nothing was paid
  known.window = text_of(window.plan.window)
  known.source, known.stamp, known.mask = window.source.path, window.source.stamp, window.mask
  known.metadata = window.strip and "strip" or window.keep_metadata == false and "none" or nil
end

--- Returns the window of a resumed edit of a region, or nil if it was no edit of a region. A token
--- does not name the photograph: then only the answer itself can be saved.
---@param known table of a token or a journal
---@return table? window
function compose.restore(known)
  if not known.region then return nil end
  local window = { region = known.region }
  local rect, box = rect_of(known.region), rect_of(known.window)
  if not rect or not box or not known.source then
    window.missing = "only the journal of the process that began the edit knows the photograph"
    return window
  end
  window.plan, window.mask = { window = box, region = rect }, known.mask
  window.source = { path = known.source, stamp = known.stamp }
  window.strip, window.keep_metadata = known.metadata == "strip", known.metadata ~= "none"
  return window
end

-- Returns the name for the answer itself, beside the photograph's.
local function answer_name(path, format)
  local stem = path:match "^(.*[^/])%.%w+$" or path
  return stem .. "-answer" .. (format == "jpeg" and ".jpg" or ".png")
end

local function digest(bytes)
  return core.base64(core.md5(bytes))
end

-- Ends a job with an error, because its answer cannot be put back; the answer is kept.
local function failed(self, event)
  local result, answer = self._result, self._answer
  local aside = save.aside(self, answer)
  result.bytes, result.original_answer = answer, answer
  self.image = image.new(result, self)
  self:fail { kind = event.kind, code = event.code, stage = "save", charged = true,
    message = ("the answer cannot be put back into %s: %s; the service's own picture of the window "
      .. "is in job.image%s"):format(check.name(self._params.window.source or {}), event.detail,
      aside and ", and was put aside as " .. aside or "") }
end

-- Ends a job with the answer itself, under another name: the photograph is gone or has changed.
local function keep_answer(self, why)
  local result, answer, path = self._result, self._answer, self._params.save_as
  result.original_answer = answer
  if path then
    local message, code
    path, message, code = save.beside(self, answer_name(path, result.format), answer)
    if not path then
      return failed(self, { kind = "file", code = code, detail = why .. ", and " .. message })
    end
    result.path = path
  else
    result.bytes = answer
  end
  self:warn(("the answer was not put back: %s; %s the service's own picture of the window"):format(
    why, path and path .. " is" or "this is"))
  save.done(self, digest(answer), #answer)
end

-- Returns why the answer has no photograph to go into any more, or nil.
local function source_loss(self, event)
  local source = self._params.window.source
  if event.code == "ESTALE" then
    return check.name(source) .. " was changed since the edit was begun"
  elseif event.kind == "file" and source.path
    and not self._client.system.file_info(source.path) then
    return check.name(source) .. " is gone"
  end
end

-- Saves the answer beside a composite that fits badly, or whose fit cannot be measured.
local function keep_beside(self)
  local result = self._result
  if not result.path then return end -- it is in image.original_answer
  local path, message = save.beside(self, answer_name(result.path, "png"), self._answer)
  local why = result.match and ("the answer fits badly (match %.2f)"):format(result.match)
    or "nobody can tell how well the answer fits"
  self:warn(why .. ": the service's own picture of the window " .. (path and "is saved as " .. path
    or "could not be saved: " .. message))
end

local put_back

local function composed(self, event)
  self._plans = nil
  local window, result = self._params.window, self._result
  if event.kind then
    self._names = (self._names or 0) + 1
    if event.code == "EEXIST" and self._reserved and self._names < most_names
      and not save.take_next_name(self) then
      return put_back(self)
    end
    local why = source_loss(self, event)
    if why then return keep_answer(self, why) end
    return failed(self, event)
  end
  result.original_answer, result.match = self._answer, event.match
  if event.match then result.shift = { x = event.shift_x, y = event.shift_y } end
  result.region, result.window = copy(window.plan.region), copy(window.plan.window)
  result.format, result.width, result.height = window.format, window.width, window.height
  if self._params.save_as then
    result.path, self._reserved = self._params.save_as, nil
  else
    result.bytes = event.body
  end
  if event.warning then self:warn(event.warning) end
  if not event.match or event.match < poor_match then keep_beside(self) end
  self.received, self.total = event.size, event.size
  save.done(self, event.md5, event.size)
end

function put_back(self)
  if not save.may_begin(self, function() put_back(self) end) then return end
  local given, window = self._params, self._params.window
  local wrong = save.leave_others(self, window.source.path)
  if wrong then
    return failed(self, { kind = "file", code = wrong.code, detail = wrong.message })
  end
  local id, message, code = self._client.transport:compose(self,
    region.compose(window.plan, window.source, { answer = self._answer, mask = window.mask,
      to = given.save_as, no_replace = self._reserved ~= nil,
      keep_metadata = window.keep_metadata, strip = window.strip }))
  if not self:expect(id, composed) then
    return failed(self, { kind = "internal", code = code, detail = message })
  end
  self._plans = {} -- the deadline counts while the worker runs
end

-- Reads the facts about a resumed job's photograph that the first process had; else returns why
-- not.
local function look_again(self, window)
  local known = self._client.system.check { path = window.source.path }
  if not known then return check.name(window.source) .. " is gone" end
  window.format = known.format
  window.width, window.height = check.upright(known)
end

--- Puts a whole answer that has arrived in memory back into the photograph.
---@param self kontext.Job
function compose.begin(self)
  local held, window = self._held, self._params.window
  self._held = nil
  local bytes, message = self._client.transport:finish(held)
  if not bytes then
    self._flaw = message
    return self:later(1, self._fetch)
  end
  self._answer = bytes
  local why = window.missing or not window.format and look_again(self, window)
  if why then return keep_answer(self, why) end
  put_back(self)
end

--- Puts the answer of a job that ends while composing aside; returns the end of the job's message.
---@param self kontext.Job
---@return string
function compose.abandon(self)
  local aside = self._answer and save.aside(self, self._answer)
  return aside and "; the service's own picture of the window was put aside as " .. aside or ""
end

return compose
