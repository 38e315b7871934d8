#include "config.h"

#include "region/jpeg_region.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs it */
#include <stdlib.h>
#include <string.h>

kx_rect kx_jpeg_region_allowed(const kx_image_info *info, const kx_rect *window) {
  int unit[2], start[2], end[2], size[2], axis;
  kx_rect allowed;

  unit[0] = info->mcu_width, unit[1] = info->mcu_height;
  size[0] = (int)info->width, size[1] = (int)info->height;
  start[0] = window->x, start[1] = window->y;
  end[0] = window->x + window->width, end[1] = window->y + window->height;
  for (axis = 0; axis < 2; axis++) {
    int smooth = unit[axis] > 8 ? unit[axis] / 8 : 0; /* pixels of one colour sample */
    if (start[axis] > 0) {
      start[axis] = (start[axis] + smooth + unit[axis] - 1) / unit[axis] * unit[axis];
    }
    if (end[axis] < size[axis]) end[axis] = (end[axis] - smooth) / unit[axis] * unit[axis];
    if (end[axis] < start[axis]) end[axis] = start[axis];
  }
  allowed.x = start[0];
  allowed.y = start[1];
  allowed.width = end[0] - start[0];
  allowed.height = end[1] - start[1];
  return allowed;
}

#ifdef KX_LIBJPEG

#include <jpeglib.h>

#include <jerror.h>

#define PIECE 16384      /* bytes that are written at once */
#define STATE 1048576    /* libjpeg's own tables and rows, rounded up */

/* libjpeg's two halves and what their errors need. */
typedef struct coder {
  struct jpeg_decompress_struct in;
  struct jpeg_compress_struct out;
  struct jpeg_error_mgr errors;
  struct jpeg_progress_mgr progress;
  struct jpeg_destination_mgr to;
  jmp_buf back;
  const char *why;
  const kx_wanted *wanted;
  int unended; /* the file has no end mark: its pixels must be seen to be whole */
  kx_sink *sink;
  int write_error;
  unsigned char *line, *piece;
  float *rows; /* of one row of coded units */
} coder;

/* Ends the work with the error that libjpeg has set. */
static void leave(j_common_ptr jpeg) {
  longjmp(((coder *)jpeg->client_data)->back, 1);
}

/* A code that no table has means that what follows is not the picture. */
static void warn(j_common_ptr jpeg, int level) {
  int code = jpeg->err->msg_code;

  if (level >= 0) return;
  if (code == JWRN_HUFF_BAD_CODE) leave(jpeg);
  if (code == JWRN_HIT_MARKER && ((coder *)jpeg->client_data)->unended) leave(jpeg);
}

static void stop(coder *c, const char *why) {
  c->why = why;
  longjmp(c->back, 1);
}

static void monitor(j_common_ptr jpeg) {
  coder *c = (coder *)jpeg->client_data;

  if (!KX_WANTED(c->wanted)) stop(c, "it was cancelled");
}

static const char *complaint(const coder *c) {
  switch (c->errors.msg_code) {
    case JERR_OUT_OF_MEMORY: return "there is not enough memory";
    case JERR_NO_BACKING_STORE: return "it takes more memory than is allowed";
    case JERR_MISMATCHED_QUANT_TABLE:
      return "it defines a quantization table twice; save it again as an ordinary JPEG";
    default:
      return c->unended ? "it is cut: a part of the picture is missing; get the whole file"
                        : "its pixels cannot be decoded";
  }
}

int kx_jpeg_region_built(void) { return 1; }

uint64_t kx_jpeg_region_memory(const kx_image_info *info) {
  uint64_t across = (info->width + (unsigned)info->mcu_width - 1) / (unsigned)info->mcu_width;
  uint64_t down = (info->height + (unsigned)info->mcu_height - 1) / (unsigned)info->mcu_height;

  return across * down * (uint64_t)info->blocks * 64 * sizeof(JCOEF) + STATE +
         (uint64_t)info->width * 64;
}

