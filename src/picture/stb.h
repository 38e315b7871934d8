/* stb_image, stb_image_resize and stb_image_write, with their sharp edges covered: every allocation
   zeroed and counted against a budget, no assertion, no file access, JPEG and PNG only. */
#ifndef KX_STB_H
#define KX_STB_H

#include <stddef.h>

/* Decodes an approved JPEG or PNG (2.27 writes out of bounds on one bad DHT marker) to `channels`
   (3 or 4) bytes a pixel, top row first, holding at
   most `budget` bytes at any time. Returns 1 and the pixels, for kx_stb_free; 0 where they are
   damaged or would need more than the budget; -1 where memory ran out. */
int kx_stb_decode(const unsigned char *bytes, size_t size, int channels, size_t budget,
                  unsigned char **pixels, int *width, int *height);

/* Frees what kx_stb_decode returned; NULL is allowed. */
void kx_stb_free(unsigned char *pixels);

/* Scales `from`, whose rows are `stride` bytes apart, to `to`, packed. Where channels is 4, alpha
   weighs the colours. Returns 1, or 0 without memory. */
int kx_stb_resize(const unsigned char *from, int width, int height, size_t stride,
                  unsigned char *to, int to_width, int to_height, int channels);

/* Takes the next bytes of an encoded picture. */
typedef void kx_stb_take(void *context, void *bytes, int size);

/* Encodes packed pixels of `channels` 3 or 4 (alpha is ignored) as JPEG of `quality` 1 … 100. */
int kx_stb_jpeg(kx_stb_take *take, void *context, const unsigned char *pixels, int width,
                int height, int channels, int quality);

#endif
