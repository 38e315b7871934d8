/* The binding of kx_region: methods of the engine whose events hold the results. */
#include "lua/binding.h"

#include "net/engine.h"
#include "region/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ENGINE "kontext.engine"
#define SIDE_MAX (1 << 24)

/* Opens what the table at `index` names; returns 0, or an errno with `*what`. */
static int open_source(lua_State *L, int index, kx_source *source, const char **what) {
  size_t size;

  if (kx_lua_source(L, index, what, &size) == KX_PATH) return kx_source_open(source, *what);
  kx_source_memory(source, *what, size);
  *what = "the picture";
  return 0;
}

/* core.region_look({path=} or {bytes=}, width, height) -> what keeps a window of that size from
   being edited, or nil; and the bytes of memory that it takes. Reads the header only. */
int kx_lua_region_look(lua_State *L) {
  lua_Number width = luaL_checknumber(L, 2), height = luaL_checknumber(L, 3);
  kx_source source;
  kx_image_info info;
  uint64_t bytes;
  const char *what, *why;
  int error = open_source(L, 1, &source, &what);

  luaL_argcheck(L, width >= 0 && width <= SIDE_MAX, 2, "out of range");
  luaL_argcheck(L, height >= 0 && height <= SIDE_MAX, 3, "out of range");
  if (error) {
    lua_pushstring(L, "it cannot be read");
    return 1;
  }
  why = kx_region_look(&source, &info);
  bytes = source.size;
  kx_source_close(&source);
  lua_pushstring(L, why); /* NULL is nil */
  lua_pushinteger(L, (lua_Integer)kx_region_memory(&info, bytes, (int)width, (int)height));
  return 2;
}

static void set_rect(lua_State *L, const char *name, const kx_rect *rect) {
  lua_createtable(L, 0, 4);
  kx_lua_set_integer(L, "x", (uint64_t)rect->x);
  kx_lua_set_integer(L, "y", (uint64_t)rect->y);
  kx_lua_set_integer(L, "width", (uint64_t)rect->width);
  kx_lua_set_integer(L, "height", (uint64_t)rect->height);
  lua_setfield(L, -2, name);
}

/* core.region_mask({path=} or {bytes=}) -> {width, height, box = {x, y, width, height}} of a mask,
   or nil, message. Decodes all of it, a row at a time. */
int kx_lua_region_mask(lua_State *L) {
  kx_region job;
  kx_source source;
  kx_error failure;
  const char *what;
  int error = open_source(L, 1, &source, &what);

  if (error) return kx_lua_failed(L, error, what);
  memset(&job, 0, sizeof job);
  job.kind = KX_REGION_MASK;
  error = kx_region_run(&job, &source, NULL, &failure);
  kx_source_close(&source);
  if (error) {
    lua_pushnil(L);
    lua_pushstring(L, failure.detail);
    return 2;
  }
  lua_createtable(L, 0, 3);
  kx_lua_set_integer(L, "width", (uint64_t)job.picture_width);
  kx_lua_set_integer(L, "height", (uint64_t)job.picture_height);
  set_rect(L, "box", &job.box);
  return 1;
}

/* Reads a number of the table at `index`, 0 where it is absent; raises out of range. */
static int side(lua_State *L, int index, const char *name) {
  lua_Number value = kx_lua_number(L, index, name, 0);

  if (!(value >= 0 && value <= SIDE_MAX)) luaL_error(L, "%s: out of range", name);
  return (int)value;
}

static void read_rect(lua_State *L, const char *name, kx_rect *rect) {
  lua_getfield(L, 2, name);
  memset(rect, 0, sizeof *rect);
  if (lua_istable(L, -1)) {
    int table = lua_gettop(L);
    rect->x = side(L, table, "x");
    rect->y = side(L, table, "y");
    rect->width = side(L, table, "width");
    rect->height = side(L, table, "height");
  }
  lua_pop(L, 1);
}

/* Reads what the jobs share into `job`, which has no strings yet, and the file. */
static void read_job(lua_State *L, kx_region *job, kx_work_input *input, kx_stamp *stamp) {
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  memset(job, 0, sizeof *job);
  read_rect(L, "window", &job->window);
  read_rect(L, "region", &job->region);
  job->width = side(L, 2, "width");
  job->height = side(L, 2, "height");
  job->quality = side(L, 2, "quality");
  job->memory = (uint64_t)kx_lua_number(L, 2, "memory", 0);
  kx_lua_input(L, input, stamp);
}

/* Copies a text that may be absent; returns 1, or 0 without memory. */
static int copy_text(const char *from, char **to) {
  *to = from ? strdup(from) : NULL;
  return !from || *to;
}

