-- Certificates for the TLS campaigns, made with the openssl command when they are first needed.

local context = require "openssl.ssl.context"
local pkey = require "openssl.pkey"
local x509 = require "openssl.x509"

local certs = { folder = "build/faults/certs" }

-- name → subject, alternative names, days valid (from, to; relative to today), who signs it.
local wanted = {
  { name = "ca", subject = "kontext test authority", from = -2, to = 30 },
  { name = "good", subject = "localhost", san = "DNS:localhost,IP:127.0.0.1", from = -2, to = 30 },
  { name = "expired", subject = "localhost", san = "DNS:localhost,IP:127.0.0.1", from = -20,
    to = -1 },
  { name = "early", subject = "localhost", san = "DNS:localhost,IP:127.0.0.1", from = 5, to = 30 },
  { name = "wrong", subject = "example.org", san = "DNS:example.org", from = -2, to = 30 },
  { name = "alone", subject = "localhost", san = "DNS:localhost,IP:127.0.0.1", from = -2, to = 30,
    signer = "alone" },
}

local function run(command)
  local ok = os.execute(command .. " >>" .. certs.folder .. "/log 2>&1")
  assert(ok, "failed: " .. command .. "; see " .. certs.folder .. "/log")
end

local function date(days) return os.date("!%Y%m%d%H%M%SZ", os.time() + days * 86400) end

-- Makes a key and its certificate: c.base .. ".key", ".pem".
local function issue(c)
  local dir = certs.folder
  local base = c.base or dir .. "/" .. c.name
  local signer = dir .. "/" .. (c.signer or "ca")
  run(("openssl req -config %s/config -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
    .. " -keyout %s.key -out %s.csr -subj '/CN=%s'%s"):format(dir, base, base, c.subject,
    c.san and " -addext 'subjectAltName=" .. c.san .. "'" or ""))
  local how = " -cert " .. signer .. ".pem"
  if c.signer == c.name then how = " -selfsign" end
  if c.name == "ca" then how = " -extensions v -selfsign" end
  run(("openssl ca -config %s/config -batch -notext -rand_serial -in %s.csr -out %s.pem"
    .. " -keyfile %s.key -startdate %s -enddate %s%s"):format(dir, base, base, signer,
    date(c.from), date(c.to), how))
end

--- Makes all of them, once; `openssl ca` is the one command that takes both dates.
function certs.make()
  local dir = certs.folder
  local mark = io.open(dir .. "/made-" .. os.date "!%Y%m%d")
  if mark then return mark:close() end
  os.execute("rm -rf " .. dir .. " && mkdir -p " .. dir)
  local config = assert(io.open(dir .. "/config", "w"))
  config:write("[ca]\ndefault_ca=d\n[d]\ndatabase=", dir, "/index\nserial=", dir,
    "/serial\nnew_certs_dir=", dir, "\ndefault_md=sha256\npolicy=p\nunique_subject=no\n",
    "copy_extensions=copy\nemail_in_dn=no\n[p]\ncommonName=supplied\n[req]\n",
    "distinguished_name=n\n[n]\n[v]\nbasicConstraints=critical,CA:TRUE\n")
  config:close()
  assert(io.open(dir .. "/index", "w")):close()
  for _, c in ipairs(wanted) do issue(c) end
  assert(io.open(dir .. "/made-" .. os.date "!%Y%m%d", "w")):close()
end

local function read(path)
  local file = assert(io.open(path, "rb"))
  local bytes = file:read "a"
  file:close()
  return bytes
end

--- The bundle that a client is to trust: our authority alone.
function certs.bundle()
  certs.make()
  return certs.folder .. "/ca.pem"
end

-- A server's context of a key and a certificate, both files.
local function server_context(base)
  local made = context.new("TLS", true)
  made:setPrivateKey(pkey.new(read(base .. ".key")))
  made:setCertificate(x509.new(read(base .. ".pem")))
  return made
end

--- A server's context whose certificate, signed by our authority, holds for all these names and
--- addresses.
function certs.for_hosts(names, addresses)
  certs.make()
  local list = {}
  for _, name in ipairs(names) do list[#list + 1] = "DNS:" .. name end
  for _, address in ipairs(addresses) do list[#list + 1] = "IP:" .. address end
  local base = os.tmpname()
  issue({ base = base, subject = "many", san = table.concat(list, ","), from = -2, to = 30,
          signer = "ca" })
  local made = server_context(base)
  os.execute("rm -f " .. base .. "*")
  return made
end

--- A server's context with the certificate of that name; `only` is a protocol: "TLSv1.1" or none.
function certs.context(name, only)
  certs.make()
  local made = server_context(certs.folder .. "/" .. name)
  if only == "TLSv1.1" then
    made:setOptions(context.OP_NO_TLSv1_2 + 0x20000000) -- 1.3 has no name in this binding
    made:setCipherList "ALL:@SECLEVEL=0"
  end
  return made
end

return certs
