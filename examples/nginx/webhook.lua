-- content_by_lua_file: what the service calls when an edit with this webhook_url has ended. The
-- job it names is woken, and asks for its result itself. A job of another worker's learns by poll.
local kontext = require "kontext"

ngx.req.read_body()
local event, message = kontext.webhook.verify(
  ngx.req.get_headers(), ngx.req.get_body_data() or "", os.getenv "WEBHOOK_SECRET")
if not event then
  ngx.log(ngx.WARN, message)
  return ngx.exit(ngx.HTTP_FORBIDDEN)
end
kontext.notify(event)
ngx.exit(ngx.HTTP_NO_CONTENT)
