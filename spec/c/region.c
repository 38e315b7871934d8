/* Edits of a region, asked about pictures of every kind: what is outside of the window is compared
   by libjpeg and stb_image, which know nothing of how it was written. */
#include "config.h"

#include "check.h"
#include "picture/picture.h"
#include "region/exif_edit.h"
#include "region/region.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define MEMORY ((uint64_t)256 << 20)

static unsigned seed = 1;

/* Returns 0 … n - 1, the same each time. */
static int any(int n) {
  seed = seed * 1103515245u + 12345u;
  return (int)((seed >> 8) % (unsigned)n);
}

/* A job's result. */
typedef struct made {
  kx_sink *sink;
  kx_source source;
  kx_error error;
  int done;
} made;

static made run(kx_region *job, const unsigned char *bytes, size_t size) {
  made m;
  kx_source source;

  memset(&m, 0, sizeof m);
  m.sink = kx_sink_memory((size_t)64 << 20);
  kx_source_memory(&source, bytes, size);
  m.done = kx_region_run(job, &source, m.sink, &m.error) == 0;
  kx_sink_source(m.sink, &m.source);
  return m;
}

/* A window somewhere in a picture, with a region in it that leaves a margin, or none. */
static void choose(kx_region *job, int width, int height) {
  kx_rect *w = &job->window;

  w->width = width / 2 + any(width / 2);
  w->height = height / 2 + any(height / 2);
  w->x = any(width - w->width + 1);
  w->y = any(height - w->height + 1);
  job->region.width = w->width / 2;
  job->region.height = w->height / 2;
  job->region.x = w->x + w->width / 4;
  job->region.y = w->y + w->height / 4;
  if (any(3) == 0) job->region = *w;
  job->width = w->width;
  job->height = w->height;
  job->memory = MEMORY;
}

/* Paints the middle of an encoded window, or `all` of it, and returns it encoded again. */
static int repaint(const made *cut, int all, kx_buffer *out) {
  kx_picture picture;
  kx_image_info info;
  int part = all ? 0 : 1, x, y, good;

  out->cap = (size_t)64 << 20;
  if (kx_picture_read(&picture, &cut->source, MEMORY, NULL, &info) != KX_IMAGE_OK) return 0;
  for (y = part * picture.height / 4; y < picture.height * (4 - part) / 4; y++) {
    for (x = part * picture.width / 4; x < picture.width * (4 - part) / 4; x++) {
      unsigned char *p =
          picture.pixels +
          ((size_t)y * (size_t)picture.width + (size_t)x) * (size_t)picture.channels;
      p[0] = 250, p[1] = (unsigned char)(x * 3), p[2] = 20;
    }
  }
  good = kx_picture_write(&picture, 0, out);
  kx_picture_free(&picture);
  return good;
}

/* Cuts a window out of the picture, repaints it, puts it back: into `result`. */
static int edit(kx_region *job, const unsigned char *bytes, size_t size, made *result) {
  kx_buffer answer = {NULL, 0, 0, 0, 0};
  made cut;
  int good;

  job->kind = KX_REGION_CUT;
  cut = run(job, bytes, size);
  good = cut.done && repaint(&cut, job->region.width == job->window.width, &answer);
  if (!cut.done) printf("cut: %s\n", cut.error.detail);
  kx_sink_free(cut.sink);
  memset(result, 0, sizeof *result);
  if (good) {
    job->kind = KX_REGION_COMPOSE;
    job->answer = answer.bytes;
    job->answer_size = answer.size;
    *result = run(job, bytes, size);
    good = result->done;
    if (!good) printf("compose: %s\n", result->error.detail);
  }
  kx_buffer_free(&answer);
  return good;
}

/* Returns 1 where two pictures are the same outside of a window of the upright one, and differ in
   it. */
