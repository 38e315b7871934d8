-- A receiver of webhooks: lua-http's server and the edit in one event loop. The service must reach
-- the port under PUBLIC_URL; with the emulator it is on this machine.
--   PUBLIC_URL=https://example.org/kontext lua webhook.lua car.jpg "Make it red"
local cqueues = require "cqueues"
local headers = require "http.headers"
local server = require "http.server"
local kontext = require "kontext"

local client = kontext.new()
local secret = require("openssl.rand").bytes(16):gsub(".", function(char)
  return ("%02x"):format(char:byte())
end)
local loop = cqueues.new()

local receiver = assert(server.listen {
  host = "127.0.0.1",
  port = tonumber(os.getenv "PORT") or 0,
  cq = loop,
  onstream = function(_, stream)
    local got = assert(stream:get_headers())
    local event = kontext.webhook.verify(got, stream:get_body_as_string(), secret)
    if event then client:notify(event) end
    local answer = headers.new()
    answer:append(":status", event and "204" or "403")
    assert(stream:write_headers(answer, true))
  end,
})
assert(receiver:listen())
local _, address, port = receiver:localname()

loop:wrap(function()
  local image = assert(client:edit {
    prompt = arg[2],
    input_image = arg[1],
    webhook_url = os.getenv "PUBLIC_URL" or ("http://%s:%d/"):format(address, port),
    webhook_secret = secret,
  }:wait())
  print(assert(image:save "edited.jpg"))
  receiver:close()
end)
assert(loop:loop())
