/* Changes to an Exif block that leave everything else in its place. */
#ifndef KX_EXIF_EDIT_H
#define KX_EXIF_EDIT_H

#include <stddef.h>

typedef struct kx_exif_edit {
  int strip;         /* without place, serial numbers, owner and maker notes */
  int width, height; /* of the stored picture: what the block says is made true */
} kx_exif_edit;

/* Edits the block of `*size` bytes that begins with its byte order; the thumbnail, which shows the
   picture as it was, is removed. `*size` may become less. Returns 1, or 0 where the block is
   damaged: then it is partly edited. */
int kx_exif_apply(const kx_exif_edit *edit, unsigned char *bytes, size_t *size);

/* Writes a block that tells nothing but the orientation; returns its size, 26. */
size_t kx_exif_orientation_only(int orientation, unsigned char to[26]);

#endif
