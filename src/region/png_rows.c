#include "config.h"

#include "region/png_rows.h"

#include <stdlib.h>
#include <string.h>

#define PIECE 32768     /* bytes of the file that are read at once */
#define MAX_CHUNKS 4096 /* before the pixels and behind them */

const kx_png_pass kx_png_passes[7] = {
  {0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}
};

/* Chunks -------------------------------------------------------------------------------------- */

int kx_png_next_chunk(const kx_source *source, uint64_t *at, kx_png_chunk *chunk) {
  unsigned char head[8];
  int i;

  if (*at == 0) *at = 8; /* the signature */
  if (*at == UINT64_MAX || *at >= source->size) return 0;
  if (kx_source_read(source, *at, head, sizeof head) != (ssize_t)sizeof head) return -1;
  chunk->size = KX_BE32(head);
  memcpy(chunk->name, head + 4, 4);
  chunk->name[4] = '\0';
  chunk->body = *at + 8;
  for (i = 4; i < 8; i++) {
    if ((head[i] | 32) < 'a' || (head[i] | 32) > 'z') return -1;
  }
  if (chunk->size > 0x7FFFFFFF || chunk->body + chunk->size + 4 > source->size) return -1;
  *at = chunk->body + chunk->size + 4;
  if (memcmp(chunk->name, "IEND", 4) == 0) *at = UINT64_MAX;
  return 1;
}

static int read_body(const kx_source *source, const kx_png_chunk *chunk, void *to, size_t most) {
  size_t size = chunk->size < most ? chunk->size : most;

  return kx_source_read(source, chunk->body, to, size) == (ssize_t)size;
}

static const char *read_header(kx_png *png, const kx_png_chunk *chunk) {
  static const int samples[7] = {1, 0, 3, 1, 2, 0, 4};
  unsigned char h[13];

  if (memcmp(chunk->name, "IHDR", 4) != 0 || chunk->size != 13 ||
      !read_body(png->source, chunk, h, 13)) {
    return "its first chunk is not the header (IHDR)";
  }
  if (KX_BE32(h) < 1 || KX_BE32(h) > 1u << 24 || KX_BE32(h + 4) < 1 ||
      KX_BE32(h + 4) > 1u << 24) {
    return "its size is out of bounds";
  }
  png->width = (int)KX_BE32(h);
  png->height = (int)KX_BE32(h + 4);
  png->depth = h[8];
  png->colour = h[9];
  png->interlaced = h[12];
  if (h[9] > 6 || samples[h[9]] == 0 || h[12] > 1) return "its header is damaged";
  png->samples = samples[h[9]];
  if (h[8] != 8 && h[8] != 16 && h[8] != 1 && h[8] != 2 && h[8] != 4) {
    return "its header is damaged";
  }
  if ((h[8] == 16 && h[9] == 3) || (h[8] < 8 && h[9] != 0 && h[9] != 3)) {
    return "its header is damaged";
  }
  return NULL;
}

static const char *read_transparency(kx_png *png, const kx_png_chunk *chunk) {
  unsigned char bytes[6] = {0};
  int k;

  png->transparent = 1;
  if (png->colour == KX_PNG_PALETTE) {
    return read_body(png->source, chunk, png->alpha, 256) ? NULL : "it cannot be read";
  }
  if ((int)chunk->size < 2 * png->samples || !read_body(png->source, chunk, bytes, 6)) {
    return "its transparency (tRNS) is damaged";
  }
  for (k = 0; k < 3 && k < png->samples; k++) {
    png->key[k] = KX_BE16(bytes + 2 * k) & ((1u << png->depth) - 1);
  }
  return NULL;
}

