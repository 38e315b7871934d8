-- content_by_lua_file: edits the picture in the request's body, as ?prompt=… says. The worker
-- serves others meanwhile.
local kontext = require "kontext"

local statuses = { image = 422, invalid = 422, moderated = 422, rate_limited = 429 }

ngx.req.read_body() -- a large one is in a file, and is sent from there
local path = ngx.req.get_body_file()
local image, message, err = kontext.edit {
  prompt = ngx.req.get_uri_args().prompt,
  input_image = path and { path = path } or { bytes = ngx.req.get_body_data() or "" },
}:wait()

if image then
  ngx.header.content_type = "image/" .. image.format
  return ngx.print(image.bytes)
end
ngx.status = statuses[err.kind] or ngx.HTTP_BAD_GATEWAY
ngx.say(message)
