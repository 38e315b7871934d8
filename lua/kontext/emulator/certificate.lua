-- A certificate for this machine's loopback names, signed by itself and made at the start.

local need = require "kontext.emulator.need"
local altname, name = need "openssl.x509.altname", need "openssl.x509.name"
local bignum, rand = need "openssl.bignum", need "openssl.rand"
local http_tls = need "http.tls"
local pkey, x509 = need "openssl.pkey", need "openssl.x509"

local DAY = 86400

local function choose_protocol(_, offered)
  for _, protocol in ipairs(offered) do
    if protocol == "h2" or protocol == "http/1.1" then return protocol end
  end
end

--- A TLS context for a server on loopback that speaks HTTP/2 and 1.1, and its certificate as PEM.
---@param host string a further name or address to be valid for
---@return userdata context, string pem
local function certificate(host)
  local key = pkey.new { type = "EC", curve = "prime256v1" }
  local subject = name.new()
  subject:add("CN", "kontext emulator")
  local names = altname.new()
  names:add("DNS", "localhost")
  names:add("IP", "127.0.0.1")
  names:add("IP", "::1")
  if host:match "^[%d.]+$" or host:find(":", 1, true) then
    if host ~= "127.0.0.1" and host ~= "::1" then names:add("IP", host) end
  elseif host ~= "localhost" then
    names:add("DNS", host)
  end
  local certified = x509.new()
  certified:setVersion(3)
  certified:setSerial(bignum.fromBinary(rand.bytes(16)))
  certified:setSubject(subject)
  certified:setIssuer(subject)
  certified:setSubjectAlt(names)
  certified:setLifetime(os.time() - DAY, os.time() + 30 * DAY)
  certified:setBasicConstraints { CA = true }
  certified:setBasicConstraintsCritical(true)
  certified:setPublicKey(key)
  certified:sign(key)
  local context = http_tls.new_server_context()
  context:setAlpnSelect(choose_protocol)
  assert(context:setPrivateKey(key))
  assert(context:setCertificate(certified))
  return context, certified:toPEM()
end

return certificate
