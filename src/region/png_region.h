/* A region of a PNG: its window's pixels, and the file again with only those changed. A row at a
   time, except that an interlaced window is gathered whole. */
#ifndef KX_PNG_REGION_H
#define KX_PNG_REGION_H

#include "file/sink.h"
#include "region/blend.h"
#include "region/metadata.h"
#include "region/png_rows.h"
#include "region/reduce.h"

/* Decodes the window's rows into the reducer, laid on white. Returns NULL, or what went wrong. */
const char *kx_png_region_read(const kx_png *png, const kx_rect *window, kx_reducer *to,
                               const kx_wanted *wanted);

/* Writes the PNG with the blend in its window, in the depth and colours that it has. A palette
   becomes RGB where it has no room for the answer's colours, grey of less than 8 bits becomes 8.
   Returns NULL, or what went wrong: then `*error` is an errno where writing failed. */
const char *kx_png_region_write(const kx_png *png, const kx_rect *window, kx_blend *blend,
                                kx_metadata how, int orientation, kx_sink *to, int *error,
                                unsigned *dropped, const kx_wanted *wanted);

/* Reads the brightness of a mask's window, one byte a pixel, into `to` (NULL: only looks), and the
   box around what is lighter than black; a width of 0: nothing is. Returns NULL, or what went
   wrong. */
const char *kx_png_mask_read(const kx_png *png, const kx_rect *window, unsigned char *to,
                             kx_rect *box, const kx_wanted *wanted);

#endif
