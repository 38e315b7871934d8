-- A network of our own: the campaign starts itself again where nothing but loopback exists and
-- where every name of the world resolves as the campaign says.

local cqueues = require "cqueues"
local udp = require "socket".udp

local namespace = {}

-- In the new namespaces: loopback up, our resolver, nobody else's hosts.
local ENTER = [[
ip link set lo up
printf 'nameserver 127.0.0.1\noptions timeout:%s attempts:1\n' >$KX_NAMESPACE/resolv.conf
printf '127.0.0.1 localhost\n' >$KX_NAMESPACE/hosts
printf 'hosts: files dns\n' >$KX_NAMESPACE/nsswitch.conf
for file in resolv.conf hosts nsswitch.conf; do
  test -e /etc/$file || : >/etc/$file
  mount --bind $KX_NAMESPACE/$file $(readlink -f /etc/$file)
done
exec lua5.4 "$0"]]

--- Continues in a network namespace; in there it returns, outside it never does. Where the system
--- allows none the campaign is skipped by name. `patience` is the resolver's time-out in seconds.
function namespace.enter(id, patience)
  if os.getenv "KX_NAMESPACE" then return end
  if not os.execute "unshare -n -m true 2>/dev/null" then
    print(id .. " skipped: this system allows no network namespace")
    os.exit(0)
  end
  local folder = io.popen("mktemp -d /tmp/kontext-namespace-XXXXXX"):read "l"
  local ok, _, code = os.execute(("KX_NAMESPACE=%s unshare -n -m sh -ec '%s' '%s'"):format(
    folder, ENTER:format(patience or 1):gsub("'", "'\\''"), arg[0]))
  os.execute("rm -rf " .. folder)
  os.exit(ok and 0 or code)
end

-- The answer to a DNS query: one A record, or none for other types.
local function reply(query, address)
  local name_end = query:find("\0", 13, true)
  if not name_end then return nil end
  local question = query:sub(13, name_end + 4)
  local kind = string.unpack(">I2", question, #question - 3)
  local head = query:sub(1, 2) .. string.pack(">I2I2I2I2I2", 0x8180, 1, kind == 1 and 1 or 0, 0, 0)
  if kind ~= 1 then return head .. question end
  local a, b, c, d = address:match "(%d+)%.(%d+)%.(%d+)%.(%d+)"
  return head .. question .. string.pack(">I2I2I2I4I2BBBB", 0xC00C, 1, 1, 60, 4, a, b, c, d)
end

local function asked_name(query)
  local labels, at = {}, 13
  while true do
    local length = query:byte(at)
    if not length or length == 0 then break end
    labels[#labels + 1] = query:sub(at + 1, at + length)
    at = at + length + 1
  end
  return table.concat(labels, "."):lower()
end

--- Answers names on port 53: `resolve(name)` returns an IPv4 address, or nil for silence.
--- Returns the list of names that were asked for, which grows.
function namespace.names(loop, resolve)
  local socket = assert(udp())
  assert(socket:setsockname("127.0.0.1", 53))
  socket:settimeout(0)
  local asked, readable = {}, { pollfd = socket:getfd(), events = "r" }
  loop:wrap(function()
    while true do
      cqueues.poll(readable)
      local query, host, port = socket:receivefrom()
      if query and #query > 12 then
        asked[#asked + 1] = asked_name(query)
        local address = resolve(asked[#asked])
        local answer = address and reply(query, address)
        if answer then socket:sendto(answer, host, port) end
      end
    end
  end)
  return asked
end

return namespace
