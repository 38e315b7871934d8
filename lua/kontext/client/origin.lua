--- Decides which URLs may be requested, and which hosts get the key. libcurl's own parser reads the
--- URLs, so that the host that is judged is the host that is connected to.
local api = require "kontext.api"
local core = require "kontext.core"

local origin = {}

---@class kontext.Origin
---@field scheme string
---@field host string lower case
---@field port string
---@field url string the whole URL
---@field loopback boolean

-- Returns whether a host is this machine: an address, or the name that libcurl never looks up.
local function is_loopback(host)
  local a, b, c = host:match("^127%.(%d+)%.(%d+)%.(%d+)$")
  if a then return tonumber(a) < 256 and tonumber(b) < 256 and tonumber(c) < 256 end
  return host == "localhost" or host == "[::1]"
end

-- Returns whether a host is an address with a dot after it: newer libcurls read "127.0.0.1." as
-- 127.0.0.1, older ones as a name. No name's last label begins with a digit.
local function is_dotted(host) return ("." .. host):find "%.%d[^.]*%.$" ~= nil end

--- Reads a URL that may be requested: https, or with `allow_http` http on loopback, and without a
--- user's name.
---@param url any
---@param allow_http boolean
---@param base? string the base of a relative URL
---@return kontext.Origin? origin
---@return string? message
function origin.read(url, allow_http, base)
  if type(url) ~= "string" then return nil, "is missing" end
  local parts, message = core.url(url, base)
  if not parts then return nil, "is " .. message end
  parts.host = parts.host:lower()
  parts.loopback = is_loopback(parts.host)
  if parts.user then return nil, "has a user's name in it" end
  -- libcurl parses these and cannot transfer from them: unencoded IDN, "a|b", an empty label.
  local named = parts.host:find("^[a-z0-9%-_][a-z0-9%.%-_]*$")
    and not parts.host:find("..", 1, true)
  if not named and not parts.host:find("^%[[%x:%.]+%]$") then
    return nil, "has a host that is neither a name nor an address"
  end
  local written = url:gsub("%%2[eE]", "."):match "^[%w+.-]*:?//([^/?#]*)" or ""
  if is_dotted((written:gsub(":%d*$", ""))) or is_dotted(parts.host) then
    return nil, "has an address that ends in a dot"
  end
  if parts.scheme == "https" or parts.scheme == "http" and allow_http and parts.loopback then
    return parts
  end
  return nil, "is neither https nor http on loopback"
end

--- Returns whether the key may be sent to a target: the base's own origin, or a host of the
--- service.
---@param target kontext.Origin
---@param base kontext.Origin
---@return boolean
function origin.sees_key(target, base)
  if target.scheme == base.scheme and target.host == base.host and target.port == base.port then
    return true
  end
  if target.scheme ~= "https" or target.port ~= "443" then return false end
  local domain = api.key_domain
  return target.host == domain or target.host:sub(-#domain - 1) == "." .. domain
end

return origin
