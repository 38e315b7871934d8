local out = os.getenv "KONTEXT_OUT"

run_as_root = true
daemonize = false
pidfile = out .. "/prosody.pid"
data_path = out
plugin_paths = { os.getenv "PWD" .. "/spec/hosts" }
modules_enabled = { "edits" }
modules_disabled = { "s2s", "c2s", "http", "posix", "offline" }
log = { warn = out .. "/prosody.log" }
VirtualHost "localhost"