static int same_outside(const kx_source *before, const kx_source *after, const kx_rect *window) {
  kx_picture a, b;
  kx_image_info info, other;
  int x, y, same = 1, changed = 0;

  if (kx_picture_read(&a, before, MEMORY, NULL, &info) != KX_IMAGE_OK ||
      kx_picture_read(&b, after, MEMORY, NULL, &other) != KX_IMAGE_OK || a.width != b.width ||
      a.height != b.height || info.orientation != other.orientation) {
    return 0;
  }
  kx_picture_orient(&a, info.orientation);
  kx_picture_orient(&b, info.orientation);
  kx_picture_flatten(&a);
  kx_picture_flatten(&b);
  for (y = 0; y < a.height; y++) {
    for (x = 0; x < a.width; x++) {
      size_t at = ((size_t)y * (size_t)a.width + (size_t)x) * 3;
      int inside = x >= window->x && x < window->x + window->width && y >= window->y &&
                   y < window->y + window->height;
      int equal = memcmp(a.pixels + at, b.pixels + at, 3) == 0;
      same = same && (inside || equal);
      changed = changed || (inside && !equal);
    }
  }
  kx_picture_free(&a);
  kx_picture_free(&b);
  return same && changed;
}

/* JPEG ---------------------------------------------------------------------------------------- */

#ifdef KX_LIBJPEG

#include <stdio.h>

#include <jpeglib.h>

/* How a test picture is coded. */
typedef struct kind {
  int h[3], v[3], components, progressive, restart;
} kind;

static const kind kinds[] = {
  {{1, 1, 1}, {1, 1, 1}, 3, 0, 0}, {{2, 1, 1}, {1, 1, 1}, 3, 0, 0}, {{2, 1, 1}, {2, 1, 1}, 3, 0, 0},
  {{1, 1, 1}, {2, 1, 1}, 3, 0, 0}, {{4, 1, 1}, {1, 1, 1}, 3, 0, 0}, {{2, 2, 1}, {1, 1, 1}, 3, 0, 0},
  {{1, 0, 0}, {1, 0, 0}, 1, 0, 0}, {{2, 0, 0}, {2, 0, 0}, 1, 0, 0}, {{2, 1, 1}, {2, 1, 1}, 3, 1, 0},
  {{1, 1, 1}, {1, 1, 1}, 3, 1, 5}, {{1, 0, 0}, {1, 0, 0}, 1, 1, 0}, {{2, 1, 1}, {2, 1, 1}, 3, 0, 3},
  {{2, 1, 1}, {1, 1, 1}, 3, 0, 1}, {{1, 1, 1}, {2, 1, 1}, 3, 1, 2}
};

/* Adds a segment with Exif that tells an orientation. */
static void write_orientation(struct jpeg_compress_struct *jpeg, int orientation) {
  unsigned char bytes[32] = "Exif\0";

  kx_exif_orientation_only(orientation, bytes + 6);
  jpeg_write_marker(jpeg, JPEG_APP0 + 1, bytes, sizeof bytes);
}

/* Codes a picture of waves and noise; the bytes are for free(). */
static unsigned char *make_jpeg(const kind *k, int width, int height, int orientation,
                                unsigned long *size) {
  struct jpeg_compress_struct jpeg;
  struct jpeg_error_mgr errors;
  unsigned char *out = NULL, *row = (unsigned char *)malloc((size_t)width * 3);
  int x, c;

  jpeg.err = jpeg_std_error(&errors);
  jpeg_create_compress(&jpeg);
  jpeg_mem_dest(&jpeg, &out, size);
  jpeg.image_width = (JDIMENSION)width;
  jpeg.image_height = (JDIMENSION)height;
  jpeg.input_components = k->components;
  jpeg.in_color_space = k->components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&jpeg);
  jpeg_set_quality(&jpeg, 40 + any(60), TRUE);
  for (c = 0; c < k->components; c++) {
    jpeg.comp_info[c].h_samp_factor = k->h[c];
    jpeg.comp_info[c].v_samp_factor = k->v[c];
  }
  if (k->progressive) jpeg_simple_progression(&jpeg);
  jpeg.restart_interval = (unsigned)k->restart;
  jpeg_start_compress(&jpeg, TRUE);
  write_orientation(&jpeg, orientation);
  jpeg_write_marker(&jpeg, JPEG_APP0 + 1, (const JOCTET *)"http://ns.adobe.com/xap/1.0/\0<x/>", 33);
  jpeg_write_marker(&jpeg, JPEG_APP0 + 13, (const JOCTET *)"Photoshop 3.0", 14);
  jpeg_write_marker(&jpeg, JPEG_COM, (const JOCTET *)"a comment", 9);
  while (jpeg.next_scanline < jpeg.image_height) {
    int y = (int)jpeg.next_scanline;
    for (x = 0; x < width * k->components; x++) {
      row[x] = (unsigned char)(128 + (x * 5 + y * 3) % 80 - 40 + any(30));
    }
    jpeg_write_scanlines(&jpeg, &row, 1);
  }
  jpeg_finish_compress(&jpeg);
  jpeg_destroy_compress(&jpeg);
  free(row);
  return out;
}

