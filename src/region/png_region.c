#include "config.h"

#include "region/png_region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PIECE 65536 /* bytes of pixels in one chunk */
#define LEAST_LIGHT 8 /* of a mask: what is darker is black that a scaler left */

static const char no_memory[] = "there is not enough memory";
static const char damaged[] = "its pixels are damaged or cut";
static const char cancelled[] = "it was cancelled";

/* Reading ------------------------------------------------------------------------------------- */

/* Writes pixel `i` of a row, laid on white. */
static void flat_pixel(const kx_png *png, const unsigned char *row, int i, unsigned char *to) {
  unsigned char rgba[4];
  int k;

  kx_png_rgba(png, row, i, rgba);
  for (k = 0; k < 3; k++) {
    to[k] = rgba[3] == 255
                ? rgba[k]
                : (unsigned char)((rgba[k] * rgba[3] + 255 * (255 - rgba[3]) + 127) / 255);
  }
}

/* Returns the first pixel of a row that is not left of `x`. */
static int first_in(const kx_png_row *row, int x) {
  return x <= row->x ? 0 : (x - row->x + row->step - 1) / row->step;
}

/* Reads the window into `to`, the rows of which are `stride` bytes apart, or row by row into the
   reducer. */
static const char *read_rows(const kx_png *png, const kx_rect *window, unsigned char *to,
                             kx_reducer *reducer, const kx_wanted *wanted) {
  size_t stride = (size_t)window->width * 3;
  int end = window->y + window->height, right = window->x + window->width, status = 1;
  kx_png_rows rows;
  const char *why = NULL;

  if (!kx_png_rows_begin(&rows, png)) return no_memory;
  /* All rows: what is damaged below the window would only be found when it is paid for. */
  while (!why && (status = kx_png_rows_next(&rows)) == 1) {
    const kx_png_row *row = &rows.row;
    unsigned char *line = to;
    int i;
    if (!KX_WANTED(wanted)) why = cancelled;
    if (row->y < window->y || row->y >= end) continue;
    if (!reducer) line += (size_t)(row->y - window->y) * stride;
    for (i = first_in(row, window->x); i < row->count; i++) {
      int x = row->x + i * row->step;
      if (x >= right) break;
      flat_pixel(png, row->bytes, i, line + (size_t)(x - window->x) * 3);
    }
    if (reducer) kx_reducer_add(reducer, line);
  }
  kx_png_rows_end(&rows);
  if (!why && status < 0) why = damaged;
  return why;
}

const char *kx_png_region_read(const kx_png *png, const kx_rect *window, kx_reducer *to,
                               const kx_wanted *wanted) {
  size_t stride = (size_t)window->width * 3;
  size_t rows = png->interlaced ? (size_t)window->height : 1;
  unsigned char *pixels = (unsigned char *)malloc(stride * rows);
  const char *why = pixels ? NULL : no_memory;
  int y;

  if (!why) why = read_rows(png, window, pixels, png->interlaced ? NULL : to, wanted);
  if (png->interlaced) {
    for (y = 0; !why && y < window->height; y++) kx_reducer_add(to, pixels + (size_t)y * stride);
  }
  free(pixels);
  return why;
}

static void widen(kx_rect *box, int x, int y) {
  int right = box->x + box->width, bottom = box->y + box->height;

  if (box->width == 0) {
    box->x = x, box->y = y, box->width = box->height = 1;
    return;
  }
  if (x < box->x) box->x = x;
  if (y < box->y) box->y = y;
  box->width = (x >= right ? x + 1 : right) - box->x;
  box->height = (y >= bottom ? y + 1 : bottom) - box->y;
}

const char *kx_png_mask_read(const kx_png *png, const kx_rect *window, unsigned char *to,
                             kx_rect *box, const kx_wanted *wanted) {
  int status = 1, end = window->y + window->height, right = window->x + window->width;
  kx_png_rows rows;
  const char *why = NULL;

  memset(box, 0, sizeof *box);
  if (!kx_png_rows_begin(&rows, png)) return no_memory;
  while (!why && (status = kx_png_rows_next(&rows)) == 1) {
    const kx_png_row *row = &rows.row;
    int i;
    if (!KX_WANTED(wanted)) why = cancelled;
    if (row->y < window->y || row->y >= end) continue;
    for (i = first_in(row, window->x); i < row->count; i++) {
      int x = row->x + i * row->step;
      unsigned char rgba[4];
      unsigned light;
      if (x >= right) break;
      kx_png_rgba(png, row->bytes, i, rgba);
      light = (299u * rgba[0] + 587u * rgba[1] + 114u * rgba[2] + 500) / 1000 * rgba[3] / 255;
      if (light < LEAST_LIGHT) light = 0;
      if (light) widen(box, x, row->y);
      if (to) {
        to[(size_t)(row->y - window->y) * (size_t)window->width + (size_t)(x - window->x)] =
            (unsigned char)light;
      }
    }
  }
  kx_png_rows_end(&rows);
  if (!why && status < 0) why = damaged;
  return why;
}

