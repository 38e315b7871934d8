/* Writes uncompressed WebP that every decoder reads, for the emulator's answers to edits that ask
   for WebP: a library for that alone would be one more to install. */
#ifndef KX_WEBP_WRITE_H
#define KX_WEBP_WRITE_H

#include "picture/picture.h"

/* Adds the picture (RGB) as lossless WebP; returns 1, or 0: no memory, or more than 16384 pixels a
   side. */
int kx_webp_write(const kx_picture *picture, kx_buffer *out);

#endif
