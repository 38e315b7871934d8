-- A Prosody module: a user of this host asks the example's component for an edit, fetches the
-- picture at the address in the answer, and writes what came.
local core = require "kontext.core"
local http = require "net.http"
local st = require "util.stanza"
local timer = require "util.timer"

local user = "user@" .. module.host

module:hook("message/bare", function(event)
  if event.stanza.attr.type == "error" then return true end -- the stranger's
  local url = event.stanza:get_child_text "body"
  http.request(url, nil, function(body, status, response)
    local file = assert(io.open(os.getenv "KONTEXT_OUT" .. "/answer", "w"))
    local info = core.check { bytes = body } or { width = 0, height = 0 }
    file:write(("%s %s %s %d %d"):format(url, status,
      response.headers["content-type"] or "none", info.width, info.height))
    file:close()
    require("util.startup").shutdown()
  end)
  return true
end)

timer.add_task(0.2, function()
  module:send(st.message({ from = "stranger@" .. module.host, to = "pictures.localhost",
    type = "chat" }):body "https://example.org/car.jpg Spend the credits")
  module:send(st.message({ from = user, to = "pictures.localhost", type = "chat" })
    :body "https://example.org/car.jpg Make it snow")
end)
