local out, root = os.getenv "KONTEXT_OUT", os.getenv "PWD"
local port = tonumber(os.getenv "KONTEXT_PORT")

run_as_root = true
daemonize = false
pidfile = out .. "/prosody.pid"
data_path = out
plugin_paths = { root .. "/spec/hosts", root .. "/examples/prosody" }
modules_disabled = { "s2s", "c2s", "posix", "offline" }
log = { warn = out .. "/prosody.log" }
http_interfaces = { "127.0.0.1" }
http_ports = { port }
https_ports = {}
http_external_url = ("http://127.0.0.1:%d/"):format(port)
http_default_host = "pictures.localhost"

VirtualHost "localhost"
modules_enabled = { "asks" }

Component "pictures.localhost" "kontext"
kontext_allowed = { "user@localhost" }
