/* The binding of kx_engine: an engine is a userdata, a transfer an integer. */
#include "lua/binding.h"

#include "clock.h"
#include "file/journal_file.h"
#include "net/ca_store.h"
#include "net/engine.h"
#include "net/poller.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TYPE "kontext.engine"
#define PIECES_MAX 16
#define HEADERS_MAX 8
#define ANSWER_MAX ((size_t)256 * 1024) /* lua-cjson gets no more */

typedef struct engine_box {
  kx_engine *engine; /* NULL before it is made and after close */
} engine_box;

static int64_t to_ns(lua_Number seconds) {
  if (!(seconds > 0)) return 0;
  return seconds > 9e9 ? KX_NEVER : (int64_t)(seconds * 1e9);
}

static void push_seconds(lua_State *L, int64_t ns) { lua_pushnumber(L, (lua_Number)ns / 1e9); }

/* Returns the engine; raises where it is closed or belongs to the parent process. */
static kx_engine *to_engine(lua_State *L) {
  engine_box *box = (engine_box *)luaL_checkudata(L, 1, TYPE);

  if (!box->engine) luaL_error(L, "the engine is closed");
  if (kx_engine_forked(box->engine)) luaL_error(L, "the engine belongs to the parent process");
  return box->engine;
}

kx_engine *kx_lua_to_engine(lua_State *L) { return to_engine(L); }

/* Chooses what a TLS connection trusts: the caller's file; else a hashed directory; else libcurl's
   bundle, without the directory that would switch its cache off. */
static void choose_trust(kx_settings *settings, const curl_version_info_data *curl,
                         const char *ca_file) {
  int openssl = curl->ssl_version && !strncmp(curl->ssl_version, "OpenSSL", 7);

  if (ca_file && curl->age >= CURLVERSION_SEVENTH && curl->cainfo &&
      strcmp(ca_file, curl->cainfo) == 0) {
    ca_file = NULL; /* the system's own, by name: looked up in the way that is cheapest */
  }
  settings->ca_file = ca_file;
  if (ca_file || !settings->tls || !openssl || curl->age < CURLVERSION_SEVENTH) return;
  if (kx_ca_store_hashed(curl->capath)) settings->ca_path = curl->capath;
  else settings->ca_file = curl->cainfo;
}

/* core.engine{connect_timeout=, stall_timeout=, user_agent=, proxy=, ca_file=, tls=} */
int kx_lua_engine(lua_State *L) {
  kx_settings settings;
  engine_box *box;
  const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

  luaL_checktype(L, 1, LUA_TTABLE);
  memset(&settings, 0, sizeof settings);
  settings.connect_timeout_ms = (long)(kx_lua_number(L, 1, "connect_timeout", 10) * 1000);
  settings.stall_ns = to_ns(kx_lua_number(L, 1, "stall_timeout", 30));
  settings.user_agent = kx_lua_string(L, 1, "user_agent");
  settings.proxy = kx_lua_string(L, 1, "proxy");
  settings.tls = kx_lua_boolean(L, 1, "tls");
  choose_trust(&settings, curl, kx_lua_string(L, 1, "ca_file"));
  settings.quick_exit = curl->version_num >= 0x075700;
  /* From 7.88 on TLS too writes through sockets that raise no SIGPIPE. */
  settings.no_signal = curl->version_num >= 0x075800;

  box = (engine_box *)lua_newuserdatauv(L, sizeof *box, 1);
  box->engine = NULL;
  luaL_getmetatable(L, TYPE);
  lua_setmetatable(L, -2);
  lua_newtable(L); /* id -> the strings that an upload reads from */
  kx_setuservalue(L, -2);

  box->engine = kx_engine_new(&settings);
  return box->engine ? 1 : kx_lua_failed(L, errno, "an engine");
}

/* Reads the array `headers` into `to`; returns how many. */
static size_t read_headers(lua_State *L, int index, const char **to) {
  size_t count = 0, i;

  lua_getfield(L, index, "headers");
  if (!lua_isnil(L, -1)) {
    luaL_checktype(L, -1, LUA_TTABLE);
    count = lua_rawlen(L, -1);
    if (count > HEADERS_MAX) luaL_error(L, "too many headers");
    for (i = 0; i < count; i++) {
      lua_rawgeti(L, -1, (int)i + 1);
      to[i] = luaL_checkstring(L, -1);
      lua_pop(L, 1);
    }
  }
  lua_pop(L, 1);
  return count;
}

