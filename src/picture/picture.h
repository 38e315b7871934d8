/* Decoded pictures: from an approved file to pixels, cut out, scaled, turned upright, and back. */
#ifndef KX_PICTURE_H
#define KX_PICTURE_H

#include "file/buffer.h"
#include "picture/walk.h"

/* Packed rows, top first, of 3 (RGB) or 4 (RGBA) bytes a pixel. All zero: no picture. */
typedef struct kx_picture {
  unsigned char *pixels;
  int width, height, channels;
  int decoded;      /* by stb, which frees its own */
  kx_buffer colours; /* what says what its colours mean, as its file had it: segments of a JPEG, */
  int segments;     /* or (0) chunks of a PNG; for a file of the same format */
} kx_picture;

typedef struct kx_size {
  int width, height;
} kx_size;

/* Returns the memory that reading this picture takes at its peak, the pixels included, where
   `bytes` is the file's size: known from the header, before anything is allocated. */
uint64_t kx_picture_memory(const kx_image_info *info, uint64_t bytes);

/* Reads and decodes a JPEG, PNG or BMP as it is stored (see `orientation`), allocating at most
   `memory` bytes. Where `least` is given the picture may come smaller than it is, but upright no
   less than that: what is to be scaled down need not be decoded whole. `info` is filled as by
   kx_image_read. What is refused besides: KX_IMAGE_TOO_BIG before anything is allocated,
   KX_IMAGE_NO_DECODER for WebP, KX_IMAGE_CUT and KX_IMAGE_DAMAGED for what the header does not
   show. A colour profile of more than 4 MiB is left out, and one of inks or greys: the pixels are
   RGB. */
kx_image_status kx_picture_read(kx_picture *picture, const kx_source *source, uint64_t memory,
                                const kx_size *least, kx_image_info *info);

/* Makes a black picture, opaque; returns 1, or 0 without memory. */
int kx_picture_make(kx_picture *picture, int width, int height, int channels);

/* Gives what says what the colours mean from one picture to another, which was made of it. */
void kx_picture_give_colours(kx_picture *to, kx_picture *from);

/* Makes `to` from all of `from`, or from the largest middle part of that shape where `cut` is set,
   scaled to `width` and `height`; returns 1, or 0 without memory. */
int kx_picture_scale(kx_picture *to, const kx_picture *from, int width, int height, int cut);

/* Turns the picture upright by Exif's orientation 1 … 8; returns 1, or 0 without memory and the
   picture as it was. Cheapest after scaling. */
int kx_picture_orient(kx_picture *picture, int orientation);

/* Lays a picture with alpha on white and drops the alpha. */
void kx_picture_flatten(kx_picture *picture);

/* Adds the encoded picture to `out`: PNG where `quality` is 0, else JPEG of quality 1 to 100, which
   knows no alpha. `colours` go with it where they are of that format. Returns 1, or 0 with `out`'s
   error. */
int kx_picture_write(const kx_picture *picture, int quality, kx_buffer *out);

/* Frees the pixels; a picture may be freed twice. */
void kx_picture_free(kx_picture *picture);

#endif
