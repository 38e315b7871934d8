/* A walk over a PNG's chunks. */
#ifndef KX_PNG_H
#define KX_PNG_H

#include "picture/cursor.h"
#include "picture/walk.h"

#define KX_PNG_FRAME_MAX 41 /* bytes of the smallest PNG whose size stb_image tells */

/* Walks from the start to the pixels and fills `info`; the bytes that state the size alone are left
   in `frame` for a second opinion, `*frame_size` of them. */
kx_image_status kx_png_header(kx_cursor *cursor, kx_image_info *info,
                              unsigned char frame[KX_PNG_FRAME_MAX], size_t *frame_size);

/* Walks all of it and appends to `out` what a decoder needs: the header, a palette of 256 entries
   whatever the file's has, transparency, the pixels as one chunk: at most the source's size and
   1024 bytes. */
kx_image_status kx_png_approve(kx_cursor *cursor, kx_image_info *info, kx_buffer *out);

#endif
