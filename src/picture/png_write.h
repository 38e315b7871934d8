/* A writer of PNG over zlib: stb_image_write's dies where memory runs out and knows no cap. */
#ifndef KX_PNG_WRITE_H
#define KX_PNG_WRITE_H

#include "file/buffer.h"

/* Adds the PNG of packed pixels, of 3 or 4 bytes each, to `out`; returns 1, or 0 with `out`'s
   error. Takes a quarter of a megabyte beside it. */
int kx_png_write(const unsigned char *pixels, int width, int height, int channels, kx_buffer *out);

#endif
