-- The emulator's own requests: to this machine and no other.

local need = require "kontext.emulator.need"
local http_request, tls = need "http.request", need "http.tls"
local protected = need "http.util".yieldable_pcall
local ssl_context = need "openssl.ssl.context"

local loopback = {}

--- Whether a URL names this machine.
---@param url string
---@return boolean
function loopback.is_near(url)
  local authority = url:match "^%a+://([^/?#]*)" or ""
  local host = authority:gsub("^.*@", ""):gsub(":%d*$", ""):lower()
  return host == "localhost" or host == "[::1]" or host:match "^127%.%d+%.%d+%.%d+$" ~= nil
end

local function exchange(url, options, seconds)
  local request = http_request.new_from_uri(url)
  request.proxies, request.follow_redirects = false, false
  request.ctx = tls.new_client_context()
  request.ctx:setVerify(ssl_context.VERIFY_NONE) -- certificates of tests are made on the spot
  for name, value in pairs(options.headers or {}) do request.headers:upsert(name, value) end
  if options.body then
    request.headers:upsert(":method", "POST")
    request:set_body(options.body)
  end
  local headers, stream = request:go(seconds)
  if not headers then return nil, tostring(stream) end
  local body = stream:get_body_chars(options.most or 65536, seconds)
  stream:shutdown()
  return tonumber(headers:get ":status"), body or ""
end

--- GETs a URL of this machine, or POSTs `options.body` to it; at most `options.most` bytes of the
--- answer are read.
---@param url string
---@param options { body?: string, headers?: table, most?: integer }
---@param seconds number
---@return integer? status, string body_or_message
function loopback.request(url, options, seconds)
  local ok, status, body = protected(exchange, url, options, seconds)
  if not ok then return nil, tostring(status) end
  return status, body
end

return loopback
