/* The binding's part about pixels: small pictures for previews, and base64 of whole strings. */
#include "lua/binding.h"

#include "net/base64.h"
#include "net/body.h"
#include "picture/picture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define DECODER_MEMORY (512u << 20) /* 20 MP take some 180 MiB */
#define SIDE_MAX 4096
#define JPEG_QUALITY 90

enum { RGB, JPEG, PNG };

/* Makes `small` of what was decoded: scaled, upright, without alpha; returns 1, or 0 without
   memory. */
static int make_small(kx_picture *small, const kx_picture *large, int orientation, int width,
                      int height) {
  int lying = orientation > 4;

  if (!kx_picture_scale(small, large, lying ? height : width, lying ? width : height, 0)) return 0;
  if (!kx_picture_orient(small, orientation)) return 0;
  kx_picture_flatten(small);
  return 1;
}

static int put(kx_buffer *out, const kx_picture *picture, int format) {
  size_t area = (size_t)picture->width * (size_t)picture->height;

  if (format == RGB) return kx_buffer_add(out, picture->pixels, area * 3);
  return kx_picture_write(picture, format == PNG ? 0 : JPEG_QUALITY, out);
}

static kx_image_status thumbnail(const kx_source *source, int width, int height, int format,
                                 kx_buffer *out) {
  kx_picture large, small;
  kx_image_info info;
  kx_image_status status;

  memset(&large, 0, sizeof large);
  memset(&small, 0, sizeof small);
  status = kx_picture_read(&large, source, DECODER_MEMORY, NULL, &info);
  if (status == KX_IMAGE_OK && !(make_small(&small, &large, info.orientation, width, height) &&
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

/* core.thumbnail({path=} or {bytes=}, width, height, format) → bytes, or nil, message. The whole
   picture, upright, in exactly that size: as "jpeg", "png", or by default three bytes a pixel.
   Decodes all of it: a second for 20 MP. */
int kx_lua_thumbnail(lua_State *L) {
  static const char *const formats[] = {"rgb", "jpeg", "png", NULL};
  const char *text;
  size_t size;
  int kind = kx_lua_source(L, 1, &text, &size);
  int width = check_side(L, 2), height = check_side(L, 3);
  int format = luaL_checkoption(L, 4, "rgb", formats), error = 0, count = 1;
  kx_source source;
  kx_image_status status;
  kx_buffer out;
  void **guard = kx_lua_guard(L);

  memset(&out, 0, sizeof out);
  out.cap = SIZE_MAX;
  if (kind == KX_BYTES) kx_source_memory(&source, text, size);
  else error = kx_source_open(&source, text);
  if (error) return kx_lua_failed(L, error, text);
  status = thumbnail(&source, width, height, format, &out);
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

/* core.base64(bytes) → text. */
int kx_lua_encode(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);
  char *text = (char *)lua_newuserdatauv(L, KX_BASE64_LENGTH(size) + 1, 0);

  lua_pushlstring(L, text, kx_base64_encode(text, bytes, size));
  return 1;
}
