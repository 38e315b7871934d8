#include "config.h"

#include "picture/cursor.h"

#include <errno.h>

/* After a jump only the next header is needed; reading on where the window ended takes larger
   pieces. So 8 MB of Exif (128 segments) cost 8 KB of reads. */
#define AFTER_JUMP 64

void kx_cursor_begin(kx_cursor *cursor, const kx_source *source) {
  cursor->source = source;
  cursor->at = cursor->from = 0;
  cursor->have = 0;
  cursor->error = cursor->tired = 0;
  cursor->reads = KX_CURSOR_READS;
}

static int fill(kx_cursor *cursor, uint64_t offset, size_t n) {
  int onward = offset >= cursor->from && offset <= cursor->from + cursor->have;
  size_t want = onward ? KX_CURSOR_WINDOW : n > AFTER_JUMP ? n : AFTER_JUMP;
  ssize_t got;

  if (cursor->reads == 0) {
    cursor->tired = 1;
    return 0;
  }
  cursor->reads--;
  got = kx_source_read(cursor->source, offset, cursor->window, want);
  cursor->from = offset;
  cursor->have = got > 0 ? (size_t)got : 0;
  if (got < 0) cursor->error = errno;
  return cursor->have >= n;
}

const unsigned char *kx_cursor_look(kx_cursor *cursor, uint64_t offset, size_t n) {
  if (offset < cursor->from || offset + n > cursor->from + cursor->have) {
    if (n > KX_CURSOR_WINDOW || !fill(cursor, offset, n)) return NULL;
  }
  return cursor->window + (offset - cursor->from);
}

const unsigned char *kx_cursor_peek(kx_cursor *cursor, size_t n) {
  return kx_cursor_look(cursor, cursor->at, n);
}

int kx_cursor_skip(kx_cursor *cursor, uint64_t n) {
  if (n > cursor->source->size - cursor->at) return 0;
  cursor->at += n;
  return 1;
}

int kx_cursor_copy(kx_cursor *cursor, uint64_t offset, size_t n, kx_buffer *out) {
  unsigned char *to = kx_buffer_room(out, n);
  ssize_t got;

  if (!to) return 0;
  got = kx_source_read(cursor->source, offset, to, n);
  if (got < 0) cursor->error = errno;
  if (got < 0 || (size_t)got < n) return 0;
  out->size += n;
  return 1;
}
