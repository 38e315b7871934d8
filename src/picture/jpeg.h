/* A walk over a JPEG's segments. */
#ifndef KX_JPEG_H
#define KX_JPEG_H

#include "picture/cursor.h"
#include "picture/walk.h"

/* Walks from the start to the first scan and fills `info`. */
kx_image_status kx_jpeg_header(kx_cursor *cursor, kx_image_info *info);

/* Walks all of it and appends to `out` what a decoder needs, each segment checked: tables that are
   whole and defined before their use, one frame, no metadata: at most the source's size and 1024
   bytes. Where the source ends, or holds no more that makes sense, before an end mark, `unended` is
   set and the mark is added: only a decoder can tell whether all of the picture was there. The
   segments of a colour profile are appended to `colours`. */
kx_image_status kx_jpeg_approve(kx_cursor *cursor, kx_image_info *info, kx_buffer *out,
                                kx_buffer *colours);

#endif
