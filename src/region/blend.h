/* The answer laid over its window: where, with which weight, in which colours; a row at a time. All
   of it is in the stored picture's coordinates, from the window's corner. */
#ifndef KX_BLEND_H
#define KX_BLEND_H

#include "region/align.h"
#include "region/geometry.h"

typedef struct kx_blend {
  int width, height;        /* of the window */
  kx_rect allowed;          /* the part of the window that may change */
  kx_picture answer;        /* RGB, as large as the window or smaller; the blend's own */
  unsigned char *mask;      /* a byte a pixel of the window, 255: changes; NULL: all; its own */
  kx_alignment alignment;
  float *across, *down;     /* weights by column and by row */
  struct kx_taps *taps;     /* which pixels of the answer make a column */
  float *line;              /* a row of the answer between its rows */
} kx_blend;

/* Sets the weights: 1 in `region`, falling to 0 over `feather` pixels outside of it and inside of
   `allowed`; a side of the window that is the picture's (bits 1, 2, 4, 8 of `open`: left, top,
   right, bottom) has no seam. Returns 1, or 0 without memory. `blend` begins zeroed but for its
   sizes and `allowed`. */
int kx_blend_weights(kx_blend *blend, const kx_rect *region, int feather, int open);

/* Lets a mask's white fade inwards over some pixels, where it is wide enough: black stays black.
   Returns 1, or 0 without memory. */
int kx_blend_soften(kx_blend *blend);

/* Returns the weight of a pixel. */
float kx_blend_weight(const kx_blend *blend, int x, int y);

/* Makes all that the rows need of the alignment; returns 1, or 0 without memory. */
int kx_blend_begin(kx_blend *blend);

/* Fills the weights of row `y` and, where one is above 0, the answer's colours, 0 to 255, three for
   each pixel; returns whether one is. */
int kx_blend_row(kx_blend *blend, int y, float *weights, float *rgb);

/* Frees all; may be called twice. */
void kx_blend_free(kx_blend *blend);

#endif
