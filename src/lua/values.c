/* Values in and out of Lua: what the files of the binding share. */
#include "lua/binding.h"

#include "error.h"
#include "file/digest.h"
#include "net/base64.h"
#include "net/body.h"

#include <stdlib.h>
#include <string.h>

#define GUARD_TYPE "kontext.guard"

void kx_lua_type(lua_State *L, const char *name, const luaL_Reg *methods) {
  if (luaL_newmetatable(L, name)) {
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
    lua_pushstring(L, name); /* what getmetatable tells */
    lua_setfield(L, -2, "__metatable");
  }
  lua_pop(L, 1);
}

int kx_lua_failed(lua_State *L, int number, const char *what) {
  kx_error error;

  kx_error_file(&error, number, what);
  lua_pushnil(L);
  lua_pushstring(L, error.detail);
  lua_pushstring(L, error.code);
  return 3;
}

int kx_lua_source(lua_State *L, int index, const char **text, size_t *size) {
  int kind = KX_PATH;

  luaL_checktype(L, index, LUA_TTABLE);
  lua_getfield(L, index, "path");
  if (lua_isnil(L, -1)) {
    lua_pop(L, 1);
    lua_getfield(L, index, "bytes");
    kind = KX_BYTES;
  }
  if (lua_type(L, -1) != LUA_TSTRING) luaL_error(L, "{path = string} or {bytes = string} expected");
  *text = lua_tolstring(L, -1, size);
  if (kind == KX_PATH && strlen(*text) != *size) luaL_error(L, "path: contains a NUL byte");
  lua_pop(L, 1); /* the table keeps it */
  return kind;
}

void kx_lua_set_string(lua_State *L, const char *name, const char *value) {
  if (!value) return;
  lua_pushstring(L, value);
  lua_setfield(L, -2, name);
}

void kx_lua_set_integer(lua_State *L, const char *name, uint64_t value) {
  lua_pushinteger(L, (lua_Integer)value);
  lua_setfield(L, -2, name);
}

const char *kx_lua_string(lua_State *L, int index, const char *name) {
  const char *text;

  lua_getfield(L, index, name);
  if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING) {
    luaL_error(L, "%s: string expected", name);
  }
  text = lua_tostring(L, -1);
  lua_pop(L, 1);
  return text;
}

lua_Number kx_lua_number(lua_State *L, int index, const char *name, lua_Number otherwise) {
  lua_Number number;

  lua_getfield(L, index, name);
  number = lua_isnil(L, -1) ? otherwise : luaL_checknumber(L, -1);
  lua_pop(L, 1);
  return number;
}

int kx_lua_boolean(lua_State *L, int index, const char *name) {
  int set;

  lua_getfield(L, index, name);
  set = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return set;
}

const char *kx_lua_check_path(lua_State *L, int index) {
  size_t size;
  const char *path = luaL_checklstring(L, index, &size);

  luaL_argcheck(L, strlen(path) == size, index, "contains a NUL byte");
  return path;
}

kx_sink_way kx_lua_check_way(lua_State *L, int index) {
  static const char *const ways[] = {"replace", "no_replace", NULL};

  return luaL_checkoption(L, index, "replace", ways) == 1 ? KX_NO_REPLACE : KX_REPLACE;
}

void kx_lua_base64(lua_State *L, const void *bytes, size_t size) {
  char text[KX_BASE64_LENGTH(KX_DIGEST_MAX)];

  lua_pushlstring(L, text, kx_base64_encode(text, bytes, size));
}

void **kx_lua_guard(lua_State *L) {
  void **guard = (void **)lua_newuserdatauv(L, sizeof *guard, 0);

  *guard = NULL;
  luaL_getmetatable(L, GUARD_TYPE);
  lua_setmetatable(L, -2);
  return guard;
}

static int guard_free(lua_State *L) {
  void **guard = (void **)luaL_checkudata(L, 1, GUARD_TYPE);

  free(*guard);
  *guard = NULL;
  return 0;
}

void kx_lua_guard_type(lua_State *L) {
  static const luaL_Reg methods[] = {{"__gc", guard_free}, {NULL, NULL}};

  kx_lua_type(L, GUARD_TYPE, methods);
}
