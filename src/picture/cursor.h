/* A position in a source with a small window, so that headers are walked in few, short reads. */
#ifndef KX_CURSOR_H
#define KX_CURSOR_H

#include "file/buffer.h"
#include "file/source.h"

#define KX_CURSOR_WINDOW 512 /* the most that can be looked at in one piece */
#define KX_CURSOR_READS 16384 /* by default: some ten milliseconds in the worst case */

typedef struct kx_cursor {
  const kx_source *source;
  uint64_t at;   /* the next byte */
  uint64_t from; /* the window's first byte */
  size_t have;   /* bytes in the window */
  int error;     /* errno of a read that failed, else 0 */
  unsigned reads; /* how many more reads it may take */
  int tired;      /* a look was refused because there was none left */
  unsigned char window[KX_CURSOR_WINDOW];
} kx_cursor;

/* Stands before the source's first byte. */
void kx_cursor_begin(kx_cursor *cursor, const kx_source *source);

/* Returns the `n` bytes at `offset`, good until the next look, or NULL where the source ends before
   them, cannot be read (then `error` is set) or was read too often (`tired`). The cursor stays
   where it is. */
const unsigned char *kx_cursor_look(kx_cursor *cursor, uint64_t offset, size_t n);

/* Returns the next `n` bytes like kx_cursor_look, without taking them. */
const unsigned char *kx_cursor_peek(kx_cursor *cursor, size_t n);

/* Moves past `n` bytes; returns 0 where the source ends before them, which takes no read. */
int kx_cursor_skip(kx_cursor *cursor, uint64_t n);

/* Adds the `n` bytes at `offset` to `out`; returns 0 where the source ends before them, cannot be
   read (then the cursor's `error` is set), or `out` failed. */
int kx_cursor_copy(kx_cursor *cursor, uint64_t offset, size_t n, kx_buffer *out);

/* Big and little endian numbers at `p`. */
#define KX_BE16(p) ((unsigned)((p)[0] << 8 | (p)[1]))
#define KX_LE16(p) ((unsigned)((p)[1] << 8 | (p)[0]))
#define KX_BE32(p) ((uint32_t)KX_BE16(p) << 16 | KX_BE16((p) + 2))
#define KX_LE32(p) ((uint32_t)KX_LE16((p) + 2) << 16 | KX_LE16(p))

#endif
