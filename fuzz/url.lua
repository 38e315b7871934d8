-- Any text as a URL of the service's, alone or relative to another (the first line): what is taken
-- is asked for at the very host that was judged, by https or on loopback, and the key is for the
-- service's hosts and the base's own alone.
local host = require "fuzz.host"
local origin = require "kontext.client.origin"

local bases = { assert(origin.read("https://api.bfl.ai", false)),
  assert(origin.read("http://127.0.0.1:8080", true)) }

-- Returns scheme, host and port of whom libcurl would connect to.
local function asked(url)
  local line = host.asked(url)
  if not line then return nil end
  local name, port = line:match "^CONNECT ([^/ ]+):(%d+) HTTP/1.%d$"
  if name then return "https", name, port end
  name, port = line:match "^GET http://(%[[%x:.]+%]):?(%d*)[/?]"
  if not name then name, port = line:match "^GET http://([^/?: ]+):?(%d*)[/? ]" end
  assert(name, line)
  return "http", name, port ~= "" and port or "80"
end

local function check(target, plain)
  assert(not target.url:match "^%a+://([^/?#]*)":find "@", "a user's name is taken")
  local scheme, name, port = asked(target.url)
  if not scheme then return end -- libcurl will not have it
  name = name:lower() -- as libcurl reads "localhost" too
  assert(scheme == target.scheme and name == target.host and port == target.port,
    ("judged %s://%s:%s, asked %s://%s:%s"):format(target.scheme, target.host, target.port, scheme,
      name, port))
  assert(scheme == "https" or plain and (name == "localhost" or name == "[::1]"
    or name:find "^127%.%d+%.%d+%.%d+$"), "http to " .. name)
  for i, base in ipairs(bases) do
    local own = scheme == base.scheme and target.host == base.host and port == base.port
    local bfl = scheme == "https" and port == "443"
      and (target.host == "bfl.ai" or target.host:find "^[%w%-._]+%.bfl%.ai$") ~= nil
    if origin.sees_key(target, base) then assert(own or bfl, i .. ": the key for " .. name) end
    if own then assert(origin.sees_key(target, base)) end
  end
  local again = assert(origin.read(target.url, plain))
  assert(again.host == target.host and again.scheme == target.scheme and again.port == target.port)
end

return function(text)
  local base, url = text:match "^([^\n]*)\n(.*)$"
  base = base and origin.read(base, true) and base or nil
  for _, plain in ipairs { false, true } do
    local target, message = origin.read(url or text, plain, base)
    if target then check(target, plain) else assert(type(message) == "string") end
  end
end