/* Writing ------------------------------------------------------------------------------------- */

/* How the file is written: its own kind, or a wider one. */
typedef struct writer {
  const kx_png *png;
  const kx_rect *window;
  kx_blend *blend;
  kx_png to; /* what describes the new pixels */
  kx_sink *sink;
  int error; /* an errno */
  z_stream z;
  unsigned char *piece, *lines, *filtered;
  float *weights, *rgb;
  int row; /* of the window, whose weights and colours are made; -1: none */
  int any; /* one of them is above 0 */
} writer;

static void put32(unsigned char *to, uint32_t value) {
  to[0] = (unsigned char)(value >> 24), to[1] = (unsigned char)(value >> 16);
  to[2] = (unsigned char)(value >> 8), to[3] = (unsigned char)value;
}

static void write_bytes(writer *w, const void *bytes, size_t size) {
  if (!w->error) w->error = kx_sink_write(w->sink, bytes, size);
}

static void write_chunk(writer *w, const char *name, const unsigned char *bytes, size_t size) {
  unsigned char head[8], tail[4];
  uLong sum;

  put32(head, (uint32_t)size);
  memcpy(head + 4, name, 4);
  sum = crc32(crc32(0, NULL, 0), head + 4, 4);
  if (size > 0) sum = crc32(sum, bytes, (uInt)size);
  put32(tail, (uint32_t)sum);
  write_bytes(w, head, 8);
  write_bytes(w, bytes, size);
  write_bytes(w, tail, 4);
}

/* Copies a chunk as it is, its checksum too. */
static const char *copy_chunk(writer *w, const kx_png_chunk *chunk) {
  uint64_t at = chunk->body - 8, left = (uint64_t)chunk->size + 12;

  while (left > 0) {
    size_t n = left < PIECE ? (size_t)left : PIECE;
    if (kx_source_read(w->png->source, at, w->piece, n) != (ssize_t)n) return "it cannot be read";
    write_bytes(w, w->piece, n);
    at += n;
    left -= n;
  }
  return NULL;
}

/* Compresses bytes; full pieces become chunks. `flush`: all that is left. */
static void compress_bytes(writer *w, const unsigned char *bytes, size_t size, int flush) {
  w->z.next_in = bytes;
  w->z.avail_in = (uInt)size;
  for (;;) {
    int status = deflate(&w->z, flush);
    if (w->z.avail_out > 0 && status != Z_STREAM_END) return;
    if (w->z.avail_out < PIECE) write_chunk(w, "IDAT", w->piece, PIECE - w->z.avail_out);
    w->z.next_out = w->piece;
    w->z.avail_out = PIECE;
    if (status == Z_STREAM_END || w->error) return;
    if (w->z.avail_in == 0 && flush == Z_NO_FLUSH) return;
  }
}

static int paeth(int a, int b, int c) {
  int to_a = abs(b - c), to_b = abs(a - c), to_c = abs(a + b - 2 * c);
  return to_a <= to_b && to_a <= to_c ? a : to_b <= to_c ? b : c;
}

/* Filters a row as the file's own was: who wrote it has tried. */
static void filter(int kind, const unsigned char *row, const unsigned char *above, size_t size,
                   size_t pixel, unsigned char *to) {
  size_t i;

  *to++ = (unsigned char)kind;
  for (i = 0; i < size; i++) {
    int a = i < pixel ? 0 : row[i - pixel], b = above[i], c = i < pixel ? 0 : above[i - pixel];
    int guess = kind == 0   ? 0
                : kind == 1 ? a
                : kind == 2 ? b
                : kind == 3 ? (a + b) / 2
                            : paeth(a, b, c);
    to[i] = (unsigned char)(row[i] - guess);
  }
}