/* Reads what every request has; its strings stay the table's. */
static void read_request(lua_State *L, kx_request *request, const char **headers) {
  luaL_checktype(L, 2, LUA_TTABLE);
  memset(request, 0, sizeof *request);
  request->url = kx_lua_string(L, 2, "url");
  if (!request->url) luaL_error(L, "url: string expected");
  request->headers = headers;
  request->header_count = read_headers(L, 2, headers);
  request->deadline = to_ns(kx_lua_number(L, 2, "deadline", HUGE_VAL));
  request->allow_http = kx_lua_boolean(L, 2, "allow_http");
  request->no_proxy = kx_lua_boolean(L, 2, "no_proxy");
}

/* Reads `stamp` of the table on top, one of core.check's, into `stamp`; returns it, or NULL where
   there is none. */
static const kx_stamp *read_stamp(lua_State *L, kx_stamp *stamp) {
  const char *bytes = NULL;
  size_t size;

  lua_getfield(L, -1, "stamp");
  if (lua_type(L, -1) == LUA_TSTRING) {
    bytes = lua_tolstring(L, -1, &size);
    if (size != sizeof *stamp) luaL_error(L, "stamp: not one of core.check's");
    memcpy(stamp, bytes, size);
  }
  lua_pop(L, 1);
  return bytes ? stamp : NULL;
}

/* Reads what a task of the worker reads, {path=, stamp=} or {bytes=}, from the argument behind the
   engine; its strings stay the table's. */
void kx_lua_input(lua_State *L, kx_work_input *input, kx_stamp *stamp) {
  const char *text;

  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  memset(input, 0, sizeof *input);
  if (kx_lua_source(L, 2, &text, &input->size) == KX_PATH) input->path = text;
  else input->bytes = text;
  input->stamp = read_stamp(L, stamp);
}

/* Reads one piece of a body: a text, or {path=, stamp=} or {bytes=}. */
static void read_piece(lua_State *L, kx_piece *piece, kx_stamp *stamp) {
  if (lua_type(L, -1) == LUA_TSTRING) {
    piece->kind = KX_TEXT;
    piece->text = lua_tolstring(L, -1, &piece->size);
    return;
  }
  piece->kind = (kx_piece_kind)kx_lua_source(L, lua_gettop(L), &piece->text, &piece->size);
  piece->stamp = read_stamp(L, stamp);
}

/* Reads `mark`, {log=, line=}: what the journal says before the body's first byte goes out. */
static const char *read_mark(lua_State *L, int *fd, size_t *size) {
  const char *line = NULL;

  lua_getfield(L, 2, "mark");
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "log");
    *fd = kx_lua_log_fd(L, -1);
    lua_getfield(L, -2, "line");
    line = luaL_checklstring(L, -1, size);
    lua_pop(L, 2); /* the table keeps both */
  }
  lua_pop(L, 1);
  return line;
}

/* engine:edit{url=, headers=, pieces=, mark=, deadline=, allow_http=, no_proxy=} -> id, or nil,
   message, code */
