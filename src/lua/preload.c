/* The start of an installed kontext: the module holds, compiled, all that `require "kontext"`
   loads. Two thirds of a start's CPU went into reading and parsing some sixty files. */
#include "lua/binding.h"
#include "lua/chunks.h"

static int compile(lua_State *L, const kx_chunk *chunk) {
  return luaL_loadbuffer(L, (const char *)chunk->code, chunk->size, chunk->module);
}

/* Loads one module, for package.preload. */
static int load(lua_State *L) {
  const kx_chunk *chunk = &kx_chunks[lua_tointeger(L, lua_upvalueindex(1))];

  if (compile(L, chunk) != 0) return lua_error(L);
  lua_pushstring(L, chunk->module);
  lua_call(L, 1, 1);
  return 1;
}

/* core.preload(loaders) adds a loader of each module to package.preload, where the host has none.
   A Lua for which the chunks were not compiled reads the files instead: each chunk's header names
   its Lua, and the first one is tried here. */
int kx_lua_preload(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  if (!kx_chunks[0].module) return 0;
  if (compile(L, &kx_chunks[0]) != 0) return 0;
  for (size_t i = 0; kx_chunks[i].module; i++) {
    lua_getfield(L, 1, kx_chunks[i].module);
    if (lua_isnil(L, -1)) {
      lua_pushinteger(L, (lua_Integer)i);
      lua_pushcclosure(L, load, 1);
      lua_setfield(L, 1, kx_chunks[i].module);
    }
    lua_settop(L, 1);
  }
  return 0;
}
