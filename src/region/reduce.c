#include "config.h"

#include "region/reduce.h"

#include <stdlib.h>
#include <string.h>

int kx_reducer_begin(kx_reducer *r, int from_width, int from_height, int width, int height) {
  memset(r, 0, sizeof *r);
  r->from_width = from_width;
  r->from_height = from_height;
  if (!kx_picture_make(&r->to, width, height, 3)) return 0;
  if (width == from_width && height == from_height) return 1;
  r->sums = (float *)calloc((size_t)width * 3, sizeof *r->sums);
  if (r->sums) return 1;
  kx_reducer_end(r, NULL);
  return 0;
}

/* Adds a row to the sums with this weight. Column x of what arrives covers the result's columns
   from x · width / from_width on; it falls into one of them or is shared by two. */
static void add_row(kx_reducer *r, const unsigned char *rgb, float weight) {
  int64_t step = r->to.width, span = r->from_width, position = 0;
  int x, to = 0;

  for (x = 0; x < r->from_width; x++, rgb += 3, position += step) {
    int64_t end = position + step, border = (int64_t)(to + 1) * span;
    float first = weight * (float)((end < border ? end : border) - position);
    float *sum = r->sums + (size_t)to * 3;
    sum[0] += first * (float)rgb[0], sum[1] += first * (float)rgb[1];
    sum[2] += first * (float)rgb[2];
    if (end < border) continue;
    to++;
    if (end > border && to < r->to.width) {
      float rest = weight * (float)(end - border);
      sum[3] += rest * (float)rgb[0], sum[4] += rest * (float)rgb[1];
      sum[5] += rest * (float)rgb[2];
    }
  }
}

/* Writes the row of sums as the result's and begins the next. */
static void end_row(kx_reducer *r) {
  size_t n = (size_t)r->to.width * 3, i;
  unsigned char *to = r->to.pixels + (size_t)r->at * n;
  float scale = 1 / ((float)r->from_width * (float)r->from_height);

  for (i = 0; i < n; i++) {
    float value = r->sums[i] * scale + 0.5f;
    to[i] = (unsigned char)(value > 255 ? 255 : value);
    r->sums[i] = 0;
  }
  r->at++;
}

void kx_reducer_add(kx_reducer *r, const unsigned char *rgb) {
  int64_t step = r->to.height, position = (int64_t)r->row * step;
  int64_t end = position + step, border = (int64_t)(r->at + 1) * r->from_height;

  if (r->row >= r->from_height) return;
  r->row++;
  if (!r->sums) {
    size_t n = (size_t)r->to.width * 3;
    memcpy(r->to.pixels + (size_t)r->at++ * n, rgb, n);
    return;
  }
  add_row(r, rgb, (float)((end < border ? end : border) - position));
  if (end < border) return;
  end_row(r);
  if (end > border && r->at < r->to.height) add_row(r, rgb, (float)(end - border));
}

void kx_reducer_end(kx_reducer *r, kx_picture *to) {
  free(r->sums);
  r->sums = NULL;
  if (to) *to = r->to;
  else kx_picture_free(&r->to);
  memset(&r->to, 0, sizeof r->to);
}