static int engine_edit(lua_State *L) {
  kx_engine *engine = to_engine(L);
  const char *headers[HEADERS_MAX], *mark;
  kx_request request;
  kx_piece pieces[PIECES_MAX];
  kx_stamp stamps[PIECES_MAX];
  size_t count, i, which, mark_size = 0;
  uint64_t id;
  int mark_fd = -1, error;

  read_request(L, &request, headers);
  mark = read_mark(L, &mark_fd, &mark_size);
  memset(pieces, 0, sizeof pieces);
  lua_getfield(L, 2, "pieces");
  luaL_checktype(L, -1, LUA_TTABLE);
  count = lua_rawlen(L, -1);
  if (count > PIECES_MAX) luaL_error(L, "too many pieces");
  for (i = 0; i < count; i++) {
    lua_rawgeti(L, -1, (int)i + 1);
    read_piece(L, &pieces[i], &stamps[i]);
    lua_pop(L, 1);
  }
  kx_getuservalue(L, 1);
  lua_pushvalue(L, -2);
  /* Kept for the bytes that are read from them, before the start: this may run out of memory. */
  lua_rawseti(L, -2, (int)kx_engine_next_id(engine));

  request.body = kx_body_new(pieces, count, &which);
  if (!request.body) {
    return kx_lua_failed(L, errno, pieces[which].kind == KX_PATH ? pieces[which].text : "the body");
  }
  error = mark ? kx_body_mark(request.body, mark_fd, mark, mark_size) : 0;
  if (error) {
    kx_body_free(request.body);
    return kx_lua_failed(L, error, "the journal");
  }
  request.sink = kx_sink_memory(ANSWER_MAX);
  id = kx_engine_start(engine, &request, 0);
  if (!id) return kx_lua_failed(L, ENOMEM, "the upload");
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

/* engine:fetch{url=, headers=, cap=, deadline=, allow_http=, no_proxy=, hold=, digest=, path=,
   no_replace=, continue=} -> id, or nil, message, code */
static int engine_fetch(lua_State *L) {
  kx_engine *engine = to_engine(L);
  const char *headers[HEADERS_MAX], *path;
  kx_request request;
  lua_Number cap, earlier;
  uint64_t id;
  int hold;
  kx_sink_way way;

  read_request(L, &request, headers);
  cap = kx_lua_number(L, 2, "cap", ANSWER_MAX);
  earlier = kx_lua_number(L, 2, "continue", 0);
  hold = kx_lua_boolean(L, 2, "hold");
  request.digest = kx_lua_boolean(L, 2, "digest");
  path = kx_lua_string(L, 2, "path");
  way = kx_lua_boolean(L, 2, "no_replace") ? KX_NO_REPLACE : KX_REPLACE;
  if (!(cap > 0 && cap < (lua_Number)(SIZE_MAX / 2))) luaL_error(L, "cap: out of range");

  if (earlier > 0) request.sink = kx_engine_take(engine, (uint64_t)earlier);
  if (!request.sink) {
    request.sink =
        path ? kx_sink_file(path, (uint64_t)cap, 0666, way) : kx_sink_memory((size_t)cap);
    if (!request.sink) return kx_lua_failed(L, errno, path ? path : "the answer");
  }
  id = kx_engine_start(engine, &request, hold);
  if (!id) return kx_lua_failed(L, ENOMEM, "the download");
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

/* engine:fit{path=, stamp= or bytes=, width=, height=, quality=, memory=} -> id, or nil, message,
   code; its event's body is the fitted picture. */
static int engine_fit(lua_State *L) {
  kx_engine *engine = to_engine(L);
  kx_work_input picture;
  kx_stamp stamp;
  kx_fit fit;
  uint64_t id;

  kx_lua_input(L, &picture, &stamp);
  fit.width = (int)kx_lua_number(L, 2, "width", 0);
  fit.height = (int)kx_lua_number(L, 2, "height", 0);
  fit.quality = (int)kx_lua_number(L, 2, "quality", 0);
  fit.memory = (uint64_t)kx_lua_number(L, 2, "memory", 0);
  id = kx_engine_fit(engine, &fit, &picture);
  if (!id) return kx_lua_failed(L, errno, "the picture");
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

/* engine:digest{path= or bytes=} -> id, or nil, message, code; its event has `digest`, the SHA-256
   as core.fingerprint returns it. */
static int engine_digest(lua_State *L) {
  kx_engine *engine = to_engine(L);
  kx_work_input file;
  kx_stamp stamp;
  uint64_t id;

  kx_lua_input(L, &file, &stamp);
  id = kx_engine_digest(engine, &file);
  if (!id) return kx_lua_failed(L, errno, file.path ? file.path : "the bytes");
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

/* Pushes the bytes that a memory sink holds. */
static void push_sink(lua_State *L, const kx_sink *sink) {
  kx_source source;

  kx_sink_source(sink, &source);
  lua_pushlstring(L, (const char *)source.memory, (size_t)source.size);
}

/* Sets what came of a task of the worker in the event on top, beside id, kind, code and detail: of
   a picture that was made to fit `fitted` and `body`, of a digest `digest`. */
static void push_work(lua_State *L, const kx_work *work) {
  int good = work->error.kind == NULL;

  switch (work->kind) {
    case KX_WORK_FIT:
      lua_pushboolean(L, 1);
      lua_setfield(L, -2, "fitted");
      if (good) {
        push_sink(L, work->out);
        lua_setfield(L, -2, "body");
      }
      break;
    case KX_WORK_DIGEST:
      if (good) {
        lua_pushlstring(L, (const char *)work->digest, sizeof work->digest);
        lua_setfield(L, -2, "digest");
      }
      break;
    case KX_WORK_REGION:
      if (good) {
        push_sink(L, work->out);
        lua_setfield(L, -2, "body");
        kx_lua_region_event(L, work->region);
      }
      break;
  }
}

/* Pushes what came of a transfer: {id, kind, code, detail, status, sent, total, received, headers,
   length_known, body, md5}; kind is absent after success, body is the answer's, or the error's. Of
   a task of the worker see push_work. */
static void push_event(lua_State *L, const kx_transfer *t) {
  unsigned char digest[KX_DIGEST_MAX];
  uint64_t total, sent = kx_transfer_sent(t, &total);
  int i, good = t->status >= 200 && t->status < 300;
  size_t size;

  lua_createtable(L, 0, 12);
  kx_lua_set_integer(L, "id", t->id);
  if (t->error.kind) {
    kx_lua_set_string(L, "kind", t->error.kind);
    kx_lua_set_string(L, "code", t->error.code);
    kx_lua_set_string(L, "detail", t->error.detail);
  }
  if (t->work) {
    push_work(L, t->work);
    return;
  }
  if (t->status) kx_lua_set_integer(L, "status", (uint64_t)t->status);
  kx_lua_set_integer(L, "sent", sent);
  kx_lua_set_integer(L, "total", total);
  kx_lua_set_integer(L, "received", kx_sink_size(t->sink));
  lua_pushboolean(L, t->length_known);
  lua_setfield(L, -2, "length_known");
  lua_createtable(L, 0, KX_HEADERS);
  for (i = 0; i < KX_HEADERS; i++) kx_lua_set_string(L, kx_header_name((kx_header)i), t->values[i]);
  lua_setfield(L, -2, "headers");
  if (!good || !t->hold) {
    push_sink(L, good ? t->sink : t->error_body);
    lua_setfield(L, -2, "body");
  }
  size = t->hold ? kx_sink_digest_value(t->sink, digest) : 0;
  if (size > 0) {
    kx_lua_base64(L, digest, size);
    lua_setfield(L, -2, "md5");
  }
}

/* Pushes an array of the events to report, or nil, and whether bytes moved; only the
   engine is on the stack. */
static int push_events(lua_State *L, kx_engine *engine) {
  kx_transfer *t;
  int count = 0;
  uint64_t moved = 0;

  kx_getuservalue(L, 1);
  if (!kx_engine_ended(engine)) lua_pushnil(L);
  else lua_newtable(L);
  for (t = kx_engine_ended(engine); t; t = t->next) {
    push_event(L, t);
    lua_rawseti(L, 3, ++count);
  }
  /* Dropped only when all are in the table, so that none is lost if memory runs out before. */
  while ((t = kx_engine_ended(engine))) {
    lua_pushnil(L);
    lua_rawseti(L, 2, (int)t->id);
    kx_engine_drop_ended(engine);
  }
  for (t = kx_engine_active(engine); t; t = t->next) {
    moved += t->moved;
    t->moved = 0;
  }
  lua_pushboolean(L, moved > 0);
  return 2;
}

/* engine:step(seconds) -> an array of events or nil, and whether bytes moved. */
static int engine_step(lua_State *L) {
  kx_engine *engine = to_engine(L);
  lua_Number budget = luaL_optnumber(L, 2, 0.001);

  lua_settop(L, 1);
  kx_engine_step(engine, to_ns(budget) + 1);
  return push_events(L, engine);
}

/* engine:settle(seconds) -> the same for what already lies in the sockets: nothing is begun, waited
   for or ended for being late. Before a cancel it finds the answer that has come. */
static int engine_settle(lua_State *L) {
  kx_engine *engine = to_engine(L);
  lua_Number budget = luaL_optnumber(L, 2, 0.1);

  lua_settop(L, 1);
  kx_engine_settle(engine, to_ns(budget) + 1);
  return push_events(L, engine);
}

/* engine:progress(id) -> sent, total, received; nothing when the transfer is not under way. */
static int engine_progress(lua_State *L) {
  const engine_box *box = (const engine_box *)luaL_checkudata(L, 1, TYPE);
  /* It only reads, so it needs no check for a forked child, which took longer than the rest. */
  kx_transfer *t = box->engine ? kx_engine_active(box->engine) : NULL;
  uint64_t id = (uint64_t)luaL_checknumber(L, 2), sent, total;

  while (t && t->id != id) t = t->next;
  if (!t) return 0;
  sent = kx_transfer_sent(t, &total);
  lua_pushinteger(L, (lua_Integer)sent);
  lua_pushinteger(L, (lua_Integer)total);
  lua_pushinteger(L, (lua_Integer)kx_sink_size(t->sink));
  return 3;
}

/* engine:cancel(id) */
static int engine_cancel(lua_State *L) {
  kx_engine *engine = to_engine(L);
  lua_Number id = luaL_checknumber(L, 2);

  kx_engine_cancel(engine, (uint64_t)id);
  kx_getuservalue(L, 1);
  lua_pushnil(L);
  lua_rawseti(L, -2, (int)id);
  return 0;
}

/* engine:check(id) -> {format, label, width, height, bytes, ended, why}: what a held download has
   brought; see kx_lua_arrived. */
static int engine_check(lua_State *L) {
  kx_transfer *t = kx_engine_held(to_engine(L), (uint64_t)luaL_checknumber(L, 2));
  kx_source source;

  luaL_argcheck(L, t != NULL, 2, "no such download");
  kx_sink_source(t->sink, &source);
  return kx_lua_arrived(L, &source);
}

/* engine:finish(id) -> the bytes, or true when they are a file in its place; or nil, message, code:
   then the download is still held, for engine:save at another path and engine:cancel. */
static int engine_finish(lua_State *L) {
  kx_engine *engine = to_engine(L);
  uint64_t id = (uint64_t)luaL_checknumber(L, 2);
  kx_transfer *t = kx_engine_held(engine, id);
  kx_source source;
  int error = 0;

  luaL_argcheck(L, t != NULL, 2, "no such download");
  kx_sink_source(t->sink, &source);
  if (source.fd < 0) {
    push_sink(L, t->sink);
  } else {
    error = kx_sink_finish(t->sink);
    lua_pushboolean(L, 1);
  }
  if (error) return kx_lua_failed(L, error, "the output file");
  kx_engine_cancel(engine, id);
  return 1;
}

/* engine:save(id, path, "no_replace") -> true once a copy of what a held download has brought is
   the file `path`; or nil, message, code. The download stays held. */
static int engine_save(lua_State *L) {
  kx_transfer *t = kx_engine_held(to_engine(L), (uint64_t)luaL_checknumber(L, 2));
  const char *path = kx_lua_check_path(L, 3);
  kx_sink_way way = kx_lua_check_way(L, 4);
  kx_sink *copy;
  int error;

  luaL_argcheck(L, t != NULL, 2, "no such download");
  copy = kx_sink_file(path, UINT64_MAX, 0666, way);
  if (!copy) return kx_lua_failed(L, errno, path);
  error = kx_sink_copy(copy, t->sink);
  if (!error) error = kx_sink_finish(copy);
  kx_sink_free(copy);
  if (error) return kx_lua_failed(L, error, path);
  lua_pushboolean(L, 1);
  return 1;
}

/* engine:pollfd() -> descriptor, or nil where the host has to tick. */
static int engine_pollfd(lua_State *L) {
  int fd = kx_engine_fd(to_engine(L));

  if (fd < 0) lua_pushnil(L);
  else lua_pushinteger(L, fd);
  return 1;
}

/* engine:timeout() -> seconds until a step is due, or nil. */
static int engine_timeout(lua_State *L) {
  int64_t due = kx_engine_due(to_engine(L)), now = kx_now();

  if (due == KX_NEVER) lua_pushnil(L);
  else push_seconds(L, due > now ? due - now : 0);
  return 1;
}

/* engine:alarm(when): a step is due at `when` (core.now's seconds; nil: never) for Lua's sake. */
static int engine_alarm(lua_State *L) {
  kx_engine_alarm(to_engine(L), to_ns(luaL_optnumber(L, 2, HUGE_VAL)));
  return 0;
}

/* engine:wait(when): blocks until something is to be done or `when` has come. */
static int engine_wait(lua_State *L) {
  kx_engine_wait(to_engine(L), to_ns(luaL_optnumber(L, 2, HUGE_VAL)));
  return 0;
}

/* engine:forked() -> true in a child process. */
static int engine_forked(lua_State *L) {
  engine_box *box = (engine_box *)luaL_checkudata(L, 1, TYPE);

  lua_pushboolean(L, box->engine && kx_engine_forked(box->engine));
  return 1;
}

/* engine:close(), and the collector's call. */
static int engine_close(lua_State *L) {
  engine_box *box = (engine_box *)luaL_checkudata(L, 1, TYPE);

  kx_engine_free(box->engine);
  box->engine = NULL;
  return 0;
}

void kx_lua_engine_type(lua_State *L) {
  static const luaL_Reg methods[] = {{"edit", engine_edit},
                                     {"fetch", engine_fetch},
                                     {"fit", engine_fit},
                                     {"digest", engine_digest},
                                     {"step", engine_step},
                                     {"save", engine_save},
                                     {"settle", engine_settle},
                                     {"progress", engine_progress},
                                     {"cancel", engine_cancel},
                                     {"check", engine_check},
                                     {"finish", engine_finish},
                                     {"pollfd", engine_pollfd},
                                     {"timeout", engine_timeout},
                                     {"alarm", engine_alarm},
                                     {"wait", engine_wait},
                                     {"forked", engine_forked},
                                     {"close", engine_close},
                                     {"__gc", engine_close},
                                     {NULL, NULL}};

  kx_lua_type(L, TYPE, methods);
}