/* Reads the header; refuses what has inks. */
static void begin(coder *c, const kx_buffer *approved, uint64_t memory) {
  jpeg_create_decompress(&c->in);
  c->in.progress = &c->progress;
  c->progress.progress_monitor = monitor;
  c->in.mem->max_memory_to_use = memory < LONG_MAX ? (long)memory : LONG_MAX;
  jpeg_mem_src(&c->in, approved->bytes, (unsigned long)approved->size);
  jpeg_read_header(&c->in, TRUE);
  if (c->in.num_components != 1 && c->in.num_components != 3) stop(c, "it is a CMYK JPEG");
}

static void prepare(coder *c, const kx_wanted *wanted) {
  memset(c, 0, sizeof *c);
  c->wanted = wanted;
  c->in.err = c->out.err = jpeg_std_error(&c->errors);
  c->in.client_data = c->out.client_data = c;
  c->errors.error_exit = leave;
  c->errors.emit_message = warn;
}

/* Frees all; returns what went wrong, where something did. */
static const char *finish(coder *c, int left) {
  const char *why = !left ? NULL : c->why ? c->why : complaint(c);

  if (c->out.mem) jpeg_destroy_compress(&c->out);
  if (c->in.mem) jpeg_destroy_decompress(&c->in);
  free(c->line);
  free(c->piece);
  free(c->rows);
  return why;
}

/* Reading ------------------------------------------------------------------------------------- */

static void read_window(coder *c, const kx_buffer *approved, const kx_rect *window,
                        uint64_t memory, kx_reducer *to) {
  struct jpeg_decompress_struct *in = &c->in;
  int y, height, end = window->y + window->height;

  begin(c, approved, memory);
  in->out_color_space = JCS_RGB;
  jpeg_start_decompress(in);
  if (!kx_rect_inside(window, (int)in->output_width, (int)in->output_height)) {
    stop(c, "it has another size than it had");
  }
  c->line = (unsigned char *)malloc((size_t)in->output_width * 3);
  if (!c->line) stop(c, "there is not enough memory");
  height = (int)in->output_height;
  for (y = 0; y < height && (y < end || c->unended); y++) {
    JSAMPROW line = c->line;
    jpeg_read_scanlines(in, &line, 1);
    if (y >= window->y && y < end) kx_reducer_add(to, c->line + (size_t)window->x * 3);
    if (!KX_WANTED(c->wanted)) stop(c, "it was cancelled");
  }
}

const char *kx_jpeg_region_read(const kx_buffer *approved, int unended, const kx_rect *window,
                                uint64_t memory, kx_reducer *to, const kx_wanted *wanted) {
  coder c;
  volatile int left = 1;

  prepare(&c, wanted);
  c.unended = unended;
  if (setjmp(c.back) == 0) {
    read_window(&c, approved, window, memory, to);
    left = 0;
  }
  return finish(&c, left);
}

/* Writing ------------------------------------------------------------------------------------- */

static void begin_piece(j_compress_ptr out) {
  coder *c = (coder *)out->client_data;

  c->to.next_output_byte = c->piece;
  c->to.free_in_buffer = PIECE;
}

static void write_piece(coder *c, size_t size) {
  if (c->sink) c->write_error = kx_sink_write(c->sink, c->piece, size);
  if (c->write_error) stop(c, "it cannot be written");
}

static boolean empty_piece(j_compress_ptr out) {
  write_piece((coder *)out->client_data, PIECE);
  begin_piece(out);
  return TRUE;
}

static void end_piece(j_compress_ptr out) {
  coder *c = (coder *)out->client_data;

  write_piece(c, PIECE - c->to.free_in_buffer);
}

/* What the blocks of one row of coded units are made from. */
typedef struct unit_row {
  int width, height;       /* in pixels, whole units */
  int x, y;                /* of its first pixel, in the stored picture */
  float *weights;          /* of each pixel */
  float *channels[3];      /* of each pixel, in the file's own colours */
} unit_row;

/* The matrix of the cosine transform: wave u at sample x. */
typedef struct waves {
  float at[8][8];
} waves;

static void make_waves(waves *w) {
  int u, x;

  for (u = 0; u < 8; u++) {
    for (x = 0; x < 8; x++) {
      double scale = u ? 0.5 : sqrt(0.125);
      w->at[u][x] = (float)(scale * cos((2 * x + 1) * u * 3.14159265358979323846 / 16));
    }
  }
}

