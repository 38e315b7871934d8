-- HAProxy: a service that edits the picture it is sent, as the header x-prompt says.
local kontext = require "kontext"

local statuses = { image = 422, invalid = 422, moderated = 422, rate_limited = 429 }

local function answer(applet, status, type, body)
  applet:set_status(status)
  applet:add_header("content-type", type)
  applet:add_header("content-length", #body)
  applet:start_response()
  applet:send(body)
end

core.register_service("kontext", "http", function(applet)
  local prompt = applet.headers["x-prompt"]
  if not prompt then return answer(applet, 400, "text/plain", "x-prompt is missing\n") end
  local image, message, err = kontext.edit {
    prompt = prompt[0],
    input_image = { bytes = applet:receive() },
  }:wait()
  if image then return answer(applet, 200, "image/" .. image.format, image.bytes) end
  answer(applet, statuses[err.kind] or 502, "text/plain", message .. "\n")
end)
