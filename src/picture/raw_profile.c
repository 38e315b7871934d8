#include "config.h"

#include "picture/raw_profile.h"

#include "picture/exif.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define KEYWORD 22               /* "Raw profile type exif", or APP1, and its NUL */
#define EXIF_MAX 65536           /* as much as a JPEG's segment holds */
#define TEXT_MAX (4 * EXIF_MAX)  /* two digits a byte, line ends, and some more */
#define PIECE 512

/* The text is a line end, a name's line, a length's line, and lines of digits. */
typedef struct profile {
  int lines, high; /* line ends seen; the first digit of a byte, or -1 */
  size_t size;
  unsigned char bytes[EXIF_MAX];
} profile;

static int digit(unsigned char c) {
  if (c >= '0' && c <= '9') return c - '0';
  c |= 32;
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes the next characters of the text. */
static void take(profile *to, const unsigned char *text, size_t n) {
  for (; n > 0 && to->size < EXIF_MAX; text++, n--) {
    int value = digit(*text);
    if (*text == '\n') to->lines++;
    if (to->lines < 3 || value < 0) continue;
    if (to->high < 0) {
      to->high = value;
    } else {
      to->bytes[to->size++] = (unsigned char)(to->high << 4 | value);
      to->high = -1;
    }
  }
}

/* Reads the next bytes of the chunk, which ends at `end`; returns how many, 0 after an error. */
static size_t next_piece(kx_cursor *cursor, uint64_t *at, uint64_t end, unsigned char *to) {
  size_t want = end - *at < PIECE ? (size_t)(end - *at) : PIECE;
  ssize_t got = kx_source_read(cursor->source, *at, to, want);

  if (got < 0) cursor->error = errno;
  if (got <= 0) return 0;
  *at += (uint64_t)got;
  return (size_t)got;
}

static void take_plain(profile *to, kx_cursor *cursor, uint64_t at, uint64_t end) {
  unsigned char piece[PIECE];
  size_t n;

  while ((n = next_piece(cursor, &at, end, piece)) > 0) take(to, piece, n);
}

/* Returns 1, or 0 without memory. */
static int take_deflated(profile *to, kx_cursor *cursor, uint64_t at, uint64_t end) {
  unsigned char piece[PIECE], text[PIECE];
  int status = Z_OK;
  z_stream z;

  memset(&z, 0, sizeof z);
  if (inflateInit(&z) != Z_OK) return 0;
  while (status == Z_OK && z.total_out < TEXT_MAX && to->size < EXIF_MAX) {
    if (z.avail_in == 0) {
      z.avail_in = (uInt)next_piece(cursor, &at, end, piece);
      z.next_in = piece;
      if (z.avail_in == 0) break;
    }
    z.next_out = text;
    z.avail_out = PIECE;
    status = inflate(&z, Z_NO_FLUSH);
    take(to, text, PIECE - z.avail_out);
  }
  inflateEnd(&z);
  return status != Z_MEM_ERROR;
}

/* Returns the orientation of the Exif that was put together. */
static int orientation(const profile *from) {
  kx_source source;
  kx_cursor cursor;

  kx_source_memory(&source, from->bytes, from->size);
  kx_cursor_begin(&cursor, &source);
  return kx_exif_orientation(&cursor, 0, from->size);
}

int kx_raw_profile_orientation(kx_cursor *cursor, uint64_t offset, uint64_t size, int compressed) {
  static const char *const keywords[] = {"Raw profile type exif", "Raw profile type APP1"};
  uint64_t at = offset + KEYWORD + (compressed ? 1 : 0), end = offset + size;
  const unsigned char *p;
  profile *made;
  int done = 1, told;

  if (at >= end || !(p = kx_cursor_look(cursor, offset, KEYWORD))) return 0;
  if (memcmp(p, keywords[0], KEYWORD) != 0 && memcmp(p, keywords[1], KEYWORD) != 0) return 0;
  if (end - at > TEXT_MAX) end = at + TEXT_MAX;
  made = (profile *)malloc(sizeof *made);
  if (!made) return -1;
  made->lines = 0;
  made->size = 0;
  made->high = -1;
  if (compressed) done = take_deflated(made, cursor, at, end);
  else take_plain(made, cursor, at, end);
  told = done ? orientation(made) : -1;
  free(made);
  return told;
}