/* samples = wavesᵀ · coefficients · waves */
static void to_samples(const waves *w, const float *from, float *to) {
  float half[64];
  int i, k, n;

  for (i = 0; i < 8; i++) { /* rows of coefficients to rows of samples */
    for (n = 0; n < 8; n++) {
      float sum = 0;
      for (k = 0; k < 8; k++) sum += from[i * 8 + k] * w->at[k][n];
      half[i * 8 + n] = sum;
    }
  }
  for (i = 0; i < 8; i++) {
    for (n = 0; n < 8; n++) {
      float sum = 0;
      for (k = 0; k < 8; k++) sum += half[k * 8 + n] * w->at[k][i];
      to[i * 8 + n] = sum;
    }
  }
}

/* coefficients = waves · samples · wavesᵀ */
static void to_coefficients(const waves *w, const float *from, float *to) {
  float half[64];
  int i, k, n;

  for (i = 0; i < 8; i++) {
    for (n = 0; n < 8; n++) {
      float sum = 0;
      for (k = 0; k < 8; k++) sum += from[i * 8 + k] * w->at[n][k];
      half[i * 8 + n] = sum;
    }
  }
  for (i = 0; i < 8; i++) {
    for (n = 0; n < 8; n++) {
      float sum = 0;
      for (k = 0; k < 8; k++) sum += half[k * 8 + n] * w->at[i][k];
      to[i * 8 + n] = sum;
    }
  }
}

/* Blends the answer's samples into one block, where a weight is above 0; else leaves it as it
   is. */
static void blend_block(const waves *w, JCOEF *block, const UINT16 *steps, const float *weights,
                        const float *samples) {
  float values[64], coefficients[64];
  int i, any = 0;

  for (i = 0; i < 64; i++) any |= weights[i] > 0;
  if (!any) return;
  for (i = 0; i < 64; i++) coefficients[i] = (float)block[i] * (float)steps[i];
  to_samples(w, coefficients, values);
  for (i = 0; i < 64; i++) values[i] += weights[i] * (samples[i] - 128 - values[i]);
  to_coefficients(w, values, coefficients);
  for (i = 0; i < 64; i++) {
    float value = steps[i] ? coefficients[i] / (float)steps[i] : 0;
    float least = i ? -1023 : -1024; /* what baseline's codes can say */
    value = value < least ? least : value > 1023 ? 1023 : value;
    block[i] = (JCOEF)floorf(value + 0.5f);
  }
}

/* Takes the means of `across` by `down` pixels each as the samples of one block. */
static void sample_block(const unit_row *row, const float *channel, int x, int y, int across,
                         int down, float *weights, float *samples) {
  int i, k, dx, dy;

  for (i = 0; i < 8; i++) {
    for (k = 0; k < 8; k++) {
      float weight = 0, sum = 0;
      for (dy = 0; dy < down; dy++) {
        size_t at = (size_t)(y + i * down + dy) * (size_t)row->width + (size_t)(x + k * across);
        for (dx = 0; dx < across; dx++, at++) {
          weight += row->weights[at];
          sum += row->weights[at] * channel[at];
        }
      }
      weights[i * 8 + k] = weight / (float)(across * down);
      samples[i * 8 + k] = weight > 0 ? sum / weight : 0;
    }
  }
}

/* Blends one row of coded units into the blocks of one component. */
static void blend_component(coder *c, const waves *w, jvirt_barray_ptr array, int index,
                            const unit_row *row) {
  jpeg_component_info *part = &c->in.comp_info[index];
  int across = c->in.max_h_samp_factor / part->h_samp_factor;
  int down = c->in.max_v_samp_factor / part->v_samp_factor, x, y;
  const UINT16 *steps = part->quant_table->quantval;
  float weights[64], samples[64];

  for (y = 0; y < row->height; y += 8 * down) {
    JDIMENSION block_row = (JDIMENSION)((row->y + y) / (8 * down));
    JBLOCKARRAY blocks;
    if (block_row >= part->height_in_blocks) break;
    blocks = c->in.mem->access_virt_barray((j_common_ptr)&c->in, array, block_row, 1, TRUE);
    for (x = 0; x < row->width; x += 8 * across) {
      JDIMENSION block = (JDIMENSION)((row->x + x) / (8 * across));
      if (block >= part->width_in_blocks) break;
      sample_block(row, row->channels[index], x, y, across, down, weights, samples);
      blend_block(w, blocks[0][block], steps, weights, samples);
    }
  }
}

