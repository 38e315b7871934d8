-- Where finished pictures lie: signed links that expire, ranges, checksums, as blob storage has
-- them.

local need = require "kontext.emulator.need"
local encoding = require "kontext.encoding"
local digest, hmac = need "openssl.digest", need "openssl.hmac"
local mime = need "mime"

local delivery = {}
delivery.__index = delivery

local ROOM = 256 * 2 ^ 20 -- bytes of pictures kept; beyond it the oldest go

--- A store whose links are signed with a secret.
---@param secret string
---@param now fun(): number seconds since the epoch
function delivery.new(secret, now)
  return setmetatable({ secret = secret, now = now, files = {}, order = {}, first = 1, room = 0 },
    delivery)
end

local function stamp(format, time) return os.date("!" .. format, math.floor(time)) end
local function http_date(time) return stamp("%a, %d %b %Y %H:%M:%S GMT", time) end

function delivery:sign(path, expiry)
  return (mime.b64(hmac.new(self.secret, "sha256"):final(path .. "\n" .. expiry)))
end

--- Stores a task's picture and returns its path.
---@param task table
---@param bytes string
---@return string path
function delivery:keep(task, bytes)
  local name = task.id:gsub("-", "")
  local path = ("/results/%s/%s/%s/sample.%s")
    :format(name:sub(1, 2), name:sub(3, 16), name:reverse(), task.format)
  self.files[path] = {
    task = task, bytes = bytes, type = "image/" .. task.format, made = self.now(),
    md5 = (mime.b64(digest.new("md5"):final(bytes))),
    etag = '"0x' .. name:sub(1, 15):upper() .. '"',
  }
  self.order[#self.order + 1] = path
  self.room = self.room + #bytes
  while self.room > ROOM and self.first < #self.order do
    local oldest = self.order[self.first]
    self.room = self.room - #self.files[oldest].bytes
    self.files[oldest], self.order[self.first] = nil, false
    self.first = self.first + 1
  end
  return path
end

--- The path and query of a link to a stored picture that ends at a time.
---@param path string
---@param expires number seconds since the epoch
---@return string target
function delivery:link(path, expires)
  local expiry = stamp("%Y-%m-%dT%H:%M:%SZ", expires)
  return ("%s?se=%s&sp=r&sv=2024-11-04&sr=b&rsct=image/%s&sig=%s"):format(path,
    encoding.percent(expiry), path:match "%.(%w+)$", encoding.percent(self:sign(path, expiry)))
end

local function refusal(status, code, message, detail)
  local text = ('\239\187\191<?xml version="1.0" encoding="utf-8"?><Error><Code>%s</Code>'
    .. "<Message>%s</Message>%s</Error>"):format(code, message, detail and
    "<AuthenticationErrorDetail>" .. detail .. "</AuthenticationErrorDetail>" or "")
  return { status = status, headers = { ["content-type"] = "application/xml" }, body = text }
end

local NOT_AUTHENTIC = "Server failed to authenticate the request. Make sure the value of "
  .. "Authorization header is formed correctly including the signature."

-- The first and last byte that a Range header asks for; nil where it is to be ignored, false where
-- there are no such bytes.
local function span(range, size)
  local first, last = (range or ""):match "^bytes=(%d*)%-(%d*)$"
  if not first or first .. last == "" then return nil end
  first, last = tonumber(first), tonumber(last)
  if not first then first, last = math.max(size - last, 0), size - 1 end
  last = math.min(last or size - 1, size - 1)
  if first >= size or first > last then return false end
  return first, last
end

--- Answers a GET or HEAD of a path under /results/; `query` has the link's decoded parameters.
---@param request table
---@return table answer, table? file
function delivery:answer(request)
  local query, path = request.query, request.path
  if not query.se or query.sig ~= self:sign(path, query.se) then
    return refusal(403, "AuthenticationFailed", NOT_AUTHENTIC, "Signature did not match.")
  end
  local now = self.now()
  if query.se <= stamp("%Y-%m-%dT%H:%M:%SZ", now) then -- both in UTC and of one form
    return refusal(403, "AuthenticationFailed", NOT_AUTHENTIC, ("Signed expiry time [%s] has to "
      .. "be after the current time [%s]"):format(query.se, http_date(now)))
  end
  local file = self.files[path]
  if not file then return refusal(404, "BlobNotFound", "The specified blob does not exist.") end
  local size = #file.bytes
  local headers = {
    ["content-type"] = query.rsct or file.type, ["accept-ranges"] = "bytes",
    ["cache-control"] = "max-age=1200", etag = file.etag, ["last-modified"] = http_date(file.made),
    ["x-ms-blob-type"] = "BlockBlob", ["x-ms-version"] = query.sv,
  }
  local match = request.headers["if-range"]
  local first, last = nil, nil
  if not match or match == file.etag then first, last = span(request.headers.range, size) end
  if first == false then
    headers["content-range"] = "bytes */" .. size
    return { status = 416, headers = headers, body = "" }
  elseif first then
    headers["content-range"] = ("bytes %d-%d/%d"):format(first, last, size)
    return { status = 206, headers = headers, body = file.bytes:sub(first + 1, last + 1) }, file
  end
  headers["content-md5"] = file.md5
  return { status = 200, headers = headers, body = file.bytes }, file
end

return delivery
