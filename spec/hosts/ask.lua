-- lua ask.lua nginx|haproxy ARGUMENTS…: asks the example's server with curl, once for each string
-- of curl's arguments, in which URL is the server's. Prints each answer's status and text.
local server = require "spec.hosts.server"
local support = require "spec.hosts.support"

local running = server.start(arg[1], os.getenv "KONTEXT_OUT")
running:connect():close()
for n = 2, #arg do
  local said = support.shell("curl -s -w '\n%{http_code}' " .. arg[n]:gsub("URL", running.url))
  local text, status = said:match "^(.*)\n(.*)$"
  print(status .. " " .. text:gsub("%s+$", ""))
end
running:stop()
