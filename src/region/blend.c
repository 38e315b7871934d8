#include "config.h"

#include "region/blend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LEAST_RAMP 4 /* pixels of a fade where the region leaves no room for one */
#define SOFT 3       /* pixels to each side that soften a mask's edge */

typedef struct kx_taps {
  int at[KX_TAPS]; /* columns of the answer */
  float weights[KX_TAPS];
} kx_taps;

/* Returns 0 … 1, smoothly, for `t` below 0 to above 1. */
static float smooth(double t) {
  if (t <= 0) return 0;
  return t >= 1 ? 1 : (float)(t * t * (3 - 2 * t));
}

/* Fills the weights along one axis: the region is from `start` to `end`, what may change from `low`
   to `high`. */
static void ramp(float *to, int size, int start, int end, int low, int high, int feather,
                 int open_low, int open_high) {
  double out_low = start - feather, in_low = start, out_high = end + feather, in_high = end;
  int least = feather < LEAST_RAMP ? feather : LEAST_RAMP, i;

  if (!open_low && out_low < low) out_low = low;
  if (!open_low && in_low < out_low + least) in_low = out_low + least;
  if (!open_high && out_high > high) out_high = high;
  if (!open_high && in_high > out_high - least) in_high = out_high - least;
  if (open_low && start <= low) out_low = in_low = low - 1;
  if (open_high && end >= high) out_high = in_high = high + 1;
  for (i = 0; i < size; i++) {
    double at = i + 0.5;
    float a = at >= in_low ? 1 : 0, b = at <= in_high ? 1 : 0;
    if (in_low > out_low) a = smooth((at - out_low) / (in_low - out_low));
    if (out_high > in_high) b = smooth((out_high - at) / (out_high - in_high));
    to[i] = i < low || i >= high ? 0 : a * b;
  }
}

int kx_blend_weights(kx_blend *b, const kx_rect *region, int feather, int open) {
  const kx_rect *may = &b->allowed;

  b->across = (float *)calloc((size_t)b->width, sizeof *b->across);
  b->down = (float *)calloc((size_t)b->height, sizeof *b->down);
  if (!b->across || !b->down) return 0;
  ramp(b->across, b->width, region->x, region->x + region->width, may->x, may->x + may->width,
       feather, open & 1, open & 4);
  ramp(b->down, b->height, region->y, region->y + region->height, may->y, may->y + may->height,
       feather, open & 2, open & 8);
  return 1;
}

/* Puts the means of 2 · SOFT + 1 neighbours into `to`; at the ends what is outside is like the
   last. */
static void mean(const unsigned char *from, size_t step, int count, unsigned char *to) {
  int i, sum = 0;

#define AT(i) from[(size_t)((i) < 0 ? 0 : (i) >= count ? count - 1 : (i)) * step]
  for (i = -SOFT; i <= SOFT; i++) sum += AT(i);
  for (i = 0; i < count; i++) {
    to[i] = (unsigned char)(sum / (2 * SOFT + 1));
    sum += AT(i + SOFT + 1) - AT(i - SOFT);
  }
#undef AT
}

/* Returns a level of the mask, faded by how much of what is near is as light: on a straight edge
   that is a half, where the fade begins. */
static unsigned char faded(int level, int near) {
  int inside = level > 0 ? 2 * 255 * near / level - 255 : 0;

  return inside <= 0 ? 0 : (unsigned char)(level * (inside < 255 ? inside : 255) / 255);
}

int kx_blend_soften(kx_blend *b) {
  size_t width = (size_t)b->width, height = (size_t)b->height, x, y;
  int done;
  unsigned char *soft = (unsigned char *)malloc(width * height);
  unsigned char *near = (unsigned char *)malloc(width * height);
  unsigned char *line = (unsigned char *)malloc(width > height ? width : height);

  done = soft && near && line;
  for (y = 0; done && y < height; y++) mean(b->mask + y * width, 1, b->width, soft + y * width);
  for (x = 0; done && x < width; x++) {
    mean(soft + x, width, b->height, line);
    for (y = 0; y < height; y++) soft[y * width + x] = faded(b->mask[y * width + x], line[y]);
  }
  /* What is thinner than the fade would be lost in it: it stays as it is. */
  for (y = 0; done && y < height; y++) {
    for (x = 0; x < width; x++) line[x] = soft[y * width + x] ? 255 : 0;
    mean(line, 1, b->width, near + y * width);
  }
  for (x = 0; done && x < width; x++) {
    mean(near + x, width, b->height, line);
    for (y = 0; y < height; y++) {
      if (line[y]) b->mask[y * width + x] = soft[y * width + x];
    }
  }
  free(soft);
  free(near);
  free(line);
  return done;
}

