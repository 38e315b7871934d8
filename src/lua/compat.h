/* The one place that knows Lua versions: 5.1 to 5.5 and LuaJIT, seen as 5.4's names. */
#ifndef KX_COMPAT_H
#define KX_COMPAT_H

#include "config.h"

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

#endif
