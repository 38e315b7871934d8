/* What the files of the binding share. Only the files of src/lua include Lua. */
#ifndef KX_LUA_H
#define KX_LUA_H

#include "lua/compat.h"

#include "file/sink.h"
#include "net/engine.h"

/* Sets a field of the table on top; a string that is NULL is left out. */
void kx_lua_set_string(lua_State *L, const char *name, const char *value);
void kx_lua_set_integer(lua_State *L, const char *name, uint64_t value);

/* Returns a field of the table at `index`: a string, which the table keeps alive, or NULL where it
   is absent; a number, or what it is otherwise; whether it is true. Raises on another type. */
const char *kx_lua_string(lua_State *L, int index, const char *name);
lua_Number kx_lua_number(lua_State *L, int index, const char *name, lua_Number otherwise);
int kx_lua_boolean(lua_State *L, int index, const char *name);

/* Reads the file or bytes that the table at `index` names as {path=} or {bytes=}; returns its kind
   as in net/body.h, and the string. Raises on anything else. */
int kx_lua_source(lua_State *L, int index, const char **text, size_t *size);

/* Returns the path that argument `index` is; raises on a NUL byte, behind which the system reads no
   further. */
const char *kx_lua_check_path(lua_State *L, int index);

/* Returns what may be replaced: argument `index` is "no_replace", or absent. */
kx_sink_way kx_lua_check_way(lua_State *L, int index);

/* Pushes the facts about a download's bytes: a table, or nil, a message and a code if they cannot
   be read or memory is short; returns how many values. */
int kx_lua_arrived(lua_State *L, const kx_source *source);

/* Pushes nil, the message and the errno's name; returns 3. */
int kx_lua_failed(lua_State *L, int number, const char *what);

/* The function core.log, and what makes its kind. */
int kx_lua_log(lua_State *L);
void kx_lua_log_type(lua_State *L);

/* Returns the descriptor of the open log at `index`, or raises. */
int kx_lua_log_fd(lua_State *L, int index);

/* Pushes base64 of a few bytes. */
void kx_lua_base64(lua_State *L, const void *bytes, size_t size);

/* Pushes a userdata that frees what its pointer will point to: should memory run out while that is
   pushed, the collector does it. */
void **kx_lua_guard(lua_State *L);
void kx_lua_guard_type(lua_State *L);

/* The function core.preload. */
int kx_lua_preload(lua_State *L);

/* The functions core.thumbnail and core.base64. */
int kx_lua_thumbnail(lua_State *L);
int kx_lua_encode(lua_State *L);

/* The functions that only the command calls. */
int kx_lua_watch_signals(lua_State *L);
int kx_lua_signal(lua_State *L);
int kx_lua_hold_streams(lua_State *L);
int kx_lua_terminal(lua_State *L);
int kx_lua_process(lua_State *L);
int kx_lua_working_folder(lua_State *L);
int kx_lua_make_folder(lua_State *L);
int kx_lua_sleep(lua_State *L);
int kx_lua_list(lua_State *L);
int kx_lua_modified(lua_State *L);

/* Makes the metatable of a kind of userdata. */
void kx_lua_type(lua_State *L, const char *name, const luaL_Reg *methods);

/* Returns the engine that is the first argument; raises where it is closed or the parent's. */
kx_engine *kx_lua_to_engine(lua_State *L);

/* Reads what a task of the worker reads, {path=, stamp=} or {bytes=}, from the argument behind the
   engine; its strings stay the table's. */
void kx_lua_input(lua_State *L, kx_work_input *input, kx_stamp *stamp);

/* The functions core.region_look and core.region_mask; the engine's methods for regions, which are
   added to its kind; and what a region's event says besides. */
int kx_lua_region_look(lua_State *L);
int kx_lua_region_mask(lua_State *L);
void kx_lua_region_methods(lua_State *L);
void kx_lua_region_event(lua_State *L, const kx_region *region);

/* The function core.engine, and what makes its kind. */
int kx_lua_engine(lua_State *L);
void kx_lua_engine_type(lua_State *L);

#endif
