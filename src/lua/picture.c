/* The binding of pictures: the facts about a download, small pictures for previews, and base64 of
   whole strings. */
#include "lua/binding.h"

#include "net/base64.h"
#include "net/body.h"
#include "picture/ending.h"
#include "picture/picture.h"
#include "region/geometry.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DECODER_MEMORY (512u << 20) /* 20 MP take some 180 MiB */
#define SIDE_MAX 4096
#define JPEG_QUALITY 90
#define ARRIVED_READS \
  4096 /* for a stranger's file, within a step: some three milliseconds at most */

enum { RGB, JPEG, PNG };

/* Makes `part` of the pixels of `whole` in `rect`; returns 1, or 0 without memory. */
static int take(kx_picture *part, const kx_picture *whole, const kx_rect *rect) {
  size_t pixel = (size_t)whole->channels, row = pixel * (size_t)rect->width;
  int y;

  if (!kx_picture_make(part, rect->width, rect->height, whole->channels)) return 0;
  for (y = 0; y < rect->height; y++) {
    size_t at = (size_t)(rect->y + y) * (size_t)whole->width + (size_t)rect->x;
    memcpy(part->pixels + (size_t)y * row, whole->pixels + at * pixel, row);
  }
  return 1;
}

/* Makes `small` of what was decoded, or of its part that `window` shows upright: scaled, upright,
   without alpha; returns 1, or 0 without memory. */
static int make_small(kx_picture *small, const kx_picture *large, int orientation,
                      const kx_rect *window, int width, int height) {
  int lying = orientation > 4, done;
  kx_picture part;

  memset(&part, 0, sizeof part);
  if (window) {
    kx_rect rect = kx_rect_stored(*window, orientation, large->width, large->height);
    if (!take(&part, large, &rect)) return 0;
  }
  done = kx_picture_scale(small, window ? &part : large, lying ? height : width,
                          lying ? width : height, 0);
  kx_picture_free(&part);
  if (!done || !kx_picture_orient(small, orientation)) return 0;
  kx_picture_flatten(small);
  return 1;
}

static int put(kx_buffer *out, const kx_picture *picture, int format) {
  size_t area = (size_t)picture->width * (size_t)picture->height;

  if (format == RGB) return kx_buffer_add(out, picture->pixels, area * 3);
  return kx_picture_write(picture, format == PNG ? 0 : JPEG_QUALITY, out);
}

/* Returns whether the window lies in the picture as it is seen. */
static int is_inside(const kx_rect *window, const kx_image_info *info, const kx_picture *large) {
  int lying = info->orientation > 4;

  return kx_rect_inside(window, lying ? large->height : large->width,
                        lying ? large->width : large->height);
}

static kx_image_status thumbnail(const kx_source *source, const kx_rect *window, int width,
                                 int height, int format, kx_buffer *out) {
  kx_size least;
  kx_picture large, small;
  kx_image_info info;
  kx_image_status status;

  memset(&large, 0, sizeof large);
  memset(&small, 0, sizeof small);
  least.width = width, least.height = height;
  status = kx_picture_read(&large, source, DECODER_MEMORY, window ? NULL : &least, &info);
  if (status == KX_IMAGE_OK && window && !is_inside(window, &info, &large)) {
    status = KX_IMAGE_NO_SIZE;
  }
  if (status == KX_IMAGE_OK &&
      !(make_small(&small, &large, info.orientation, window, width, height) &&
        put(out, &small, format))) {
    status = KX_IMAGE_NO_MEMORY;
  }
  kx_picture_free(&large);
  kx_picture_free(&small);
  return status;
}

static int check_side(lua_State *L, int index) {
  lua_Number side = luaL_checknumber(L, index);

  luaL_argcheck(L, side >= 1 && side <= SIDE_MAX, index, "1 to 4096 pixels expected");
  return (int)side;
}

/* Reads the window that the table at `index` names: {x=, y=, width=, height=}. */
static kx_rect check_window(lua_State *L, int index) {
  static const char *const names[] = {"x", "y", "width", "height"};
  int sides[4], i;
  kx_rect window;

  luaL_checktype(L, index, LUA_TTABLE);
  for (i = 0; i < 4; i++) {
    lua_Number value = kx_lua_number(L, index, names[i], -1);
    luaL_argcheck(L, value >= 0 && value <= INT_MAX, index, "{x=, y=, width=, height=} expected");
    sides[i] = (int)value;
  }
  window.x = sides[0], window.y = sides[1], window.width = sides[2], window.height = sides[3];
  return window;
}

