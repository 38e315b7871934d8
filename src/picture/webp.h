/* A walk over a WebP's chunks. */
#ifndef KX_WEBP_H
#define KX_WEBP_H

#include "picture/cursor.h"
#include "picture/walk.h"

/* Walks from the start to the first picture, and on to Exif where the file says it has some. */
kx_image_status kx_webp_header(kx_cursor *cursor, kx_image_info *info);

#endif