float kx_blend_weight(const kx_blend *b, int x, int y) {
  float weight = b->across[x] * b->down[y];

  if (!b->mask) return weight;
  return weight * (float)b->mask[(size_t)y * (size_t)b->width + (size_t)x] / 255;
}

static int inside(int at, int size) {
  return at < 0 ? 0 : at >= size ? size - 1 : at;
}

/* Finds the pixels and weights of the answer, on an axis of `size`, for the window's `at` of
   `of`. */
static void find_taps(kx_taps *taps, int at, int of, int size, double shift, double zoom) {
  double position = (at + 0.5) * size / of - 0.5;
  int first, i;

  position = kx_aligned_position(position, shift, zoom, size);
  if (fabs(position - floor(position + 0.5)) < 1e-6) position = floor(position + 0.5);
  kx_resample_weights(position, &first, taps->weights);
  for (i = 0; i < KX_TAPS; i++) taps->at[i] = inside(first + i, size);
}

int kx_blend_begin(kx_blend *b) {
  int x;

  b->taps = (kx_taps *)malloc((size_t)b->width * sizeof *b->taps);
  b->line = (float *)malloc((size_t)b->answer.width * 3 * sizeof *b->line);
  if (!b->taps || !b->line) return 0;
  for (x = 0; x < b->width; x++) {
    find_taps(&b->taps[x], x, b->width, b->answer.width, b->alignment.shift_x,
              b->alignment.zoom_x);
  }
  return 1;
}

/* Makes the answer's row for the window's `y` from the six that are near. */
static void make_line(kx_blend *b, int y) {
  size_t n = (size_t)b->answer.width * 3, i;
  kx_taps taps;
  int k;

  find_taps(&taps, y, b->height, b->answer.height, b->alignment.shift_y, b->alignment.zoom_y);
  memset(b->line, 0, n * sizeof *b->line);
  for (k = 0; k < KX_TAPS; k++) {
    const unsigned char *row = b->answer.pixels + (size_t)taps.at[k] * n;
    float weight = taps.weights[k];
    if (fabsf(weight) < 1e-7f) continue;
    for (i = 0; i < n; i++) b->line[i] += weight * (float)row[i];
  }
}

int kx_blend_row(kx_blend *b, int y, float *weights, float *rgb) {
  const kx_alignment *a = &b->alignment;
  int x, k, channel, any = 0;

  for (x = 0; x < b->width; x++) {
    weights[x] = kx_blend_weight(b, x, y);
    any |= weights[x] > 0;
  }
  if (!any) return 0;
  make_line(b, y);
  for (x = 0; x < b->width; x++) {
    const kx_taps *taps = &b->taps[x];
    float value[3] = {0, 0, 0};
    if (weights[x] <= 0) continue;
    for (k = 0; k < KX_TAPS; k++) {
      const float *p = b->line + (size_t)taps->at[k] * 3;
      float weight = taps->weights[k];
      value[0] += weight * p[0], value[1] += weight * p[1], value[2] += weight * p[2];
    }
    for (channel = 0; channel < 3; channel++) {
      float c = kx_aligned_level(a, channel, value[channel]);
      rgb[(size_t)x * 3 + (size_t)channel] = c < 0 ? 0 : c > 255 ? 255 : c;
    }
  }
  return 1;
}

void kx_blend_free(kx_blend *b) {
  kx_picture_free(&b->answer);
  free(b->mask);
  free(b->across);
  free(b->down);
  free(b->taps);
  free(b->line);
  memset(b, 0, sizeof *b);
}
