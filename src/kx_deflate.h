/* A small zlib compressor: stb_image_write's dies where memory runs out and knows no cap. */
#ifndef KX_DEFLATE_H
#define KX_DEFLATE_H

#include "kx_bytes.h"

/* Adds the zlib stream of `n` bytes to `out`; returns 1, or 0 with `out`'s error. */
int kx_deflate(const unsigned char *data, size_t n, kx_bytes *out);

#endif
