--- Fetches the picture without the API key, and checks that it is whole. It is paid for: the
--- download is retried until the deadline, and a whole picture is saved whatever its format.
local api = require "kontext.api"
local compose = require "kontext.job.compose"
local core = require "kontext.core"
local models = require "kontext.models"
local retry = require "kontext.job.retry"
local save = require "kontext.job.save"
local wording = require "kontext.wording"

local download = {}

-- Forgets what has arrived so far.
local function drop(self)
  if self._held then self._client.transport:drop(self._held) end
  self._held = nil
end

-- Tries again after trouble.
local function again(self)
  self._downloads = self._downloads + 1
  self._hops = 0
  self:later(retry.trouble_gap(self._downloads, self._client.system.random), download.fetch)
end

-- Returns the MD5 of a Content-MD5 header as base64, or nil. Servers write it as base64, with or
-- without padding, or as 32 hexadecimal digits.
local function md5_of(text)
  text = text and text:sub(1, 64):match('^%s*"?([%w+/=]+)"?%s*$')
  if not text then return nil end
  if #text == 32 and text:find "^%x+$" then
    return core.base64((text:gsub("%x%x", function(hex) return string.char(tonumber(hex, 16)) end)))
  end
  text = text:gsub("=+$", "")
  return #text == 22 and text .. "==" or nil
end

-- Returns the whole size from a part's Content-Range, as digits, or nil.
local function range_total(event)
  return (event.headers["content-range"] or ""):sub(1, 64):match("/(%d+)$")
end

-- Returns whether a part belongs to another picture than the one that was begun, because the file
-- behind the link has changed. The two together would still begin and end like a picture.
local function is_anothers_part(self, event)
  if event.status == 200 then
    self._etag, self._whole = event.headers.etag, event.headers["content-length"]
    return false
  end
  local total, etag = range_total(event), event.headers.etag
  return event.status == 206 and (total ~= nil and self._whole ~= nil and total ~= self._whole
    or etag ~= nil and self._etag ~= nil and etag ~= self._etag)
end

local texts = { html = true, svg = true, base64 = true }

-- Proxies and portals send texts in place of a picture.
local function is_text(event, known)
  if texts[known.format] then return true end
  local kind = (event.headers["content-type"] or ""):sub(1, 64):lower()
  return known.format == nil and (kind:find "^text/" or kind:find "json" or kind:find "xml"
    or kind:find "html") ~= nil
end

-- Returns why the bytes that arrived are not the whole picture, or nil and what is unusual.
local function flaw(self, event)
  local known, message = self._client.transport:check(self._held)
  if not known then return "it cannot be looked at (" .. tostring(message) .. ")" end
  local told = event.md5 and md5_of(event.headers["content-md5"])
  local whole = event.status == 206 and range_total(event)
  if whole and tonumber(whole) ~= event.received then
    return ("%.0f of %s bytes arrived"):format(event.received, whole)
  elseif told and told ~= event.md5 then
    return "its bytes do not match their Content-MD5"
  elseif is_text(event, known) then
    return "a text came in its place"
  elseif known.ended == false and not told then
    return "its end is missing"
  elseif known.ended == nil and not told and not event.length_known then
    -- Without length, MD5 and end mark it counts as whole if it comes twice with the same size.
    self._sizes = self._sizes or {}
    if not self._sizes[event.received] then
      self._sizes[event.received] = true
      return "nothing says whether it is whole"
    end
  end
  local result = self._result
  result.format, result.width, result.height = known.format, known.width, known.height
  return nil, known.why or known.ended == false and "it has no end mark" or nil
end

-- Takes what has arrived; with save_as the picture is saved when this returns.
local function arrived(self, event)
  local wrong, odd = flaw(self, event)
  if wrong then
    self._flaw = wrong
    drop(self)
    return again(self)
  end
  if odd then self:warn("the picture is unusual: " .. odd .. "; it is kept as it came") end
  self.received, self.total = event.received, event.received
  if self._params.window then return compose.begin(self) end
  save.finish(self, event.md5)
end

-- Returns whether the link has expired, by its own end or by the model's time after Ready, and
-- whether that is certain. The server's clock counts before ours, which may be a day ahead; what
-- only our clock says leaves the picture resumable.
local function has_expired(self, event)
  local date = retry.http_date(event.headers.date)
  local ends = retry.link_end(self._sample)
  local life = models.find(self._params.model).link_life
  local old = self._client:clock()() - self._ready_at >= life
  if not ends then return old, old end
  return (date or self._client.system.wall()) >= ends, date ~= nil or old
end

-- Handles a link that does not work. A fresh link may answer 403 for some seconds, because clocks
-- differ, or 404 until storage has replicated.
local function gone(self, event)
  drop(self)
  self._flaw = wording.transfer_reason(event)
  self._gone_since = self._gone_since or self._client:clock()()
  local expired, sure = has_expired(self, event)
  if not expired then return again(self) end
  if self._sample ~= self._sample_asked then
    self._sample_asked = self._sample -- a new poll may give a fresh link
    return self:later(0, self._ask)
  elseif not sure and self._client:clock()() - self._gone_since < retry.link_gone_after then
    self._downloads = self._downloads + 1
    return self:later(retry.trouble_gap(self._downloads, self._client.system.random), self._ask)
  end
  self._doubtful_end = not sure
  self:fail { kind = "expired", stage = "download", status = event.status, body = event.body,
    charged = true,
    message = "the picture's link has expired, and the service gave no new one" }
end

local function downloaded(self, event)
  local verdict = retry.judge_download(event)
  self.received = event.received
  if is_anothers_part(self, event) then
    self._flaw = "the picture behind the link changed midway"
    drop(self)
    return again(self)
  elseif verdict == "arrived" then
    return arrived(self, event)
  elseif verdict == "gone" then
    return gone(self, event)
  elseif verdict == "redirect" and event.headers.location and self._hops < api.limits.hops then
    drop(self)
    self._hops = self._hops + 1
    return download.fetch(self, event.headers.location)
  elseif event.kind == "file" then
    drop(self)
    save.begin_elsewhere(self, event.detail, event.code)
    return download.fetch(self)
  end
  if verdict == "redirect" or event.status == 416 then drop(self) end
  if event.kind ~= "timeout" or not self._flaw then -- the deadline cuts a try off, and is no reason
    self._flaw = wording.transfer_reason(event)
  end
  again(self)
end

--- Fetches the picture, continuing where an earlier try broke off.
---@param self kontext.Job
---@param location? string where a redirect leads to
function download.fetch(self, location)
  local id, message, code = self:get(location or self._sample, location ~= nil, downloaded,
    { picture = true, continue = self._held, path = save.destination(self),
      no_replace = self._reserved ~= nil })
  if id then
    self._held = id
  elseif code and save.destination(self) then
    save.begin_elsewhere(self, message, code)
    download.fetch(self)
  elseif not code and not location then -- the link is unusable: a new poll may give another
    self._flaw, self._unfit = message, (self._unfit or 0) + 1
    self:later(retry.trouble_gap(self._unfit, self._client.system.random), self._ask)
  else
    drop(self)
    self._flaw = message
    again(self)
  end
end

--- Begins to fetch the picture from the link that a poll gave.
---@param self kontext.Job
---@param sample string
function download.begin(self, sample)
  local now = self._client:clock()()
  self:answered(now)
  if sample ~= self._sample then self._ready_at = now end
  self._sample, self._downloads, self._hops = sample, self._downloads or 0, 0
  self._fetch = download.fetch
  self.received, self.total = 0, nil
  self:set_status "downloading"
  download.fetch(self)
end

return download
