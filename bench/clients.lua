--- Who is measured, and how to run it: COMMAND URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL [CA_FILE].
local clean = "env -u LUA_PATH -u LUA_CPATH " -- peers find their own modules

return {
  { name = "C", command = "build/bench/lower_bound", many = true, fast = true,
    what = "libcurl, pread and AVX2 base64, and nothing else: the lower bound" },
  { name = "careful C", command = "build/bench/careful", many = true, fast = true,
    what = "the same, but each submit has a connection of its own, for libcurl sends a POST again "
      .. "when one that it reuses is dead, and the picture is compared with its Content-MD5" },
  { name = "kontext", command = "lua5.4 bench/peers/kontext.lua", many = true, fast = true,
    what = "this module under Lua 5.4" },
  { name = "shell", command = clean .. "bench/peers/guide.sh",
    what = "the guide's own script: curl, base64 and jq" },
  { name = "Python", command = clean .. "/usr/bin/python3 bench/peers/guide.py", many = true,
    alters = true,
    what = "the guide's own script: requests and Pillow, which codes the picture anew" },
  { name = "lean Python", command = clean .. "/usr/bin/python3 bench/peers/lean.py", many = true,
    what = "requests with one session and without Pillow" },
  { name = "TypeScript", command = clean .. "build/bench/sdk/node build/bench/sdk/sdk.mjs",
    many = true, what = "@ai-sdk/black-forest-labs under Node.js" },
  { name = "lua-http", command = clean .. "lua5.1 bench/peers/lua-http.lua", many = true,
    what = "lua-http on cqueues" },
  { name = "luasocket", command = clean .. "lua5.1 bench/peers/luasocket.lua",
    what = "luasocket's http and mime" },
  { name = "lua-curl", command = clean .. "lua5.1 bench/peers/lua-curl.lua",
    what = "Debian's lua-curl" },
}
