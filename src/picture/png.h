/* A walk over a PNG's chunks. */
#ifndef KX_PNG_H
#define KX_PNG_H

#include "picture/cursor.h"
#include "picture/walk.h"

/* Walks from the start to the pixels and fills `info`; walks on for an orientation where none was
   told by then, which refuses nothing. */
kx_image_status kx_png_header(kx_cursor *cursor, kx_image_info *info);

/* Walks all of it and appends to `out` what a decoder needs: the header, a palette of 256 entries
   whatever the file's has, transparency, the pixels as one chunk: at most the source's size and
   1024 bytes. The chunks that say what its colours mean are appended to `colours`. */
kx_image_status kx_png_approve(kx_cursor *cursor, kx_image_info *info, kx_buffer *out,
                               kx_buffer *colours);

#endif
