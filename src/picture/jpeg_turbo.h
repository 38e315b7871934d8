/* libjpeg-turbo, where the build has it (KX_LIBJPEG): it scales while it decodes, which makes a
   picture fit in half of the time and the memory that it takes with stb_image. */
#ifndef KX_JPEG_TURBO_H
#define KX_JPEG_TURBO_H

#include <stddef.h>

/* Decodes an approved JPEG to RGB, top row first, at the smallest n/8 of its size, n = 1 to 8, that
   is well above `least_width` by `least_height` (0: its own size), holding about `budget` bytes at
   most. Where `whole` is set, a picture of which a part is missing, which decoders paint grey, is
   damaged. Returns 1 and the pixels, for free(); 0 where they are damaged or would need more than
   the budget; -1 where memory ran out. */
int kx_jpeg_turbo_decode(const unsigned char *bytes, size_t size, size_t budget, int whole,
                         int least_width, int least_height, unsigned char **pixels,
                         int *width, int *height);

/* Returns the decoder of JPEGs that this build uses, with its version. */
const char *kx_jpeg_turbo_name(void);

#endif
