#include "config.h"

#include "picture/png_write.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define PIECE 16384 /* bytes of the stream that are asked of zlib at once */

static void write32(unsigned char *to, uint32_t value) {
  to[0] = (unsigned char)(value >> 24), to[1] = (unsigned char)(value >> 16);
  to[2] = (unsigned char)(value >> 8), to[3] = (unsigned char)value;
}

/* Returns whichever of left, above and upper left is nearest to left + above - upper left. */
static int paeth(int a, int b, int c) {
  int to_a = abs(b - c), to_b = abs(a - c), to_c = abs(a + b - 2 * c);
  return to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c;
}

/* Writes a row as the differences of filter 0 … 4 and returns how large they are in sum. */
static unsigned long filter(int kind, const unsigned char *row, const unsigned char *above,
                            size_t n, size_t channels, unsigned char *to) {
  unsigned long sum = 0;
  size_t i;

  for (i = 0; i < n; i++) {
    int a = i < channels ? 0 : row[i - channels], b = above[i];
    int c = i < channels ? 0 : above[i - channels];
    int guess[5];
    guess[0] = 0, guess[1] = a, guess[2] = b, guess[3] = (a + b) / 2, guess[4] = paeth(a, b, c);
    to[i] = (unsigned char)(row[i] - guess[kind]);
    sum += to[i] < 128 ? to[i] : 256u - to[i];
  }
  return sum;
}

/* Filters a row in the way that leaves least; returns the filter's number and the differences, in
   one of two `lines` of n + 1 bytes. */
static unsigned char *filter_row(const unsigned char *row, const unsigned char *above, size_t n,
                                 size_t channels, unsigned char *lines) {
  unsigned char *best = lines, *trial = lines + n + 1, *line;
  unsigned long least = ULONG_MAX;
  int kind;

  for (kind = 0; kind < 5; kind++) {
    unsigned long sum = filter(kind, row, above, n, channels, trial + 1);
    if (sum >= least) continue;
    least = sum;
    trial[0] = (unsigned char)kind;
    line = best, best = trial, trial = line;
  }
  return best;
}

/* Compresses all that `z` was given, and ends the stream where `flush` is Z_FINISH. */
static void compress_line(z_stream *z, int flush, kx_buffer *out) {
  int status;

  do {
    size_t left = out->cap - out->size, piece = left > 0 && left < PIECE ? left : PIECE;
    z->next_out = kx_buffer_room(out, piece);
    if (!z->next_out) return;
    z->avail_out = (uInt)piece;
    status = deflate(z, flush);
    out->size += piece - z->avail_out;
  } while (z->avail_out == 0 && status == Z_OK);
}

/* Adds the pixels as zlib's stream. `lines`, zeroed, has room for three of row + 1 bytes: what
   stands above the first row, and two to filter in. */
static void compress_rows(z_stream *z, const unsigned char *pixels, size_t row, int height,
                          size_t channels, unsigned char *lines, kx_buffer *out) {
  const unsigned char *above = lines;
  int y;

  for (y = 0; y < height && !out->error; y++, above = pixels, pixels += row) {
    z->next_in = filter_row(pixels, above, row, channels, lines + row + 1);
    z->avail_in = (uInt)(row + 1);
    compress_line(z, y + 1 < height ? Z_NO_FLUSH : Z_FINISH, out);
  }
}

static size_t begin_chunk(kx_buffer *out, const char *name) {
  size_t start = out->size;
  kx_buffer_add(out, "\0\0\0", 4);
  kx_buffer_add(out, name, 4);
  return start;
}

/* Sets the length of the chunk that began at `start` and adds its checksum. */
static void end_chunk(kx_buffer *out, size_t start) {
  unsigned char sum[4];

  if (out->error) return;
  write32(out->bytes + start, (uint32_t)(out->size - start - 8));
  write32(sum, (uint32_t)crc32(0, out->bytes + start + 4, (uInt)(out->size - start - 4)));
  kx_buffer_add(out, sum, 4);
}

int kx_png_write(const unsigned char *pixels, int width, int height, int channels, kx_buffer *out) {
  size_t row = (size_t)width * (size_t)channels, start;
  unsigned char header[13] = {0}, *lines = (unsigned char *)calloc(3, row + 1);
  z_stream z;

  memset(&z, 0, sizeof z);
  if (lines && deflateInit(&z, Z_DEFAULT_COMPRESSION) == Z_OK) {
    kx_buffer_add(out, "\x89PNG\r\n\x1A\n", 8);
    write32(header, (uint32_t)width);
    write32(header + 4, (uint32_t)height);
    header[8] = 8;
    header[9] = channels == 4 ? 6 : 2;
    start = begin_chunk(out, "IHDR");
    kx_buffer_add(out, header, sizeof header);
    end_chunk(out, start);
    start = begin_chunk(out, "IDAT");
    compress_rows(&z, pixels, row, height, (size_t)channels, lines, out);
    end_chunk(out, start);
    end_chunk(out, begin_chunk(out, "IEND"));
    deflateEnd(&z);
  } else if (!out->error) {
    out->error = ENOMEM;
  }
  free(lines);
  return !out->error;
}