const char *kx_png_read_head(kx_png *png, const kx_source *source) {
  kx_png_chunk chunk;
  uint64_t at = 0;
  const char *why;
  int count;

  memset(png, 0, sizeof *png);
  memset(png->alpha, 255, sizeof png->alpha);
  png->source = source;
  if (kx_png_next_chunk(source, &at, &chunk) != 1) return "it is cut";
  why = read_header(png, &chunk);
  for (count = 0; !why && count < MAX_CHUNKS; count++) {
    if (kx_png_next_chunk(source, &at, &chunk) != 1) return "it is cut before its pixels";
    if (memcmp(chunk.name, "IDAT", 4) == 0) {
      if (png->colour == KX_PNG_PALETTE && !png->colours) return "its palette (PLTE) is missing";
      return NULL;
    }
    if (memcmp(chunk.name, "PLTE", 4) == 0) {
      if (chunk.size > 768 || chunk.size % 3) return "its palette (PLTE) is damaged";
      if (!read_body(source, &chunk, png->palette, 768)) return "it cannot be read";
      png->colours = (int)chunk.size / 3;
    } else if (memcmp(chunk.name, "tRNS", 4) == 0 && png->samples != 2 && png->samples != 4) {
      why = read_transparency(png, &chunk);
    } else if (memcmp(chunk.name, "acTL", 4) == 0) {
      png->animated = 1;
    }
  }
  return why ? why : "it has too many chunks before its pixels";
}

/* Rows ---------------------------------------------------------------------------------------- */

size_t kx_png_row_size(int count, int bits) { return ((size_t)count * (size_t)bits + 7) / 8; }

int kx_png_rows_begin(kx_png_rows *r, const kx_png *png) {
  size_t size = kx_png_row_size(png->width, png->samples * png->depth);

  memset(r, 0, sizeof *r);
  r->png = png;
  r->piece = (unsigned char *)malloc(PIECE);
  r->lines = (unsigned char *)calloc(2, size + 1);
  r->open = r->piece && r->lines && inflateInit(&r->z) == Z_OK;
  if (r->open) return 1;
  kx_png_rows_end(r);
  return 0;
}

void kx_png_rows_end(kx_png_rows *r) {
  if (r->open) inflateEnd(&r->z);
  free(r->piece);
  free(r->lines);
  memset(r, 0, sizeof *r);
}

/* Gives zlib the next bytes of the chunks of pixels; returns 0 where there are none. */
static int feed(kx_png_rows *r) {
  kx_png_chunk chunk;
  size_t size;

  while (r->left == 0) {
    if (kx_png_next_chunk(r->png->source, &r->next, &chunk) != 1) return 0;
    if (memcmp(chunk.name, "IDAT", 4) != 0) continue;
    r->body = chunk.body;
    r->left = chunk.size;
  }
  size = r->left < PIECE ? r->left : PIECE;
  if (kx_source_read(r->png->source, r->body, r->piece, size) != (ssize_t)size) return 0;
  r->body += size;
  r->left -= (uint32_t)size;
  r->z.next_in = r->piece;
  r->z.avail_in = (uInt)size;
  return 1;
}

static int inflate_row(kx_png_rows *r, unsigned char *to, size_t size) {
  r->z.next_out = to;
  r->z.avail_out = (uInt)size;
  while (r->z.avail_out > 0) {
    int status;
    if (r->z.avail_in == 0 && !feed(r)) return 0;
    status = inflate(&r->z, Z_NO_FLUSH);
    if (r->z.avail_out > 0 && status != Z_OK && status != Z_BUF_ERROR) return 0;
    if (status == Z_BUF_ERROR && r->z.avail_in > 0) return 0;
  }
  return 1;
}

/* Returns whichever of left, above and upper left is nearest to left + above - upper left. */
static int paeth(int a, int b, int c) {
  int to_a = abs(b - c), to_b = abs(a - c), to_c = abs(a + b - 2 * c);
  return to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c;
}

static void unfilter(int filter, unsigned char *row, const unsigned char *above, size_t size,
                     size_t pixel) {
  size_t i;

  for (i = 0; i < size; i++) {
    int a = i < pixel ? 0 : row[i - pixel], b = above[i], c = i < pixel ? 0 : above[i - pixel];
    int guess = filter == 1 ? a : filter == 2 ? b : filter == 3 ? (a + b) / 2 : paeth(a, b, c);
    row[i] = (unsigned char)(row[i] + guess);
  }
}

