/* A region of a JPEG: its window's pixels, and the file again with only that window's blocks coded
   anew. Needs libjpeg (KX_LIBJPEG); without it both refuse. */
#ifndef KX_JPEG_REGION_H
#define KX_JPEG_REGION_H

#include "file/buffer.h"
#include "file/sink.h"
#include "region/blend.h"
#include "region/reduce.h"
#include "region/wanted.h"

/* Returns 1 where this build can do both. */
int kx_jpeg_region_built(void);

/* Returns the memory that both take at their peak, beside the approved bytes: the coefficients of
   a whole picture of this header. */
uint64_t kx_jpeg_region_memory(const kx_image_info *info);

/* Returns the part of a window, in the stored picture, whose blocks may be coded anew without a
   pixel changing outside of the window: whole coded units, and a seam for decoders that smooth
   colours over a unit's edge. It may be empty. */
kx_rect kx_jpeg_region_allowed(const kx_image_info *info, const kx_rect *window);

/* Decodes the window's rows into the reducer, holding about `memory` bytes at most. Returns NULL,
   or what went wrong. `approved` and `unended` are what kx_jpeg_approve left. */
const char *kx_jpeg_region_read(const kx_buffer *approved, int unended, const kx_rect *window,
                                uint64_t memory, kx_reducer *to, const kx_wanted *wanted);

/* Writes the JPEG with the blend in its window: all blocks outside have the coefficients that they
   had. `segments` (APPn and COM, whole) stand before the tables. Returns NULL, or what went wrong:
   then `*error` is an errno where writing failed. */
const char *kx_jpeg_region_write(const kx_buffer *approved, const kx_rect *window, kx_blend *blend,
                                 const kx_buffer *segments, uint64_t memory, kx_sink *to,
                                 int *error, const kx_wanted *wanted);

/* Does the same without a blend and without a file: what cannot be written is to be found before an
   answer is paid for. Returns NULL, or what went wrong. */
const char *kx_jpeg_region_prove(const kx_buffer *approved, uint64_t memory,
                                 const kx_wanted *wanted);

#endif
