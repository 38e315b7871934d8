/* A walk over a JPEG's segments. */
#ifndef KX_JPEG_H
#define KX_JPEG_H

#include "picture/cursor.h"
#include "picture/walk.h"

#define KX_JPEG_FRAME_MAX 24 /* bytes of the smallest JPEG that states a size */

/* Walks from the start to the first scan and fills `info`; the bytes that state the size alone are
   left in `frame` for a second opinion, `*frame_size` of them. */
kx_image_status kx_jpeg_header(kx_cursor *cursor, kx_image_info *info,
                               unsigned char frame[KX_JPEG_FRAME_MAX], size_t *frame_size);

/* Walks all of it and appends to `out` what a decoder needs, each segment checked: tables that are
   whole and defined before their use, one frame, no metadata: less than the source. A file without
   an end mark is cut: a decoder would paint the rest grey. */
kx_image_status kx_jpeg_approve(kx_cursor *cursor, kx_image_info *info, kx_buffer *out);

#endif