/* A picture's coefficients. */
typedef struct coded {
  struct jpeg_decompress_struct jpeg;
  struct jpeg_error_mgr errors;
  jvirt_barray_ptr *arrays;
} coded;

static void open_coded(coded *c, const unsigned char *bytes, size_t size) {
  int marker;

  c->jpeg.err = jpeg_std_error(&c->errors);
  jpeg_create_decompress(&c->jpeg);
  jpeg_mem_src(&c->jpeg, bytes, (unsigned long)size);
  for (marker = 0; marker < 16; marker++) jpeg_save_markers(&c->jpeg, JPEG_APP0 + marker, 0xFFFF);
  jpeg_save_markers(&c->jpeg, JPEG_COM, 0xFFFF);
  jpeg_read_header(&c->jpeg, TRUE);
  c->arrays = jpeg_read_coefficients(&c->jpeg);
}

/* Returns 1 where the block's pixels all lie in the window, as stored. */
static int covers(const kx_rect *window, int left, int top, int right, int bottom) {
  return left >= window->x && top >= window->y && right <= window->x + window->width &&
         bottom <= window->y + window->height;
}

/* Compares all coefficients of one component; returns 1 where those outside of the window are the
   same. */
static int same_blocks(coded *a, coded *b, int index, const kx_rect *window) {
  jpeg_component_info *part = &a->jpeg.comp_info[index];
  int across = 8 * a->jpeg.max_h_samp_factor / part->h_samp_factor;
  int down = 8 * a->jpeg.max_v_samp_factor / part->v_samp_factor;
  JDIMENSION x, y;

  for (y = 0; y < part->height_in_blocks; y++) {
    JBLOCKARRAY p = a->jpeg.mem->access_virt_barray((j_common_ptr)&a->jpeg, a->arrays[index], y, 1,
                                                    FALSE);
    JBLOCKARRAY q = b->jpeg.mem->access_virt_barray((j_common_ptr)&b->jpeg, b->arrays[index], y, 1,
                                                    FALSE);
    for (x = 0; x < part->width_in_blocks; x++) {
      int right = ((int)x + 1) * across, bottom = ((int)y + 1) * down;
      if (right > (int)a->jpeg.image_width) right = (int)a->jpeg.image_width;
      if (bottom > (int)a->jpeg.image_height) bottom = (int)a->jpeg.image_height;
      if (memcmp(p[0][x], q[0][x], sizeof(JBLOCK)) != 0 &&
          !covers(window, (int)x * across, (int)y * down, right, bottom)) {
        return 0;
      }
    }
  }
  return 1;
}

static int same_markers(const coded *a, const coded *b) {
  jpeg_saved_marker_ptr p = a->jpeg.marker_list, q = b->jpeg.marker_list;

  for (; p && q; p = p->next, q = q->next) {
    if (p->marker != q->marker || p->data_length != q->data_length ||
        memcmp(p->data, q->data, p->data_length) != 0) {
      return 0;
    }
  }
  return !p && !q;
}

static void compare_coded(const unsigned char *before, size_t size, const kx_source *after,
                          const kx_rect *window) {
  coded a, b;
  int i, same = 1;

  open_coded(&a, before, size);
  open_coded(&b, after->memory, (size_t)after->size);
  CHECK("a region's edit keeps the number of colours",
        a.jpeg.num_components == b.jpeg.num_components);
  for (i = 0; i < a.jpeg.num_components; i++) {
    const jpeg_component_info *p = &a.jpeg.comp_info[i], *q = &b.jpeg.comp_info[i];
    same = same && p->h_samp_factor == q->h_samp_factor && p->v_samp_factor == q->v_samp_factor &&
           !memcmp(p->quant_table->quantval, q->quant_table->quantval, sizeof(UINT16) * 64);
    CHECK("no coefficient outside of the window differs", same_blocks(&a, &b, i, window));
  }
  CHECK("a region's edit keeps sampling and quantization", same);
  CHECK("progressive stays progressive", a.jpeg.progressive_mode == b.jpeg.progressive_mode);
  CHECK("restart intervals are kept", a.jpeg.restart_interval == b.jpeg.restart_interval);
  CHECK("segments stay in order", same_markers(&a, &b));
  jpeg_destroy_decompress(&a.jpeg);
  jpeg_destroy_decompress(&b.jpeg);
}

