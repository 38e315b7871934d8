#include "config.h"

#include "picture/ending.h"

#include "picture/cursor.h"

#include <errno.h>
#include <string.h>

#define PIECE 16384

static kx_ending missing_unless(int there) {
  return there ? KX_ENDING_THERE : KX_ENDING_MISSING;
}

/* A look found nothing: the file ended there, or no reads were left. */
static kx_ending stopped(const kx_cursor *cursor) {
  return cursor->tired ? KX_ENDING_UNKNOWN : KX_ENDING_MISSING;
}

/* Looks for a JPEG's mark from the end, where it is nearly always, back to the first scan: a small
   picture within the Exif has a mark of its own, before it. */
static kx_ending jpeg(kx_cursor *cursor, const kx_image_info *info) {
  unsigned char piece[PIECE + 1];
  uint64_t end = cursor->source->size;

  piece[0] = 0;
  if (info->pixels == 0) return KX_ENDING_MISSING; /* ended before */
  while (end > info->pixels) {
    size_t n = end - info->pixels < PIECE ? (size_t)(end - info->pixels) : PIECE;
    const unsigned char *p = piece;
    ssize_t got;
    piece[n] = piece[0]; /* of the piece behind */
    got = kx_source_read(cursor->source, end - n, piece, n);
    if (got < 0) cursor->error = errno;
    if (got < (ssize_t)n) return KX_ENDING_MISSING;
    while ((p = (const unsigned char *)memchr(p, 0xFF, n - (size_t)(p - piece))) != NULL) {
      if (*++p == 0xD9) return KX_ENDING_THERE;
    }
    end -= n;
  }
  return KX_ENDING_MISSING;
}

/* Goes from chunk to chunk of a PNG, unless the last one stands at the very end. */
static kx_ending png(kx_cursor *cursor, const kx_image_info *info) {
  static const unsigned char last[] = "\0\0\0\0IEND\xAE\x42\x60\x82";
  uint64_t size = cursor->source->size, at = 8;
  const unsigned char *p;

  (void)info;
  p = size < 12 + 8 ? NULL : kx_cursor_look(cursor, size - 12, 12);
  if (p && memcmp(p, last, 12) == 0) return KX_ENDING_THERE;
  while ((p = kx_cursor_look(cursor, at, 8)) != NULL) {
    int end = memcmp(p + 4, "IEND", 4) == 0;
    at += 12 + (uint64_t)KX_BE32(p);
    if (end || at > size) return missing_unless(at <= size);
  }
  return stopped(cursor);
}

/* A WebP tells its size at its start; a program that wrote it to a pipe could not. */
static kx_ending webp(kx_cursor *cursor, const kx_image_info *info) {
  const unsigned char *p = kx_cursor_look(cursor, 4, 4);
  uint32_t size = p ? KX_LE32(p) : 0;

  (void)info;
  if (size == 0 || size == 0xFFFFFFFFu) return p ? KX_ENDING_UNKNOWN : KX_ENDING_MISSING;
  return missing_unless(8 + (uint64_t)size <= cursor->source->size);
}

static kx_ending bmp(kx_cursor *cursor, const kx_image_info *info) {
  const unsigned char *p = kx_cursor_look(cursor, 2, 4);
  uint32_t size = p ? KX_LE32(p) : 0;

  (void)info;
  if (size == 0) return p ? KX_ENDING_UNKNOWN : KX_ENDING_MISSING;
  return missing_unless(size <= cursor->source->size);
}

/* Moves past a GIF's data in pieces of up to 255 bytes, which a piece of none ends. */
static int pass_data(kx_cursor *cursor) {
  const unsigned char *p;
  unsigned size;

  do {
    if (!(p = kx_cursor_peek(cursor, 1))) return 0;
    size = *p;
    if (!kx_cursor_skip(cursor, 1 + (uint64_t)size)) return 0;
  } while (size > 0);
  return 1;
}

/* Goes from block to block of a GIF. */
static kx_ending gif(kx_cursor *cursor, const kx_image_info *info) {
  const unsigned char *p = kx_cursor_look(cursor, 0, 13);

  (void)info;
  if (!p || !kx_cursor_skip(cursor, 13 + (p[10] & 0x80 ? (uint64_t)3 << ((p[10] & 7) + 1) : 0))) {
    return stopped(cursor);
  }
  while ((p = kx_cursor_peek(cursor, 1)) != NULL && *p != 0x3B) {
    int extension = *p == 0x21;
    if (!extension && *p != 0x2C) return KX_ENDING_UNKNOWN; /* not as a GIF is */
    p = kx_cursor_peek(cursor, extension ? 2 : 11); /* an image's with the size of its codes */
    if (!p) break;
    if (!kx_cursor_skip(cursor, extension ? 2 : 11 + (p[9] & 0x80 ? (uint64_t)3 << ((p[9] & 7) + 1)
                                                                  : 0)) ||
        !pass_data(cursor)) {
      return stopped(cursor);
    }
  }
  return p ? KX_ENDING_THERE : stopped(cursor);
}

static const struct format {
  const char *name;
  kx_ending (*ending)(kx_cursor *, const kx_image_info *);
} formats[] = {{"jpeg", jpeg}, {"png", png}, {"webp", webp}, {"gif", gif}, {"bmp", bmp}};

int kx_image_ending(const kx_source *source, const kx_image_info *info, kx_ending *ending) {
  kx_cursor cursor;
  size_t i;

  kx_cursor_begin(&cursor, source);
  *ending = source->size > 0 ? KX_ENDING_UNKNOWN : KX_ENDING_MISSING;
  for (i = 0; info->format && i < sizeof formats / sizeof *formats; i++) {
    if (strcmp(info->format, formats[i].name) == 0) *ending = formats[i].ending(&cursor, info);
  }
  return cursor.error;
}