static void set_sample(const kx_png *png, unsigned char *row, int i, int k, unsigned value) {
  size_t at = (size_t)i * (size_t)png->samples + (size_t)k;

  if (png->depth == 16) {
    row[2 * at] = (unsigned char)(value >> 8);
    row[2 * at + 1] = (unsigned char)value;
  } else if (png->depth == 8) {
    row[at] = (unsigned char)value;
  } else { /* a palette's number */
    size_t per_byte = 8 / (size_t)png->depth;
    int shift = (int)(per_byte - 1 - at % per_byte) * png->depth;
    unsigned mask = ((1u << png->depth) - 1) << shift;
    unsigned char *byte = &row[at / per_byte];
    *byte = (unsigned char)((*byte & ~mask) | value << shift);
  }
}

/* Copies a row in the new kind. */
static void widen_row(const writer *w, const kx_png_row *row, unsigned char *to) {
  const kx_png *from = w->png;
  int i, k;

  if (from->colour == w->to.colour && from->depth == w->to.depth) {
    memcpy(to, row->bytes, row->size);
    return;
  }
  for (i = 0; i < row->count; i++) {
    unsigned char rgba[4];
    if (from->colour == KX_PNG_PALETTE) {
      kx_png_rgba(from, row->bytes, i, rgba);
      for (k = 0; k < w->to.samples; k++) set_sample(&w->to, to, i, k, rgba[k]);
    } else {
      unsigned scale = 255 / ((1u << from->depth) - 1);
      set_sample(&w->to, to, i, 0, kx_png_sample(from, row->bytes, i, 0) * scale);
    }
  }
}

static int is_key(const kx_png *png, const unsigned *s) {
  int k;

  if (!png->transparent || (png->samples != 1 && png->samples != 3)) return 0;
  for (k = 0; k < png->samples; k++) {
    if (s[k] != png->key[k]) return 0;
  }
  return 1;
}

/* Returns the palette's number of a colour, opaque, or -1. */
static int find_colour(const kx_png *png, const unsigned *rgb) {
  int i;

  for (i = 0; i < png->colours; i++) {
    const unsigned char *p = png->palette + 3 * i;
    if (p[0] == rgb[0] && p[1] == rgb[1] && p[2] == rgb[2] && png->alpha[i] == 255) return i;
  }
  return -1;
}

/* Blends one pixel of a row in the new kind; returns 0 where its palette has no room. */
static int blend_pixel(kx_png *to, unsigned char *row, int i, float weight, const float *rgb) {
  int colours = to->samples < 3 && to->colour != KX_PNG_PALETTE ? 1 : 3, k, number;
  unsigned most = to->colour == KX_PNG_PALETTE ? 255 : (1u << to->depth) - 1, s[4] = {0, 0, 0, 0};
  float grey = 0.299f * rgb[0] + 0.587f * rgb[1] + 0.114f * rgb[2];

  if (to->colour == KX_PNG_PALETTE) {
    unsigned char rgba[4];
    kx_png_rgba(to, row, i, rgba);
    if (rgba[3] == 0) return 1; /* nobody sees it */
    if (rgba[3] < 255) return 0;
    for (k = 0; k < 3; k++) s[k] = rgba[k];
  } else {
    for (k = 0; k < to->samples; k++) s[k] = kx_png_sample(to, row, i, k);
    if (is_key(to, s)) return 1;
  }
  for (k = 0; k < colours; k++) {
    float target = (colours == 1 ? grey : rgb[k]) * (float)most / 255;
    float value = (float)s[k] + weight * (target - (float)s[k]) + 0.5f;
    s[k] = value <= 0 ? 0 : value >= (float)most ? most : (unsigned)value;
  }
  if (to->colour == KX_PNG_PALETTE) {
    number = find_colour(to, s);
    if (number < 0) {
      if (to->colours >= 1 << to->depth) return 0;
      number = to->colours++;
      for (k = 0; k < 3; k++) to->palette[3 * number + k] = (unsigned char)s[k];
      to->alpha[number] = 255;
    }
    set_sample(to, row, i, 0, (unsigned)number);
    return 1;
  }
  if (is_key(to, s)) s[colours - 1] += s[colours - 1] > 0 ? -1u : 1u;
  for (k = 0; k < colours; k++) set_sample(to, row, i, k, s[k]);
  return 1;
}

/* Blends the part of a row that lies in the window; returns 0 where the palette has no room. */
static int blend_row(writer *w, const kx_png_row *row, unsigned char *bytes) {
  int y = row->y - w->window->y, right = w->window->x + w->window->width, i;

  if (y < 0 || y >= w->window->height) return 1;
  if (w->row != y) {
    w->any = kx_blend_row(w->blend, y, w->weights, w->rgb);
    w->row = y;
  }
  for (i = first_in(row, w->window->x); w->any && i < row->count; i++) {
    int x = row->x + i * row->step - w->window->x;
    if (x + w->window->x >= right) break;
    if (w->weights[x] <= 0) continue;
    if (!blend_pixel(&w->to, bytes, i, w->weights[x], w->rgb + (size_t)x * 3)) return 0;
  }
  return 1;
}

