#include "config.h"

#include "picture/webp.h"

#include "picture/exif.h"

#include <string.h>

#define HAS_EXIF 0x08
#define HAS_ALPHA 0x10

static kx_image_status damaged(kx_image_info *info, const char *why) {
  info->why = why;
  return KX_IMAGE_DAMAGED;
}

static kx_image_status ended(const kx_cursor *cursor) {
  return cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_CUT;
}

/* A lossy picture: a VP8 key frame's header. */
static kx_image_status lossy(kx_cursor *cursor, uint64_t body, uint32_t size, kx_image_info *info) {
  const unsigned char *p = kx_cursor_look(cursor, body, 10);

  if (size < 10) return damaged(info, "its picture is too short");
  if (!p) return ended(cursor);
  if (p[0] & 1) return damaged(info, "it does not begin with a key frame");
  if (memcmp(p + 3, "\x9D\x01\x2A", 3) != 0) return damaged(info, "its frame header is bad");
  info->width = KX_LE16(p + 6) & 0x3FFF;
  info->height = KX_LE16(p + 8) & 0x3FFF;
  info->channels = 3;
  return KX_IMAGE_OK;
}

static kx_image_status lossless(kx_cursor *cursor, uint64_t body, uint32_t size,
                                kx_image_info *info) {
  const unsigned char *p = kx_cursor_look(cursor, body, 5);
  uint32_t bits;

  if (size < 5) return damaged(info, "its picture is too short");
  if (!p) return ended(cursor);
  bits = KX_LE32(p + 1);
  if (p[0] != 0x2F || bits >> 29) return damaged(info, "its frame header is bad");
  info->width = (bits & 0x3FFF) + 1;
  info->height = (bits >> 14 & 0x3FFF) + 1;
  info->channels = bits >> 28 & 1 ? 4 : 3;
  return KX_IMAGE_OK;
}

/* The extended format: a canvas, told before the chunks. */
static kx_image_status canvas(kx_cursor *cursor, uint64_t body, uint32_t size, int *flags,
                              kx_image_info *info) {
  const unsigned char *p = kx_cursor_look(cursor, body, 10);

  if (size < 10) return damaged(info, "its canvas header is too short");
  if (!p) return ended(cursor);
  *flags = p[0];
  info->width = (KX_LE32(p + 3) >> 8) + 1;
  info->height = (KX_LE32(p + 6) >> 8) + 1;
  info->channels = *flags & HAS_ALPHA ? 4 : 3;
  return KX_IMAGE_OK;
}

kx_image_status kx_webp_header(kx_cursor *cursor, kx_image_info *info) {
  const unsigned char *p = kx_cursor_look(cursor, 0, 12);
  int count, flags = 0, extended = 0, found = 0;
  kx_image_status status = KX_IMAGE_OK;
  uint64_t end;

  if (!p) return ended(cursor);
  end = 8 + (uint64_t)KX_LE32(p + 4);
  if (end > cursor->source->size) return KX_IMAGE_CUT;
  info->depth = 8;
  cursor->at = 12;
  for (count = 0; cursor->at + 8 <= end; count++) {
    uint64_t body = cursor->at + 8;
    uint32_t size;
    p = kx_cursor_peek(cursor, 8);
    if (!p) return found && cursor->tired ? KX_IMAGE_OK : ended(cursor);
    size = KX_LE32(p + 4);
    if (body + size > end) return damaged(info, "a chunk is longer than the file says it is");
    if (memcmp(p, "VP8X", 4) == 0 && count == 0) {
      extended = 1;
      status = canvas(cursor, body, size, &flags, info);
    } else if (memcmp(p, "EXIF", 4) == 0) {
      info->orientation = kx_exif_orientation(cursor, body, size);
    } else if (memcmp(p, "ANMF", 4) == 0 && extended) {
      found = 1;
    } else if (memcmp(p, "VP8 ", 4) == 0 || memcmp(p, "VP8L", 4) == 0) {
      found = 1;
      if (!extended) status = (p[3] == 'L' ? lossless : lossy)(cursor, body, size, info);
    }
    if (status != KX_IMAGE_OK) return status;
    if (found && !(flags & HAS_EXIF)) return KX_IMAGE_OK;
    cursor->at = body + size + (size & 1);
  }
  return found ? KX_IMAGE_OK : damaged(info, "it has no picture");
}
