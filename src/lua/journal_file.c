/* The binding of kx_journal_file: a journal's file is a userdata. */
#include "lua/binding.h"

#include "file/journal_file.h"

#include <errno.h>
#include <string.h>

#define TYPE "kontext.log"

typedef struct log_box {
  kx_journal_file *log; /* NULL before it is opened and after close */
  kx_sink *content;     /* of a read that is under way, or was when memory ran out */
} log_box;

static kx_journal_file *to_log(lua_State *L, int index) {
  log_box *box = (log_box *)luaL_checkudata(L, index, TYPE);

  if (!box->log) luaL_error(L, "the journal is closed");
  return box->log;
}

int kx_lua_log_fd(lua_State *L, int index) { return kx_journal_file_fd(to_log(L, index)); }

/* core.log(path, {create=}) -> log, or nil, message, code; with create = false only a file that is
   there is opened. */
int kx_lua_log(lua_State *L) {
  size_t size;
  const char *path = luaL_checklstring(L, 1, &size);
  log_box *box;
  int create = 1, error;

  luaL_argcheck(L, strlen(path) == size, 1, "contains a NUL byte");
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_getfield(L, 2, "create");
    create = lua_isnil(L, -1) || lua_toboolean(L, -1);
    lua_pop(L, 1);
  }
  box = (log_box *)lua_newuserdatauv(L, sizeof *box, 1);
  box->log = NULL;
  box->content = NULL;
  luaL_getmetatable(L, TYPE);
  lua_setmetatable(L, -2);
  box->log = kx_journal_file_open(path, create);
  if (box->log) return 1;
  error = errno;
  kx_lua_failed(L, error, path);
  if (error != ENOLCK) return 3;
  lua_pushfstring(L,
                  "%s: its file system has no locks, so two processes could send one edit "
                  "twice: keep the journal on a local disk",
                  lua_tostring(L, -2));
  lua_replace(L, -3);
  return 3;
}

/* log:in_place() -> true while the journal's name is the open file's; false when the file was
   removed, renamed or replaced. */
static int log_in_place(lua_State *L) {
  lua_pushboolean(L, kx_journal_file_in_place(to_log(L, 1)));
  return 1;
}

/* log:read(size, offset = 0) -> at most so many bytes, or nil, message, code. */
static int log_read(lua_State *L) {
  kx_journal_file *log = to_log(L, 1);
  log_box *box = (log_box *)lua_touserdata(L, 1);
  size_t size = (size_t)luaL_checknumber(L, 2);
  uint64_t offset = (uint64_t)luaL_optnumber(L, 3, 0);
  kx_source source;
  int error;

  kx_sink_free(box->content);
  box->content = kx_sink_memory(size);
  error = box->content ? kx_journal_file_read(log, offset, size, box->content) : ENOMEM;
  if (!error) {
    kx_sink_source(box->content, &source);
    lua_pushlstring(L, (const char *)source.memory, (size_t)source.size);
  }
  kx_sink_free(box->content);
  box->content = NULL;
  return error ? kx_lua_failed(L, error, "the journal") : 1;
}

/* Pushes true, or nil, message, code. */
static int log_result(lua_State *L, int error) {
  if (error) return kx_lua_failed(L, error, "the journal");
  lua_pushboolean(L, 1);
  return 1;
}

/* log:append(bytes, sync) -> where they end in the file, or nil, message, code. */
static int log_append(lua_State *L) {
  kx_journal_file *log = to_log(L, 1);
  size_t size;
  const char *bytes = luaL_checklstring(L, 2, &size);
  int error = kx_journal_file_append(log, bytes, size, lua_toboolean(L, 3));

  if (error) return kx_lua_failed(L, error, "the journal");
  lua_pushnumber(L, (lua_Number)kx_journal_file_size(log));
  return 1;
}

/* log:draft(bytes) -> true, or nil, message, code; without bytes the draft is dropped. */
static int log_draft(lua_State *L) {
  kx_journal_file *log = to_log(L, 1);
  size_t size;
  const char *bytes = luaL_optlstring(L, 2, NULL, &size);

  if (!bytes) kx_journal_file_drop_draft(log);
  return log_result(L, bytes ? kx_journal_file_draft(log, bytes, size) : 0);
}

/* log:replace(bytes, head = "") -> true, or nil, message, code. */
static int log_replace(lua_State *L) {
  kx_journal_file *log = to_log(L, 1);
  size_t size, head_size;
  const char *bytes = luaL_checklstring(L, 2, &size);
  const char *head = luaL_optlstring(L, 3, "", &head_size);

  return log_result(L, kx_journal_file_replace(log, head, head_size, bytes, size));
}

/* log:close(), and the collector's call. */
static int log_close(lua_State *L) {
  log_box *box = (log_box *)luaL_checkudata(L, 1, TYPE);

  kx_journal_file_close(box->log);
  kx_sink_free(box->content);
  box->log = NULL;
  box->content = NULL;
  return 0;
}

void kx_lua_log_type(lua_State *L) {
  static const luaL_Reg methods[] = {{"read", log_read},         {"append", log_append},
                                     {"draft", log_draft},       {"replace", log_replace},
                                     {"in_place", log_in_place}, {"close", log_close},
                                     {"__gc", log_close},        {NULL, NULL}};

  kx_lua_type(L, TYPE, methods);
}
