/* BMP as programs write it today: no compression; 24 or 32 bits a pixel, or 8 with a palette. */
#ifndef KX_BMP_H
#define KX_BMP_H

#include "picture/walk.h"

/* Fills the size, channels and depth of `info` where this is such a BMP, whole; else leaves them
   zero. */
void kx_bmp_header(const kx_source *source, kx_image_info *info);

/* Returns the memory that decoding it takes. */
uint64_t kx_bmp_memory(const kx_image_info *info);

/* Decodes what kx_bmp_header took to RGB, top row first, for free(). */
kx_image_status kx_bmp_decode(const kx_source *source, kx_image_info *info,
                              unsigned char **pixels);

#endif