/* Turns `count` RGB pixels into the file's own colours. */
static void own_colours(const coder *c, const float *rgb, size_t at, int count,
                        unit_row *row) {
  int i;

  for (i = 0; i < count; i++, rgb += 3, at++) {
    float r = rgb[0], g = rgb[1], b = rgb[2];
    if (c->in.jpeg_color_space == JCS_RGB) {
      row->channels[0][at] = r, row->channels[1][at] = g, row->channels[2][at] = b;
      continue;
    }
    row->channels[0][at] = 0.299f * r + 0.587f * g + 0.114f * b;
    if (c->in.num_components == 1) continue;
    row->channels[1][at] = -0.168735892f * r - 0.331264108f * g + 0.5f * b + 128;
    row->channels[2][at] = 0.5f * r - 0.418687589f * g - 0.081312411f * b + 128;
  }
}

/* Repeats a row's last pixel up to whole units. */
static void pad(unit_row *row, int line, int used) {
  size_t start = (size_t)line * (size_t)row->width, last = start + (size_t)used - 1, i;
  int k;

  for (i = last + 1; i < start + (size_t)row->width; i++) {
    row->weights[i] = row->weights[last];
    for (k = 0; k < 3; k++) row->channels[k][i] = row->channels[k][last];
  }
}

/* Fills a row of coded units from the blend; returns whether a weight in it is above 0. */
static int fill_row(const coder *c, const kx_rect *window, kx_blend *blend, unit_row *row,
                    float *weights, float *rgb) {
  int used = window->x + blend->allowed.x + blend->allowed.width - row->x, line, any = 0, k;
  int last = window->y + window->height - 1;

  memset(row->weights, 0, (size_t)row->width * (size_t)row->height * sizeof *row->weights);
  for (line = 0; line < row->height; line++) {
    size_t n = (size_t)row->width, at = (size_t)line * n;
    if (row->y + line > last) { /* below the picture: as its last row */
      memcpy(row->weights + at, row->weights + at - n, n * sizeof(float));
      for (k = 0; k < 3; k++) {
        memcpy(row->channels[k] + at, row->channels[k] + at - n, n * sizeof(float));
      }
      continue;
    }
    if (!kx_blend_row(blend, row->y + line - window->y, weights, rgb)) continue;
    any = 1;
    memcpy(row->weights + at, weights + blend->allowed.x, (size_t)used * sizeof(float));
    own_colours(c, rgb + (size_t)blend->allowed.x * 3, at, used, row);
    pad(row, line, used);
  }
  return any;
}

/* Blends the answer into the window's coefficients. */
static void blend_window(coder *c, jvirt_barray_ptr *arrays, const kx_rect *window,
                         kx_blend *blend) {
  int unit_width = c->in.max_h_samp_factor * 8, unit_height = c->in.max_v_samp_factor * 8, k;
  size_t area, window_width = (size_t)window->width;
  unit_row row;
  waves w;

  if (blend->allowed.width <= 0 || blend->allowed.height <= 0) return;
  make_waves(&w);
  row.x = window->x + blend->allowed.x;
  row.y = window->y + blend->allowed.y;
  row.width = (blend->allowed.width + unit_width - 1) / unit_width * unit_width;
  row.height = unit_height;
  area = (size_t)row.width * (size_t)row.height;
  c->rows = (float *)calloc(area * 4 + window_width * 4, sizeof *c->rows);
  if (!c->rows) stop(c, "there is not enough memory");
  row.weights = c->rows;
  for (k = 0; k < 3; k++) row.channels[k] = c->rows + area * (size_t)(k + 1);
  for (; row.y < window->y + blend->allowed.y + blend->allowed.height; row.y += unit_height) {
    if (!KX_WANTED(c->wanted)) stop(c, "it was cancelled");
    if (!fill_row(c, window, blend, &row, c->rows + area * 4,
                  c->rows + area * 4 + window_width)) {
      continue;
    }
    for (k = 0; k < c->in.num_components; k++) blend_component(c, &w, arrays[k], k, &row);
  }
}

