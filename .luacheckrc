std = "min"
max_line_length = 100

-- What a host defines is read through rawget(_G, …), or belongs to the one file made for that host.
files["spec"] = { std = "min+busted" }
files["spec/faults"] = { std = "lua54+busted" } -- tools that only the campaigns run
files["bench"] = { std = "lua54" }
files["fuzz"] = { std = "lua54" }
files["bench/peers"] = { std = "max" }
files["spec/hosts"] = { read_globals = { "awesome", "module", "obslua" },
  globals = { "vim", "love", "vlc" } }
files["spec/hosts/*.cfg.lua"] = { ignore = { "11" } } -- Prosody's are all globals
files["examples/haproxy"] = { read_globals = { "core" } }
files["examples/nginx"] = { globals = { "ngx" } }
files["examples/love"] = { globals = { "love" } }
files["examples/obs"] = { read_globals = { "obslua" },
  globals = { "script_description", "script_properties", "script_update" } }
files["examples/vlc"] = { read_globals = { "vlc", "config" } }
files["examples/pandoc"] = { read_globals = { "pandoc" } }
files["examples/prosody"] = { read_globals = { "module" } }
files["examples/wireshark"] = { read_globals = { "Field", "Listener" } }
files["plugin"] = { globals = { "vim" } }
files["lua/kontext/nvim"] = { globals = { "vim" } }
files["lua/kontext/nvim.lua"] = { read_globals = { "vim" } }
files["lua/kontext/health.lua"] = { read_globals = { "vim" } }
