/* Scales a picture down while its rows arrive: each result pixel is the mean of the area that it
   covers. Holds one row of sums beside the result. */
#ifndef KX_REDUCE_H
#define KX_REDUCE_H

#include "picture/picture.h"

typedef struct kx_reducer {
  int from_width, from_height; /* of what arrives */
  int row;                     /* the next one */
  float *sums;                 /* of the row under way; NULL where nothing is made smaller */
  int at;                      /* the row of the result that is under way */
  kx_picture to;               /* RGB */
} kx_reducer;

/* Prepares a result of `width` by `height`, neither larger than what arrives; returns 1, or 0
   without memory. */
int kx_reducer_begin(kx_reducer *reducer, int from_width, int from_height, int width, int height);

/* Takes the next row, three bytes a pixel. */
void kx_reducer_add(kx_reducer *reducer, const unsigned char *rgb);

/* Frees all but the result, which moves to `to` (NULL: is freed too). */
void kx_reducer_end(kx_reducer *reducer, kx_picture *to);

#endif