/* Moves to the next pass that has pixels; returns 0 behind the last. */
static int find_pass(kx_png_rows *r) {
  const kx_png *png = r->png;

  while (r->pass < 7) {
    const kx_png_pass *pass = &kx_png_passes[r->pass];
    int y = pass->y + r->line * pass->down;
    if (y < png->height && pass->x < png->width) {
      r->row.y = y;
      r->row.x = pass->x;
      r->row.step = pass->across;
      r->row.count = (png->width - pass->x + pass->across - 1) / pass->across;
      return 1;
    }
    r->pass++;
    r->line = 0;
  }
  return 0;
}

static int find_row(kx_png_rows *r) {
  if (r->png->interlaced) return find_pass(r);
  r->row.y = r->line;
  r->row.x = 0;
  r->row.step = 1;
  r->row.count = r->png->width;
  return r->line < r->png->height;
}

int kx_png_rows_next(kx_png_rows *r) {
  int bits = r->png->samples * r->png->depth;
  size_t most = kx_png_row_size(r->png->width, bits) + 1, pixel = bits < 8 ? 1 : (size_t)bits / 8;
  unsigned char *line, *above;

  if (!find_row(r)) return 0;
  line = r->lines + (r->line % 2 ? most : 0);
  above = r->lines + (r->line % 2 ? 0 : most);
  r->row.size = kx_png_row_size(r->row.count, bits);
  if (r->line == 0) memset(above, 0, most);
  if (!inflate_row(r, line, r->row.size + 1)) return -1;
  r->row.filter = line[0];
  if (line[0] > 4) return -1;
  if (line[0]) unfilter(line[0], line + 1, above + 1, r->row.size, pixel);
  r->row.bytes = line + 1;
  r->line++;
  return 1;
}

/* Pixels -------------------------------------------------------------------------------------- */

unsigned kx_png_sample(const kx_png *png, const unsigned char *row, int i, int k) {
  size_t at = (size_t)i * (size_t)png->samples + (size_t)k;
  int per_byte;

  if (png->depth == 8) return row[at];
  if (png->depth == 16) return KX_BE16(row + 2 * at);
  per_byte = 8 / png->depth;
  return row[at / (size_t)per_byte] >> (per_byte - 1 - (int)(at % (size_t)per_byte)) * png->depth &
         ((1u << png->depth) - 1);
}

/* Returns a sample as 8 bits. */
static unsigned char to_8(unsigned value, int depth) {
  if (depth == 8) return (unsigned char)value;
  if (depth == 16) return (unsigned char)((value * 255 + 32767) / 65535);
  return (unsigned char)(value * 255 / ((1u << depth) - 1));
}

void kx_png_rgba(const kx_png *png, const unsigned char *row, int i, unsigned char rgba[4]) {
  unsigned s[4] = {0, 0, 0, 0};
  int k, hidden;

  for (k = 0; k < png->samples; k++) s[k] = kx_png_sample(png, row, i, k);
  rgba[3] = 255;
  if (png->colour == KX_PNG_PALETTE) { /* a number that is not in the palette is black */
    memcpy(rgba, png->palette + 3 * s[0], 3);
    rgba[3] = png->alpha[s[0]];
    return;
  }
  hidden = png->transparent && s[0] == png->key[0];
  if (png->samples < 3) {
    rgba[0] = rgba[1] = rgba[2] = to_8(s[0], png->depth);
    if (png->samples == 2) rgba[3] = to_8(s[1], png->depth);
  } else {
    for (k = 0; k < png->samples; k++) rgba[k] = to_8(s[k], png->depth);
    hidden = hidden && s[1] == png->key[1] && s[2] == png->key[2];
  }
  if (hidden) rgba[3] = 0;
}
