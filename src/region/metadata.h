/* A file's metadata: what is kept, what is corrected, and what is removed. */
#ifndef KX_METADATA_H
#define KX_METADATA_H

#include "file/buffer.h"
#include "picture/walk.h"
#include "region/png_rows.h"

typedef enum kx_metadata {
  KX_METADATA_KEEP,  /* all that stays true */
  KX_METADATA_STRIP, /* colours and an Exif without place, owner, serial numbers, maker notes */
  KX_METADATA_NONE   /* what the colours mean and which way is up */
} kx_metadata;

/* What was left out because it would no longer be true. */
enum { KX_DROPPED_CREDENTIALS = 1, KX_DROPPED_TRAILER = 2 };

/* Adds the JPEG's APPn and COM segments that stand before its picture and are to stay, in order, to
   `out`; sets bits in `*dropped`. Returns NULL, or what went wrong. */
const char *kx_jpeg_segments(const kx_source *source, const kx_image_info *info, kx_metadata how,
                             kx_buffer *out, unsigned *dropped);

/* Returns 1 where a chunk is to stay; eXIf is edited besides. */
int kx_png_chunk_stays(const kx_png_chunk *chunk, kx_metadata how, unsigned *dropped);

/* Reads an eXIf chunk (NULL: there is none) and edits it; returns 1 with the bytes added to `out`,
   or 0 where it is to be left out. An orientation other than 1 is always told. */
int kx_png_exif(const kx_png *png, const kx_png_chunk *chunk, kx_metadata how, int orientation,
                kx_buffer *out);

/* Returns 1 where a text that is to go has told the orientation, so that a chunk eXIf must. */
int kx_png_lacks_exif(const kx_png *png, kx_metadata how, int orientation);

/* Adds the colour profile of a JPEG or PNG to `out`; nothing where it has none. */
void kx_profile_read(const kx_source *source, const kx_image_info *info, kx_buffer *out);

/* Puts a profile of RGB into a JPEG or PNG that has none; one of inks or greys stays out.
   Returns 1, or 0 without memory. */
int kx_profile_insert(kx_buffer *picture, int png, const kx_buffer *profile);

/* Adds to `out` the JPEG or PNG without what KX_METADATA_STRIP removes: its coded pixels are the
   same bytes. Returns NULL, or what went wrong. */
const char *kx_strip(const kx_source *source, const kx_image_info *info, kx_buffer *out);

#endif
