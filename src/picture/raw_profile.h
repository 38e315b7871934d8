/* Exif as ImageMagick and others keep it in a PNG: lines of hexadecimal digits in a text chunk. */
#ifndef KX_RAW_PROFILE_H
#define KX_RAW_PROFILE_H

#include "picture/cursor.h"

/* Returns the orientation 1 … 8 that the text chunk (zTXt where `compressed`) of `size` bytes at
   `offset` tells; 0 if it is not Exif; -1 where memory ran out. Reads 256 KiB of it at most. */
int kx_raw_profile_orientation(kx_cursor *cursor, uint64_t offset, uint64_t size, int compressed);

#endif
