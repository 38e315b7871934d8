/* The one place that knows Lua versions: 5.1 to 5.5 and LuaJIT, seen as 5.4's names. */
#ifndef KX_COMPAT_H
#define KX_COMPAT_H

#include "kx_config.h"

#include <lauxlib.h>
#include <lua.h>
#include <stddef.h>

#if LUA_VERSION_NUM < 502

#define lua_rawlen lua_objlen
#ifndef luaL_newlib /* LuaJIT has it */
#define luaL_newlib(L, functions) (lua_newtable(L), luaL_setfuncs(L, functions, 0))
#define luaL_setfuncs(L, functions, upvalues) ((void)(upvalues), luaL_register(L, NULL, functions))
#endif
/* An environment, which every userdata has, serves as the one user value. */
#define kx_setuservalue(L, index) ((void)lua_setfenv(L, index))
#define kx_getuservalue(L, index) lua_getfenv(L, index)

#elif LUA_VERSION_NUM < 504

#define kx_setuservalue(L, index) lua_setuservalue(L, index)
#define kx_getuservalue(L, index) ((void)lua_getuservalue(L, index))

#else

#define kx_setuservalue(L, index) ((void)lua_setiuservalue(L, index, 1))
#define kx_getuservalue(L, index) ((void)lua_getiuservalue(L, index, 1))

#endif

#if LUA_VERSION_NUM < 504
#define lua_newuserdatauv(L, size, values) lua_newuserdata(L, size)
#endif

/* What the two files of the binding share. */

/* Reads the file or bytes that the table at `index` names as {path=} or {bytes=}; returns its kind as
   in kx_body.h, and the string. Raises on anything else. */
int kx_lua_source(lua_State *L, int index, const char **text, size_t *size);

struct kx_source;

/* Pushes the picture check of a source: a table, or nil, outcome and details; returns how many. What
   the caller has opened would stay open when memory runs out. */
int kx_lua_check(lua_State *L, const struct kx_source *source);

/* Pushes nil, the message and the errno's name; returns 3. */
int kx_lua_failed(lua_State *L, int number, const char *what);

/* Returns the descriptor of the open log at `index`, or raises. */
int kx_lua_log_fd(lua_State *L, int index);

/* Pushes base64 of a few bytes. */
void kx_lua_base64(lua_State *L, const void *bytes, size_t size);

/* Makes the metatable of a kind of userdata. */
void kx_lua_type(lua_State *L, const char *name, const luaL_Reg *methods);

/* The function core.engine, and what makes its kind. */
int kx_lua_engine(lua_State *L);
void kx_lua_engine_type(lua_State *L);

#endif
