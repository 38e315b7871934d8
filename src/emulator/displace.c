#include "emulator/displace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Per channel, in thousandths and levels. */
static const int gains[3] = {1060, 970, 950}, offsets[3] = {3, 0, -4};

static unsigned char level(float value) {
  return (unsigned char)(value <= 0 ? 0 : value >= 255 ? 255 : value + 0.5f);
}

static void tint(kx_picture *picture) {
  size_t area = (size_t)picture->width * (size_t)picture->height, i;
  int channel;

  for (i = 0; i < area; i++) {
    for (channel = 0; channel < 3; channel++) {
      unsigned char *p = picture->pixels + i * 3 + channel;
      *p = level((float)*p * (float)gains[channel] / 1000 + (float)offsets[channel]);
    }
  }
}

/* The cubic through four samples that keeps the middle two (Catmull and Rom's). */
static void weigh(float at, float weights[4]) {
  float a = at, b = at * at, c = b * at;

  weights[0] = (-a + 2 * b - c) / 2;
  weights[1] = (2 - 5 * b + 3 * c) / 2;
  weights[2] = (a + 4 * b - 3 * c) / 2;
  weights[3] = (c - b) / 2;
}

static int within(int at, int size) { return at < 0 ? 0 : at >= size ? size - 1 : at; }

/* Moves one line of RGB pixels that are `step` bytes apart; `line` has room for it. */
static void move_line(unsigned char *first, size_t step, int size, const kx_displacement *by,
                      unsigned char *line) {
  float middle = (float)(size - 1) / 2;
  int i, k, channel;

  for (i = 0; i < size; i++) memcpy(line + (size_t)i * 3, first + (size_t)i * step, 3);
  for (i = 0; i < size; i++) {
    float from = ((float)i - middle - by->shift) / (1 + by->scale / 100) + middle;
    float whole = floorf(from), weights[4];

    weigh(from - whole, weights);
    for (channel = 0; channel < 3; channel++) {
      float sum = 0;
      for (k = 0; k < 4; k++) {
        int at = within((int)whole + k - 1, size);
        sum += weights[k] * (float)line[(size_t)at * 3 + (size_t)channel];
      }
      first[(size_t)i * step + (size_t)channel] = level(sum);
    }
  }
}

int kx_displace(kx_picture *picture, const kx_displacement *by) {
  int w = picture->width, h = picture->height, i;
  unsigned char *line;

  if (by->shift != 0 || by->scale != 0) {
    line = (unsigned char *)malloc((size_t)(w > h ? w : h) * 3);
    if (!line) return 0;
    for (i = 0; i < h; i++) move_line(picture->pixels + (size_t)i * (size_t)w * 3, 3, w, by, line);
    for (i = 0; i < w; i++) move_line(picture->pixels + (size_t)i * 3, (size_t)w * 3, h, by, line);
    free(line);
  }
  if (by->tint) tint(picture);
  return 1;
}
