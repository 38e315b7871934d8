/* What a model does to a picture beside the edit: it moves, scales or tints all of it a little. */
#ifndef KX_DISPLACE_H
#define KX_DISPLACE_H

#include "picture/picture.h"

typedef struct kx_displacement {
  float shift; /* pixels to the right and down */
  float scale; /* per cent that it grows by around its middle */
  int tint;    /* 1: warmer, as some models answer */
} kx_displacement;

/* Changes the picture (RGB) so; returns 1, or 0 without memory. */
int kx_displace(kx_picture *picture, const kx_displacement *by);

#endif