/* Writes the segments that stood before the picture, each whole with marker and length. */
static void write_segments(coder *c, const kx_buffer *segments) {
  size_t at = 0;

  while (at + 4 <= segments->size) {
    const unsigned char *p = segments->bytes + at;
    size_t size = (size_t)p[2] << 8 | p[3];
    jpeg_write_marker(&c->out, p[1], p + 4, (unsigned)(size - 2));
    at += size + 2;
  }
}

/* Writes the file with the blend in it; without one, what it has. */
static void write_blended(coder *c, const kx_buffer *approved, const kx_rect *window,
                          kx_blend *blend, const kx_buffer *segments, uint64_t memory) {
  jvirt_barray_ptr *arrays;
  int k;

  begin(c, approved, memory);
  arrays = jpeg_read_coefficients(&c->in);
  for (k = 0; k < c->in.num_components; k++) {
    if (!c->in.comp_info[k].quant_table) stop(c, "it has no scan of one of its colours");
  }
  if (blend) {
    if (!kx_rect_inside(window, (int)c->in.image_width, (int)c->in.image_height)) {
      stop(c, "it has another size than it had");
    }
    blend_window(c, arrays, window, blend);
  }
  jpeg_create_compress(&c->out);
  c->out.progress = &c->progress;
  jpeg_copy_critical_parameters(&c->in, &c->out);
  if (c->in.progressive_mode) jpeg_simple_progression(&c->out);
  c->out.optimize_coding = TRUE; /* the new blocks may need codes that the file does not have */
  c->out.restart_interval = c->in.restart_interval;
  c->out.write_JFIF_header = FALSE; /* both are among the segments where the file had them */
  c->out.write_Adobe_marker = FALSE;
  c->piece = (unsigned char *)malloc(PIECE);
  if (!c->piece) stop(c, "there is not enough memory");
  c->to.init_destination = begin_piece;
  c->to.empty_output_buffer = empty_piece;
  c->to.term_destination = end_piece;
  c->out.dest = &c->to;
  jpeg_write_coefficients(&c->out, arrays);
  if (segments) write_segments(c, segments);
  jpeg_finish_compress(&c->out);
}

const char *kx_jpeg_region_write(const kx_buffer *approved, const kx_rect *window, kx_blend *blend,
                                 const kx_buffer *segments, uint64_t memory, kx_sink *to,
                                 int *error, const kx_wanted *wanted) {
  coder c;
  volatile int left = 1;
  const char *why;

  prepare(&c, wanted);
  c.sink = to;
  if (setjmp(c.back) == 0) {
    write_blended(&c, approved, window, blend, segments, memory);
    left = 0;
  }
  *error = c.write_error;
  why = finish(&c, left);
  return why;
}

const char *kx_jpeg_region_prove(const kx_buffer *approved, uint64_t memory,
                                 const kx_wanted *wanted) {
  int error;

  return kx_jpeg_region_write(approved, NULL, NULL, NULL, memory, NULL, &error, wanted);
}

#else

static const char missing[] =
    "this build has no libjpeg-turbo, which edits of a region need: install it and build again";

int kx_jpeg_region_built(void) { return 0; }

uint64_t kx_jpeg_region_memory(const kx_image_info *info) {
  (void)info;
  return 0;
}

const char *kx_jpeg_region_read(const kx_buffer *approved, int unended, const kx_rect *window,
                                uint64_t memory, kx_reducer *to, const kx_wanted *wanted) {
  (void)approved, (void)unended, (void)window, (void)memory, (void)to, (void)wanted;
  return missing;
}

const char *kx_jpeg_region_write(const kx_buffer *approved, const kx_rect *window, kx_blend *blend,
                                 const kx_buffer *segments, uint64_t memory, kx_sink *to,
                                 int *error, const kx_wanted *wanted) {
  (void)approved, (void)window, (void)blend, (void)segments, (void)memory, (void)to, (void)wanted;
  *error = 0;
  return missing;
}

const char *kx_jpeg_region_prove(const kx_buffer *approved, uint64_t memory,
                                 const kx_wanted *wanted) {
  (void)approved, (void)memory, (void)wanted;
  return missing;
}

#endif
