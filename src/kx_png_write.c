#include "kx_config.h"

#include "kx_png_write.h"

#include "kx_deflate.h"
#include "kx_png.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

/* Filters all rows, each in the way that leaves least. `lines` has room for two rows: the one of
   zeros above the first, and one to try in. */
static void filter_all(const unsigned char *pixels, size_t row, int height, size_t channels,
                       unsigned char *lines, unsigned char *to) {
  const unsigned char *above = lines;
  unsigned char *trial = lines + row;
  int y, kind;

  for (y = 0; y < height; y++, above = pixels, pixels += row, to += row + 1) {
    unsigned long least = 0;
    for (kind = 0; kind < 5; kind++) {
      unsigned long sum = filter(kind, pixels, above, row, channels, trial);
      if (kind > 0 && sum >= least) continue;
      least = sum;
      to[0] = (unsigned char)kind;
      memcpy(to + 1, trial, row);
    }
  }
}

static size_t begin_chunk(kx_bytes *out, const char *name) {
  size_t start = out->size;
  kx_bytes_add(out, "\0\0\0", 4);
  kx_bytes_add(out, name, 4);
  return start;
}

/* Sets the length of the chunk that began at `start` and adds its checksum. */
static void end_chunk(kx_bytes *out, size_t start) {
  unsigned char sum[4];

  if (out->error) return;
  write32(out->bytes + start, (uint32_t)(out->size - start - 8));
  write32(sum, kx_png_crc(0, out->bytes + start + 4, out->size - start - 4));
  kx_bytes_add(out, sum, 4);
}

int kx_png_write(const unsigned char *pixels, int width, int height, int channels, kx_bytes *out) {
  size_t row = (size_t)width * (size_t)channels, filtered_size = (row + 1) * (size_t)height, start;
  unsigned char header[13] = {0}, *lines = (unsigned char *)calloc(2, row);
  unsigned char *filtered = (unsigned char *)malloc(filtered_size);

  if (lines && filtered) {
    kx_bytes_add(out, "\x89PNG\r\n\x1A\n", 8);
    write32(header, (uint32_t)width);
    write32(header + 4, (uint32_t)height);
    header[8] = 8;
    header[9] = channels == 4 ? 6 : 2;
    start = begin_chunk(out, "IHDR");
    kx_bytes_add(out, header, sizeof header);
    end_chunk(out, start);
    filter_all(pixels, row, height, (size_t)channels, lines, filtered);
    start = begin_chunk(out, "IDAT");
    kx_deflate(filtered, filtered_size, out);
    end_chunk(out, start);
    end_chunk(out, begin_chunk(out, "IEND"));
  } else if (!out->error) {
    out->error = ENOMEM;
  }
  free(lines);
  free(filtered);
  return !out->error;
}
