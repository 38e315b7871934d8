--- The last stage of a job: the picture is fetched without the key, verified, saved. It is paid
--- for: whatever fails here, the job stays resumable.
local api = require "kontext.api"
local image = require "kontext.image"
local retry = require "kontext.job.retry"
local wording = require "kontext.wording"

local download = {}

-- The job's path cannot be written: the picture is fetched into memory, and the job ends with this.
local function unsaved(job, message, code)
  job:_drop()
  job._save_error = { kind = "file", code = code, stage = "save", charged = true,
    message = ("cannot save the picture as %s: %s; it is in job.image"):format(job._params.save_as,
      wording.unwritten(message, code)) }
  job:_download()
end

-- Tries again what may come right, else ends the job.
local function again(job, fields)
  job._downloads = job._downloads + 1
  if job._downloads < retry.download_tries then
    return job:_later(retry.backoff(job._downloads), "_download")
  end
  fields.stage, fields.charged = "download", true
  fields.message = fields.message
    .. "; the picture is paid for: resume it with kontext.resume(job:token())"
  job:_drop()
  job:_fail(fields)
end

-- Returns why what has arrived is not the picture that was sent, or nil.
local function flaw(job, event)
  local told = event.headers["content-md5"]
  local whole = tonumber((event.headers["content-range"] or ""):match("/(%d+)$"))
  if whole and whole ~= event.received then
    return ("%d of %d bytes arrived"):format(event.received, whole)
  elseif told and event.md5 and told ~= event.md5 then
    return "its bytes do not match their Content-MD5"
  end
  local known, outcome = job._client:_check_download(job._held)
  if not known then return "it is no whole picture (" .. outcome .. ")" end
  job._made.format, job._made.width, job._made.height = known.format, known.width, known.height
end

-- Makes an image of what has arrived; with save_as it is in its place when this returns.
local function arrived(job, event)
  local wrong = flaw(job, event)
  if wrong then
    job:_drop()
    return again(job, { kind = "protocol", status = event.status,
      message = "the picture arrived damaged: " .. wrong })
  end
  local bytes, message, code = job._client:_finish_download(job._held)
  job._held = nil
  if not bytes then return unsaved(job, message, code) end
  if bytes == true then job._made.path = job._params.save_as else job._made.bytes = bytes end
  job.image = image.new(job._made, job)
  job.received, job.total = event.received, event.received
  if job._save_error then return job:_fail(job._save_error) end
  if job._made.path then
    local kept
    kept, message, code = job._client:_record(job, "SAVED", job._made.path, event.md5)
    if not kept then
      return job:_fail { kind = "file", stage = "save", code = code, charged = true,
        message = "the picture is saved, but the journal cannot be written: " .. message }
    end
  end
  job:_finish "ready"
end

function download:_downloaded(event)
  local verdict = retry.judge_download(event)
  self.received = event.received
  if verdict == "arrived" then
    return arrived(self, event)
  elseif verdict == "redirect" and event.headers.location and self._hops < api.limits.hops then
    self:_drop()
    self._hops = self._hops + 1
    return self:_download(event.headers.location)
  elseif event.kind == "file" then
    return unsaved(self, event.detail, event.code)
  end
  self._hops = 0
  if verdict == "expired" and not self._asked_again then
    self:_drop()
    self._asked_again = true -- a new poll may give a fresh link
    return self:_poll()
  end
  local fields = { kind = event.kind or "http", status = event.status, code = event.code,
    body = event.body, message = "the picture cannot be downloaded: " .. wording.what(event) }
  if verdict == "redirect" then self._downloads = retry.download_tries end -- it would be again
  if verdict == "expired" then
    fields.kind, self._downloads = "expired", retry.download_tries
    fields.message = "the picture's link has expired (it lives 10 minutes), and no new one came"
  end
  again(self, fields)
end

-- Fetches the picture, going on where an earlier try was broken off.
function download:_download(location)
  self._receive = "_downloaded"
  local id, message, code = self:_get(location or self._sample, location ~= nil, {
    continue = self._held,
    path = not self._save_error and self._params.save_as or nil,
  })
  if id then
    self._held = id
  elseif code and self._params.save_as and not self._save_error then
    unsaved(self, message, code)
  elseif code then
    again(self, { kind = "internal", code = code,
      message = "the picture cannot be downloaded: " .. message })
  else
    again(self, { kind = "protocol", message = "the picture's link " .. message })
  end
end

-- The image was saved by its holder: only now the journal's edit is over. That this cannot be
-- written does no harm: it would be fetched again.
function download:_saved(path, md5)
  local client = self._client
  client:_leave_to_parent() -- the journal is the parent's
  if self._entry and not client._closed then client:_record(self, "SAVED", path, md5) end
end

-- Forgets what has arrived so far.
function download:_drop()
  if self._held then self._client:_drop_download(self._held) end
  self._held = nil
end

-- Begins to fetch the picture from the link that a poll gave.
function download:_deliver(sample)
  self._sample, self._downloads, self._hops = sample, self._downloads or 0, 0
  self.received, self.total = 0, nil
  self:_become "downloading"
  self:_download()
end

return download
