/* Reads the one Exif field that is used here: the orientation. */
#ifndef KX_EXIF_H
#define KX_EXIF_H

#include "picture/cursor.h"

/* Returns the orientation 1 … 8 that the Exif block of `size` bytes at `offset` tells, with or
   without its "Exif" mark in front; 1 where it tells none or is damaged, which is no error. */
int kx_exif_orientation(kx_cursor *cursor, uint64_t offset, uint64_t size);

#endif