/* Describes the new pixels as a wider kind than the file's. */
static void choose_wider(writer *w) {
  int i, clear = 0;

  w->to.depth = 8;
  if (w->png->colour != KX_PNG_PALETTE) {
    w->to.key[0] = w->png->key[0] * (255 / ((1u << w->png->depth) - 1));
    return;
  }
  for (i = 0; i < 256; i++) clear |= w->png->alpha[i] < 255;
  w->to.colour = clear ? KX_PNG_RGBA : KX_PNG_RGB;
  w->to.samples = clear ? 4 : 3;
  w->to.transparent = 0;
}

/* Tries whether the palette takes the answer's colours, and adds them to it. */
static const char *try_palette(writer *w, int *fits, const kx_wanted *wanted) {
  kx_png_rows rows;
  int status = 1;
  const char *why = NULL;

  *fits = 1;
  if (!kx_png_rows_begin(&rows, w->png)) return no_memory;
  while (!why && *fits && (status = kx_png_rows_next(&rows)) == 1) {
    if (!KX_WANTED(wanted)) why = cancelled;
    memcpy(w->lines, rows.row.bytes, rows.row.size); /* the next row follows from it as it was */
    *fits = blend_row(w, &rows.row, w->lines);
  }
  kx_png_rows_end(&rows);
  if (!why && status < 0) why = damaged;
  return why;
}

/* Writes all rows as chunks of pixels. */
static const char *write_rows(writer *w, const kx_wanted *wanted) {
  int bits = w->to.samples * w->to.depth, status = 1;
  size_t most = kx_png_row_size(w->to.width, bits), pixel = bits < 8 ? 1 : (size_t)bits / 8;
  kx_png_rows rows;
  const char *why = NULL;

  if (!kx_png_rows_begin(&rows, w->png)) return no_memory;
  w->z.next_out = w->piece;
  w->z.avail_out = PIECE;
  while (!why && !w->error && (status = kx_png_rows_next(&rows)) == 1) {
    unsigned char *line = w->lines + (rows.line % 2 ? most : 0);
    unsigned char *above = w->lines + (rows.line % 2 ? 0 : most);
    if (!KX_WANTED(wanted)) why = cancelled;
    if (rows.line == 1) memset(above, 0, most); /* the first of a pass */
    widen_row(w, &rows.row, line);
    (void)blend_row(w, &rows.row, line);
    filter(rows.row.filter, line, above, kx_png_row_size(rows.row.count, bits), pixel,
           w->filtered);
    compress_bytes(w, w->filtered, kx_png_row_size(rows.row.count, bits) + 1, Z_NO_FLUSH);
  }
  kx_png_rows_end(&rows);
  if (!why && status < 0) why = damaged;
  if (!why && !w->error) compress_bytes(w, NULL, 0, Z_FINISH);
  return why;
}

static void write_header(writer *w) {
  unsigned char h[13] = {0};

  put32(h, (uint32_t)w->to.width);
  put32(h + 4, (uint32_t)w->to.height);
  h[8] = (unsigned char)w->to.depth;
  h[9] = (unsigned char)w->to.colour;
  h[12] = (unsigned char)w->to.interlaced;
  write_chunk(w, "IHDR", h, sizeof h);
}

/* Writes what describes colours in the new kind; returns 0 for a chunk that may be copied. */
static int write_described(writer *w, const kx_png_chunk *chunk) {
  unsigned char bytes[6] = {0}, word[2];
  int same = w->png->colour == w->to.colour && w->png->depth == w->to.depth;
  int palette = w->png->colour == KX_PNG_PALETTE;
  unsigned number = 0;

  if (palette && same) {
    if (memcmp(chunk->name, "hIST", 4) == 0) return w->to.colours != w->png->colours;
    if (memcmp(chunk->name, "PLTE", 4) != 0) return 0;
    write_chunk(w, "PLTE", w->to.palette, (size_t)w->to.colours * 3);
    return 1;
  }
  if (same) return 0;
  if (palette && (memcmp(chunk->name, "PLTE", 4) == 0 || memcmp(chunk->name, "hIST", 4) == 0 ||
                  memcmp(chunk->name, "tRNS", 4) == 0)) {
    return 1;
  }
  if (palette && memcmp(chunk->name, "sBIT", 4) == 0) return w->to.samples == 4;
  if (!palette && memcmp(chunk->name, "tRNS", 4) == 0) {
    bytes[1] = (unsigned char)w->to.key[0];
    write_chunk(w, "tRNS", bytes, 2);
    return 1;
  }
  if (memcmp(chunk->name, "bKGD", 4) != 0) return 0;
  if (kx_source_read(w->png->source, chunk->body, word, palette ? 1 : 2) != (palette ? 1 : 2)) {
    return 1;
  }
  if (palette) {
    number = word[0];
    bytes[1] = w->png->palette[3 * number], bytes[3] = w->png->palette[3 * number + 1];
    bytes[5] = w->png->palette[3 * number + 2];
    write_chunk(w, "bKGD", bytes, 6);
  } else {
    number = KX_BE16(word) & ((1u << w->png->depth) - 1);
    bytes[1] = (unsigned char)(number * (255 / ((1u << w->png->depth) - 1)));
    write_chunk(w, "bKGD", bytes, 2);
  }
  return 1;
}

