-- A webhook's receiver: `lua receiver.lua REFUSALS` prints its URL, refuses that many calls with
-- 500, then takes them with 204, and prints each as a line of JSON. DELETE ends it.

local need = require "kontext.emulator.need"
local cjson = need "cjson"
local server = need "http.server"
local new_headers = need "http.headers".new

local refusals = tonumber(arg[1])

local function on_call(_, stream)
  local call = { headers = {} }
  for name, value in stream:get_headers():each() do call.headers[name] = value end
  if call.headers[":method"] == "DELETE" then os.exit(0) end
  call.body = stream:get_body_as_string(5)
  local answer = new_headers()
  answer:append(":status", refusals > 0 and "500" or "204")
  refusals = refusals - 1
  stream:write_headers(answer, true)
  io.write(cjson.encode(call), "\n")
  io.flush()
end

local listening = assert(server.listen {
  host = "127.0.0.1", port = 0, tls = false, onstream = on_call,
  onerror = function(_, _, what, why) io.stderr:write(what, ": ", tostring(why), "\n") end,
})
listening:listen()
io.write(("http://127.0.0.1:%d/hook\n"):format(select(3, listening:localname())))
io.flush()
listening:loop(20)
