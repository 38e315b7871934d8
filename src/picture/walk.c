#include "config.h"

#include "picture/walk.h"

#include "picture/bmp.h"
#include "picture/jpeg.h"
#include "picture/png.h"
#include "picture/sniff.h"
#include "picture/webp.h"

#include <string.h>

#define MAX_SIDE (1u << 24) /* stb_image's own limit */
#define MAX_PIXELS (1u << 28)

/* The size of formats that no service takes is reported if they can be decoded, or are GIFs. */
static kx_image_status foreign(kx_cursor *cursor, kx_image_info *info) {
  const unsigned char *p;

  if (strcmp(info->format, "gif") == 0 && (p = kx_cursor_look(cursor, 0, 10)) != NULL) {
    info->width = KX_LE16(p + 6);
    info->height = KX_LE16(p + 8);
    return KX_IMAGE_FOREIGN;
  }
  if (strcmp(info->format, "bmp") == 0) kx_bmp_header(cursor->source, info);
  if (info->height > 0 && info->height > MAX_PIXELS / info->width) return KX_IMAGE_HUGE;
  return KX_IMAGE_FOREIGN;
}

static kx_image_status walk(kx_cursor *cursor, kx_image_info *info) {
  kx_image_status status;

  if (strcmp(info->format, "jpeg") == 0) status = kx_jpeg_header(cursor, info);
  else if (strcmp(info->format, "png") == 0) status = kx_png_header(cursor, info);
  else if (strcmp(info->format, "webp") == 0) status = kx_webp_header(cursor, info);
  else return foreign(cursor, info);
  if (cursor->tired && status == KX_IMAGE_CUT) {
    info->why = "more metadata stands before its picture than kontext looks through";
    return KX_IMAGE_ODD;
  }
  if (status != KX_IMAGE_OK) return status;
  if (info->width == 0 || info->height == 0) return KX_IMAGE_NO_SIZE;
  if (info->width > MAX_SIDE || info->height > MAX_SIDE ||
      info->height > MAX_PIXELS / info->width) {
    return KX_IMAGE_HUGE;
  }
  return KX_IMAGE_OK;
}

kx_image_status kx_image_look(const kx_source *source, unsigned reads, kx_image_info *info) {
  size_t n = source->size < KX_SNIFF_BYTES ? (size_t)source->size : KX_SNIFF_BYTES;
  kx_image_status status;
  kx_cursor cursor;
  const unsigned char *first;
  int text;

  memset(info, 0, sizeof *info);
  info->orientation = 1;
  if (n == 0) return KX_IMAGE_EMPTY;
  kx_cursor_begin(&cursor, source);
  cursor.reads = reads;
  first = kx_cursor_peek(&cursor, n);
  if (first) {
    info->format = kx_sniff(first, n, &info->label, &text);
    status = info->format ? walk(&cursor, info) : KX_IMAGE_UNKNOWN;
  } else {
    status = cursor.error ? KX_IMAGE_UNREADABLE : KX_IMAGE_CUT;
  }
  info->error = cursor.error;
  return status;
}

kx_image_status kx_image_read(const kx_source *source, kx_image_info *info) {
  return kx_image_look(source, KX_CURSOR_READS, info);
}

const char *kx_image_status_name(kx_image_status status) {
  static const char *const names[] = {
    "ok", "empty", "cut", "unknown", "foreign", "no_size", "huge", "damaged", "odd", "file",
    "memory", "no_decoder", "too_big"
  };
  return names[status];
}