/* core.thumbnail({path=} or {bytes=}, width, height, format, window) -> bytes, or nil, message. The
   whole picture, or the part of it in {x=, y=, width=, height=}, upright, in exactly that size: as
   "jpeg", "png", or by default three bytes a pixel. Decodes all that is needed: a second for a part
   of 20 MP. */
int kx_lua_thumbnail(lua_State *L) {
  static const char *const formats[] = {"rgb", "jpeg", "png", NULL};
  const char *text;
  size_t size;
  int kind = kx_lua_source(L, 1, &text, &size);
  int width = check_side(L, 2), height = check_side(L, 3);
  int format = luaL_checkoption(L, 4, "rgb", formats), error = 0, count = 1;
  kx_source source;
  kx_rect window;
  int has_window = !lua_isnoneornil(L, 5);
  kx_image_status status;
  kx_buffer out;
  void **guard = kx_lua_guard(L);

  if (has_window) window = check_window(L, 5);
  memset(&out, 0, sizeof out);
  out.cap = SIZE_MAX;
  if (kind == KX_BYTES) kx_source_memory(&source, text, size);
  else error = kx_source_open(&source, text);
  if (error) return kx_lua_failed(L, error, text);
  status = thumbnail(&source, has_window ? &window : NULL, width, height, format, &out);
  kx_source_close(&source);
  *guard = out.bytes;
  if (status == KX_IMAGE_OK) {
    lua_pushlstring(L, (const char *)out.bytes, out.size);
  } else {
    lua_pushnil(L);
    lua_pushfstring(L, "no small picture can be made of it (%s)", kx_image_status_name(status));
    count = 2;
  }
  kx_buffer_free(&out);
  *guard = NULL;
  return count;
}

/* core.base64(bytes) -> text. */
int kx_lua_encode(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  char *text = (char *)lua_newuserdatauv(L, KX_BASE64_LENGTH(size) + 1, 0);

  lua_pushlstring(L, text, kx_base64_encode(text, bytes, size));
  return 1;
}

/* Sets `why`: the reason for which the check of an input would reject this. */
static void set_why(lua_State *L, kx_image_status status, const kx_image_info *info) {
  char size[64];

  switch (status) {
    case KX_IMAGE_OK: return;
    case KX_IMAGE_EMPTY: lua_pushliteral(L, "it is empty"); break;
    case KX_IMAGE_CUT: lua_pushliteral(L, "it ends before its picture begins"); break;
    case KX_IMAGE_FOREIGN: lua_pushfstring(L, "it is %s", info->label); break;
    case KX_IMAGE_HUGE:
    case KX_IMAGE_NO_SIZE:
      snprintf(size, sizeof size, "it says it is %lu x %lu pixels", (unsigned long)info->width,
               (unsigned long)info->height);
      lua_pushstring(L, size);
      break;
    default: lua_pushstring(L, info->why ? info->why : "its format is not known");
  }
  lua_setfield(L, -2, "why");
}

/* -> {format=, label=, width=, height=, bytes=, ended=, why=}. `format` and `label` are absent
   where the format is not known, a side where it is not told; `ended` tells whether the format's
   own end mark is there, and is absent for a format without one; `why` is a warning only. */
int kx_lua_arrived(lua_State *L, const kx_source *source) {
  kx_image_info info;
  kx_image_status status = kx_image_look(source, ARRIVED_READS, &info);
  kx_ending ending = KX_ENDING_UNKNOWN;
  int error = status == KX_IMAGE_NO_MEMORY ? ENOMEM : info.error;

  if (!error) error = kx_image_ending(source, &info, &ending);
  if (error) return kx_lua_failed(L, error, "what arrived");
  lua_createtable(L, 0, 7);
  kx_lua_set_string(L, "format", info.format);
  kx_lua_set_string(L, "label", info.label);
  if (info.width > 0) kx_lua_set_integer(L, "width", info.width);
  if (info.height > 0) kx_lua_set_integer(L, "height", info.height);
  kx_lua_set_integer(L, "bytes", source->size);
  if (ending != KX_ENDING_UNKNOWN) {
    lua_pushboolean(L, ending == KX_ENDING_THERE);
    lua_setfield(L, -2, "ended");
  }
  set_why(L, status, &info);
  return 1;
}