/* Makes the job of what was read and queues it -> id, or nil, message, code. */
static int start(lua_State *L, const kx_region *read, kx_region_kind kind,
                 const kx_work_input *input, const char *const texts[3], const char *answer,
                 size_t answer_size) {
  kx_engine *engine = kx_lua_to_engine(L);
  kx_region *job = kx_region_new(kind);
  uint64_t id;
  int whole;

  if (!job) return kx_lua_failed(L, ENOMEM, "the picture");
  *job = *read;
  job->kind = kind;
  whole = copy_text(texts[0], &job->answer_path) & copy_text(texts[1], &job->mask) &
          copy_text(texts[2], &job->to);
  if (whole && answer) {
    job->answer = (unsigned char *)malloc(answer_size + 1);
    whole = job->answer != NULL;
    if (whole) memcpy(job->answer, answer, answer_size);
    job->answer_size = answer_size;
  }
  if (!whole) {
    kx_region_free(job);
    return kx_lua_failed(L, ENOMEM, "the picture");
  }
  id = kx_engine_region(engine, job, input);
  if (!id) return kx_lua_failed(L, errno, "the picture");
  lua_pushinteger(L, (lua_Integer)id);
  return 1;
}

static const char *const no_texts[3] = {NULL, NULL, NULL};

/* engine:region_cut{path=, stamp= or bytes=, window=, width=, height=, quality=, memory=} -> id, or
   nil, message, code; its event's body is the window, upright, as JPEG of that quality or (0)
   PNG. */
static int region_cut(lua_State *L) {
  kx_region job;
  kx_work_input input;
  kx_stamp stamp;

  read_job(L, &job, &input, &stamp);
  return start(L, &job, KX_REGION_CUT, &input, no_texts, NULL, 0);
}

/* engine:region_compose{path=, stamp= or bytes=, window=, region=, answer= or answer_path=,
   mask_path=, to=, no_replace=, metadata=, memory=} -> id, or nil, message, code. `metadata` is
   "keep" (the default), "strip" or "none". Without `to` the event's body is the file; `match`,
   `shift_x`, `shift_y`, `zoom_x`, `zoom_y` say how the answer lay (without a margin there is no
   `match`), `warning` what else is to be
   known; `size` and `md5` (base64) are the result's. */
static int region_compose(lua_State *L) {
  static const char *const ways[] = {"keep", "strip", "none", NULL};
  const char *texts[3], *answer;
  size_t size = 0;
  kx_region job;
  kx_work_input input;
  kx_stamp stamp;

  read_job(L, &job, &input, &stamp);
  lua_getfield(L, 2, "metadata");
  job.metadata = (kx_metadata)luaL_checkoption(L, -1, "keep", ways);
  job.way = kx_lua_boolean(L, 2, "no_replace") ? KX_NO_REPLACE : KX_REPLACE;
  texts[0] = kx_lua_string(L, 2, "answer_path");
  texts[1] = kx_lua_string(L, 2, "mask_path");
  texts[2] = kx_lua_string(L, 2, "to");
  lua_getfield(L, 2, "answer");
  answer = lua_isnil(L, -1) ? NULL : luaL_checklstring(L, -1, &size);
  if (!answer == !texts[0]) return luaL_error(L, "answer or answer_path expected");
  return start(L, &job, KX_REGION_COMPOSE, &input, texts, answer, size);
}

/* engine:region_strip{path=, stamp= or bytes=} -> id, or nil, message, code; its event's body is
   the JPEG or PNG without place, names, serial numbers and maker notes, its coded pixels the same.
   */
static int region_strip(lua_State *L) {
  kx_region job;
  kx_work_input input;
  kx_stamp stamp;

  read_job(L, &job, &input, &stamp);
  return start(L, &job, KX_REGION_STRIP, &input, no_texts, NULL, 0);
}

/* engine:region_mask{path=, stamp= or bytes=} -> id, or nil, message, code; its event has `width`,
   `height` and `box`. */
static int region_mask(lua_State *L) {
  kx_region job;
  kx_work_input input;
  kx_stamp stamp;

  read_job(L, &job, &input, &stamp);
  return start(L, &job, KX_REGION_MASK, &input, no_texts, NULL, 0);
}

static void set_number(lua_State *L, const char *name, double value) {
  lua_pushnumber(L, (lua_Number)value);
  lua_setfield(L, -2, name);
}

void kx_lua_region_event(lua_State *L, const kx_region *job) {
  if (job->kind == KX_REGION_MASK) {
    kx_lua_set_integer(L, "width", (uint64_t)job->picture_width);
    kx_lua_set_integer(L, "height", (uint64_t)job->picture_height);
    set_rect(L, "box", &job->box);
  } else if (job->kind == KX_REGION_COMPOSE) {
    if (job->matched) set_number(L, "match", job->match);
    set_number(L, "shift_x", job->shift_x);
    set_number(L, "shift_y", job->shift_y);
    set_number(L, "zoom_x", job->zoom_x);
    set_number(L, "zoom_y", job->zoom_y);
    kx_lua_set_integer(L, "size", job->size);
    if (job->md5_size > 0) {
      kx_lua_base64(L, job->md5, job->md5_size);
      lua_setfield(L, -2, "md5");
    }
    if (*job->warning) kx_lua_set_string(L, "warning", job->warning);
  }
}

void kx_lua_region_methods(lua_State *L) {
  static const luaL_Reg methods[] = {{"region_cut", region_cut},
                                     {"region_compose", region_compose},
                                     {"region_strip", region_strip},
                                     {"region_mask", region_mask},
                                     {NULL, NULL}};

  luaL_getmetatable(L, ENGINE);
  luaL_setfuncs(L, methods, 0);
  lua_pop(L, 1);
}