static const char *write_exif(writer *w, const kx_png_chunk *chunk, kx_metadata how,
                              int orientation) {
  kx_buffer exif = {NULL, 0, 0, (size_t)8 << 20, 0};

  if (kx_png_exif(w->png, chunk, how, orientation, &exif)) {
    write_chunk(w, "eXIf", exif.bytes, exif.size);
  }
  kx_buffer_free(&exif);
  return NULL;
}

/* Writes all chunks in the file's order; what is damaged or cut after the pixels is left out. */
static const char *write_chunks(writer *w, kx_metadata how, int orientation, unsigned *dropped,
                                const kx_wanted *wanted) {
  uint64_t at = 0;
  kx_png_chunk chunk;
  const char *why = NULL;
  int pixels = 0;

  write_bytes(w, "\x89PNG\r\n\x1A\n", 8);
  while (!why && !w->error && kx_png_next_chunk(w->png->source, &at, &chunk) == 1) {
    if (memcmp(chunk.name, "IEND", 4) == 0) break;
    if (memcmp(chunk.name, "IDAT", 4) == 0) {
      if (!pixels++) why = write_rows(w, wanted);
    } else if (memcmp(chunk.name, "IHDR", 4) == 0) {
      write_header(w);
      if (kx_png_lacks_exif(w->png, how, orientation)) why = write_exif(w, NULL, how, orientation);
    } else if (memcmp(chunk.name, "eXIf", 4) == 0) {
      why = write_exif(w, &chunk, how, orientation);
    } else if (kx_png_chunk_stays(&chunk, how, dropped) && !write_described(w, &chunk)) {
      why = copy_chunk(w, &chunk);
    }
  }
  write_chunk(w, "IEND", NULL, 0);
  return why;
}

/* Allocates what the writer needs; returns 1, or 0 without memory. */
static int open_writer(writer *w) {
  size_t row = (size_t)w->png->width * 8; /* the widest kind */

  w->piece = (unsigned char *)malloc(PIECE);
  w->lines = (unsigned char *)calloc(2, row);
  w->filtered = (unsigned char *)malloc(row + 1);
  w->weights = (float *)malloc((size_t)w->window->width * sizeof(float));
  w->rgb = (float *)malloc((size_t)w->window->width * 3 * sizeof(float));
  return w->piece && w->lines && w->filtered && w->weights && w->rgb &&
         deflateInit(&w->z, Z_DEFAULT_COMPRESSION) == Z_OK;
}

const char *kx_png_region_write(const kx_png *png, const kx_rect *window, kx_blend *blend,
                                kx_metadata how, int orientation, kx_sink *to, int *error,
                                unsigned *dropped, const kx_wanted *wanted) {
  writer w;
  const char *why = NULL;
  int fits = 1;

  memset(&w, 0, sizeof w);
  w.png = png;
  w.window = window;
  w.blend = blend;
  w.to = *png;
  w.sink = to;
  w.row = -1;
  if (!open_writer(&w)) why = no_memory;
  if (!why && png->colour == KX_PNG_PALETTE) why = try_palette(&w, &fits, wanted);
  if (!why && (!fits || (png->colour == KX_PNG_GREY && png->depth < 8))) {
    w.to = *png;
    choose_wider(&w);
  }
  if (!why) why = write_chunks(&w, how, orientation, dropped, wanted);
  if (!why && w.error) why = "it cannot be written";
  *error = w.error;
  deflateEnd(&w.z);
  free(w.piece);
  free(w.lines);
  free(w.filtered);
  free(w.weights);
  free(w.rgb);
  return why;
}
