#include "config.h"

#include "net/inflate.h"

#include <limits.h>
#include <string.h>
#define ZLIB_CONST /* what is read is const */
#include <zlib.h>

#define GZIP_OR_ZLIB (MAX_WBITS + 32) /* zlib tells them apart by their first bytes */
#define RAW (-MAX_WBITS)

/* Inflates one framing; returns how many bytes came, and in `code` what zlib says of the last. */
static size_t inflate_as(int framing, const void *from, size_t size, void *to, size_t cap,
                         int *code) {
  z_stream stream;

  memset(&stream, 0, sizeof stream);
  *code = inflateInit2(&stream, framing);
  if (*code != Z_OK) return 0;
  stream.next_in = (const Bytef *)from;
  stream.avail_in = (uInt)size;
  stream.next_out = (Bytef *)to;
  stream.avail_out = (uInt)cap;
  *code = inflate(&stream, Z_SYNC_FLUSH);
  inflateEnd(&stream);
  return cap - stream.avail_out;
}

size_t kx_inflate(const void *from, size_t size, void *to, size_t cap) {
  size_t done;
  int code;

  if (size == 0 || cap == 0 || size > UINT_MAX || cap > UINT_MAX) return 0;
  done = inflate_as(GZIP_OR_ZLIB, from, size, to, cap, &code);
  if (done > 0) return done;
  /* Raw deflate has no mark of its own: a body with any damage was probably never deflated. */
  done = inflate_as(RAW, from, size, to, cap, &code);
  return code == Z_DATA_ERROR || code == Z_NEED_DICT ? 0 : done;
}