static void edit_jpeg(const kind *k, int width, int height, int orientation) {
  unsigned long size = 0;
  unsigned char *bytes = make_jpeg(k, width, height, orientation, &size);
  int turned = orientation >= 5;
  kx_region job;
  kx_source before;
  kx_rect stored;
  made result;

  memset(&job, 0, sizeof job);
  choose(&job, turned ? height : width, turned ? width : height);
  CHECK("a region of a JPEG is edited", edit(&job, bytes, size, &result));
  if (result.done) {
    kx_source_memory(&before, bytes, size);
    stored = kx_rect_stored(job.window, orientation, width, height);
    CHECK("no pixel outside of the window differs",
          same_outside(&before, &result.source, &job.window));
    compare_coded(bytes, size, &result.source, &stored);
  }
  kx_sink_free(result.sink);
  free(bytes);
}

static void jpegs(void) {
  size_t i;
  int round;

  for (i = 0; i < sizeof kinds / sizeof *kinds; i++) {
    for (round = 0; round < 4; round++) {
      edit_jpeg(&kinds[i], 90 + any(200), 90 + any(200), 1 + (int)(i + (size_t)round) % 8);
    }
    edit_jpeg(&kinds[i], 160, 128, 1);
  }
  for (round = 1; round <= 8; round++) edit_jpeg(&kinds[2], 203, 141, round);
}

#else

static void jpegs(void) {
  static const unsigned char start[] = {0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 16, 0, 16, 1, 1, 0x11,
                                        0,    0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0xFF, 0xD9};
  kx_region job;
  made result;

  memset(&job, 0, sizeof job);
  job.kind = KX_REGION_CUT;
  job.window.width = job.window.height = job.width = job.height = 16;
  job.memory = MEMORY;
  result = run(&job, start, sizeof start);
  CHECK("without libjpeg a sentence says how to get it",
        !result.done && strstr(result.error.detail, "libjpeg-turbo") != NULL);
  kx_sink_free(result.sink);
}

#endif

/* PNG ----------------------------------------------------------------------------------------- */

static void put32(unsigned char *to, uint32_t value) {
  to[0] = (unsigned char)(value >> 24), to[1] = (unsigned char)(value >> 16);
  to[2] = (unsigned char)(value >> 8), to[3] = (unsigned char)value;
}

static void add_chunk(kx_buffer *out, const char *name, const unsigned char *bytes, size_t size) {
  unsigned char word[4];
  size_t start = out->size;

  put32(word, (uint32_t)size);
  kx_buffer_add(out, word, 4);
  kx_buffer_add(out, name, 4);
  kx_buffer_add(out, bytes, size);
  put32(word, (uint32_t)crc32(0, out->bytes + start + 4, (uInt)size + 4));
  kx_buffer_add(out, word, 4);
}

