/* Finds how an answer is displaced from the picture that it was made from: the service moves, zooms
   and tints the rest of the picture a little. Measured on the margin, which should be unchanged. */
#ifndef KX_ALIGN_H
#define KX_ALIGN_H

#include "picture/picture.h"
#include "region/wanted.h"

typedef struct kx_alignment {
  double shift_x, shift_y; /* how far the answer lies to the right and below, in its pixels */
  double zoom_x, zoom_y;   /* how much larger it is, from its middle; 1: not */
  float gain[3], offset[3]; /* gain · answer + offset is the picture, by channel */
  float black[3], white[3]; /* what is added at the ends, where a tint has cut the answer off */
  double match;            /* 1: the margins are equal; 0: 32 levels or more apart on average */
  int known;               /* the margin was large enough to tell */
} kx_alignment;

#define KX_END 8 /* levels at each end that `black` and `white` fade in over */

/* Returns the picture's level for the answer's, of a channel. */
static inline float kx_aligned_level(const kx_alignment *a, int channel, float value) {
  float to = a->gain[channel] * value + a->offset[channel], end = 0;

  if (value > 255 - KX_END) {
    end = (value < 255 ? value - (255 - KX_END) : KX_END) / KX_END * a->white[channel];
  } else if (value < KX_END) {
    end = (value > 0 ? KX_END - value : KX_END) / KX_END * a->black[channel];
  }
  return to + end;
}

/* Sets that the answer lies as it should and has the right colours. */
void kx_alignment_none(kx_alignment *alignment);

/* Compares two RGB pictures of one size where `margin` is not 0, a byte a pixel. Returns 1, or 0
   without memory or where it is wanted no more. Takes 12 bytes a pixel. */
int kx_align(kx_alignment *alignment, const kx_picture *picture, const kx_picture *answer,
             const unsigned char *margin, const kx_wanted *wanted);

/* The largest number of taps of kx_resample_weights. */
#define KX_TAPS 6

/* Fills the weights of the pixels `first` … `first` + 5 for the value at `position` between them
   (pixel i is at i), by Lanczos' kernel: it keeps more of the detail than a cubic one. */
void kx_resample_weights(double position, int *first, float weights[KX_TAPS]);

/* Returns where in the answer the picture's position is found, on an axis of `size` pixels. */
double kx_aligned_position(double position, double shift, double zoom, int size);

#endif
