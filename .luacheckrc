std = "min"
max_line_length = 100

-- What a host defines is read through rawget(_G, …), or belongs to the one file made for that host.
files["spec"] = { std = "min+busted" }
files["spec/faults"] = { std = "lua54+busted" } -- tools that only the campaigns run
files["lua/kontext/nvim.lua"] = { read_globals = { "vim" } }
files["lua/kontext/health.lua"] = { read_globals = { "vim" } }