/* Codes random rows as PNG; `few`: of a palette, colours enough are left free for the answer. */
static void make_png(kx_buffer *out, int colour, int depth, int interlaced, int width, int height,
                     int clear) {
  static const int samples[7] = {1, 0, 3, 1, 2, 0, 4};
  unsigned char h[13] = {0}, palette[768], *raw, *packed;
  int bits = samples[colour] * depth, pass, i;
  size_t size = 0, at = 0, room = (size_t)height * ((size_t)width * 8 + 16) * 2;
  uLongf packed_size = compressBound((uLong)room);

  out->cap = (size_t)64 << 20;
  raw = (unsigned char *)malloc(room);
  packed = (unsigned char *)malloc(packed_size);
  for (pass = interlaced ? 0 : 6; pass < 7; pass++) {
    int step_x = interlaced ? kx_png_passes[pass].across : 1, line;
    int step_y = interlaced ? kx_png_passes[pass].down : 1;
    int x = interlaced ? kx_png_passes[pass].x : 0, y = interlaced ? kx_png_passes[pass].y : 0;
    int count = width > x ? (width - x + step_x - 1) / step_x : 0;
    for (line = y; count > 0 && line < height; line += step_y) {
      raw[at++] = (unsigned char)any(5);
      size = kx_png_row_size(count, bits);
      for (i = 0; i < (int)size; i++) raw[at++] = (unsigned char)(any(3) ? 0 : any(40));
    }
  }
  compress(packed, &packed_size, raw, (uLong)at);
  kx_buffer_add(out, "\x89PNG\r\n\x1A\n", 8);
  put32(h, (uint32_t)width);
  put32(h + 4, (uint32_t)height);
  h[8] = (unsigned char)depth, h[9] = (unsigned char)colour, h[12] = (unsigned char)interlaced;
  add_chunk(out, "IHDR", h, 13);
  add_chunk(out, "tEXt", (const unsigned char *)"Title\0 a title", 14);
  for (i = 0; i < 768; i++) palette[i] = (unsigned char)any(256);
  if (colour == KX_PNG_PALETTE) add_chunk(out, "PLTE", palette, 3u << depth);
  if (colour == KX_PNG_PALETTE && clear) add_chunk(out, "tRNS", palette, 2);
  if (colour == KX_PNG_GREY && clear) add_chunk(out, "tRNS", (const unsigned char *)"\0\1", 2);
  if (colour == KX_PNG_RGB && clear) {
    add_chunk(out, "tRNS", (const unsigned char *)"\0\0\0\0\0\0", 6);
  }
  add_chunk(out, "IDAT", packed, packed_size / 2);
  add_chunk(out, "IDAT", packed + packed_size / 2, packed_size - packed_size / 2);
  add_chunk(out, "zTXt", (const unsigned char *)"Behind\0\0nothing", 15);
  add_chunk(out, "IEND", packed, 0);
  free(raw);
  free(packed);
}

static int has_chunk(const kx_source *source, const char *name) {
  kx_png_chunk chunk;
  uint64_t at = 0;

  while (kx_png_next_chunk(source, &at, &chunk) == 1) {
    if (memcmp(chunk.name, name, 4) == 0) return 1;
  }
  return 0;
}

static void edit_png(int colour, int depth, int interlaced, int clear) {
  int width = 60 + any(90), height = 60 + any(90);
  kx_buffer bytes = {NULL, 0, 0, 0, 0};
  kx_source before;
  kx_region job;
  made result;
  kx_png png;

  make_png(&bytes, colour, depth, interlaced, width, height, clear);
  memset(&job, 0, sizeof job);
  choose(&job, width, height);
  CHECK("a region of a PNG is edited", edit(&job, bytes.bytes, bytes.size, &result));
  if (result.done) {
    kx_source_memory(&before, bytes.bytes, bytes.size);
    CHECK("no pixel of a PNG outside of the window differs",
          same_outside(&before, &result.source, &job.window));
    CHECK("a PNG's texts are kept",
          has_chunk(&result.source, "tEXt") && has_chunk(&result.source, "zTXt"));
    CHECK("the new PNG can be read", kx_png_read_head(&png, &result.source) == NULL);
    CHECK("interlacing is kept", png.interlaced == interlaced);
    if (colour != KX_PNG_PALETTE) {
      CHECK("a PNG's kind is kept", png.colour == colour && png.depth == (depth < 8 ? 8 : depth));
    }
  }
  kx_sink_free(result.sink);
  kx_buffer_free(&bytes);
}

static void pngs(void) {
  static const unsigned char kinds_of_png[][2] = {{0, 1}, {0, 2},  {0, 4}, {0, 8},  {0, 16},
                                                  {2, 8}, {2, 16}, {3, 1}, {3, 2},  {3, 4},
                                                  {3, 8}, {4, 8},  {4, 16}, {6, 8}, {6, 16}};
  size_t i;
  int round;

  for (i = 0; i < sizeof kinds_of_png / sizeof *kinds_of_png; i++) {
    for (round = 0; round < 6; round++) {
      edit_png(kinds_of_png[i][0], kinds_of_png[i][1], round & 1, round & 2);
    }
  }
}

int main(void) {
  jpegs();
  pngs();
  return report();
}
