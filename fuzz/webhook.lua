-- Any call as a webhook's: taken only when the one value of each header there is proves the secret,
-- by an HMAC worked out here, and then with an id and a status. $SECRET, $SIGNATURE and $OTHER, the
-- signature of another body, stand for what the fuzzer cannot guess.
local cjson = require "cjson.safe"
local host = require "fuzz.host"
local webhook = require "kontext.webhook"

local secret = "kx-canary-secret-20b7e4"

-- Returns the secret, filled up to a block of SHA-256, with each byte's bits turned by `byte`.
local function turned(byte)
  return ((secret .. ("\0"):rep(64 - #secret)):gsub(".", function(c)
    return string.char(c:byte() ~ byte)
  end))
end

local inner, outer = turned(0x36), turned(0x5c)

-- The signature of a body, by HMAC as RFC 2104 defines it.
local function signature(body)
  return "sha256=" .. host.hex(host.sha256(outer .. host.sha256(inner .. body)))
end

-- Returns the headers as a list of pairs.
local function read(head, body, signed)
  local values = { SECRET = secret, SIGNATURE = signed, OTHER = signature(body .. " ") }
  local headers = {}
  for name, value in (head .. "\n"):gmatch "([^\n:]*): ?([^\n]*)\n" do
    headers[#headers + 1] = { name, (value:gsub("%$(%u+)", values)) }
  end
  return headers
end

-- The same headers as other hosts have them.
local function forms(headers)
  local by_name, get = {}, {}
  for _, pair in ipairs(headers) do
    local name = pair[1]:lower()
    by_name[name] = by_name[name] and { by_name[name], pair[2] } or pair[2]
  end
  function get.get(_, name) return by_name[name] end
  return { headers, by_name, get, function(name) return by_name[name] end }
end

-- Returns whether the headers prove that the sender knows the secret.
local function proves(headers, signed_so)
  local found = { ["x-webhook-secret"] = {}, ["x-bfl-signature"] = {} }
  for _, pair in ipairs(headers) do
    local list = found[pair[1]:lower()]
    if list then list[#list + 1] = pair[2] end
  end
  local plain, signed = found["x-webhook-secret"], found["x-bfl-signature"]
  return #plain + #signed > 0
    and (#plain == 0 or #plain == 1 and plain[1] == secret)
    and (#signed == 0 or #signed == 1 and signed[1] == signed_so)
end

return function(text)
  local head, body = ("\n" .. text):match "^\n(.-)\n\n(.*)$"
  if not head then head, body = text, "" end
  local right = signature(body)
  local headers = read(head, body, right)
  local proven = proves(headers, right)
  local verdict
  for i, form in ipairs(forms(headers)) do
    local event, message, err = webhook.verify(form, body, secret)
    if event then
      assert(proven, "a call that proves nothing is taken")
      assert(cjson.decode(body), "a body that is no JSON is taken")
      assert(type(event.id) == "string" and event.id ~= "" and type(event.status) == "string")
      assert(event.result == nil or type(event.result) == "table")
    else
      assert(type(message) == "string" and err.message == message)
      assert(err.kind == "auth" and not proven or err.kind == "protocol" and proven, err.kind)
      assert(not message:find(secret, 1, true))
    end
    if i == 1 then verdict = err and err.kind end
    assert((err and err.kind) == verdict, "hosts differ")
  end
end
