rockspec_format = "3.0"
package = "kontext"
version = "scm-1"
source = { url = "." } -- luarocks make, in a checkout
description = {
  summary = "Edits images with words: a client for BFL's FLUX.1 Kontext API",
  detailed = [[
    Never pays twice, never stalls its host, uploads in constant memory. A C module over libcurl
    with a Lua layer, for Lua 5.1 to 5.5 and LuaJIT. Its emulator needs the
    rocks "http" and "luasocket" too.]],
  license = "MIT",
}
-- dkjson is pure Lua and serves every Lua. Where lua-cjson is installed too, that reads the JSON.
dependencies = { "lua >= 5.1, < 5.6", "dkjson", "argparse" }
-- No header is named: Debian keeps curl/curl.h where LuaRocks does not look, and cc does.
external_dependencies = {
  CURL = { library = "curl" }, CRYPTO = { library = "crypto" }, ZLIB = { library = "z" },
}
build = {
  type = "make",
  variables = { LUA_INCDIR = "$(LUA_INCDIR)", LUA = "$(LUA)", WERROR = "" },
  build_variables = { CFLAGS = "$(CFLAGS)" },
  install_variables = {
    CFLAGS = "$(CFLAGS)", PREFIX = "$(PREFIX)",
    LUADIR = "$(LUADIR)", LIBDIR = "$(LIBDIR)", BINDIR = "$(BINDIR)",
  },
}
