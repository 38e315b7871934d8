/* The only file that includes stb. Compile it with -fwrapv: stb_image lets sums of damaged JPEG
   coefficients wrap. */
#include "kx_config.h"

#include "kx_stb.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* stb's hooks carry no context: what one call may still allocate is kept beside its thread. Each
   block bears its size in front and is zeroed, since stb_image 2.27 reads tables and pixels that a
   damaged file never filled: without it they would show what memory held before. */
static __thread size_t budget;

#define FRONT 16 /* keeps blocks aligned for SIMD */

static void *take(size_t size) {
  unsigned char *block;

  if (size > budget) return NULL;
  block = (unsigned char *)calloc(1, size + FRONT);
  if (!block) return NULL;
  budget -= size;
  memcpy(block, &size, sizeof size);
  return block + FRONT;
}

static void give(void *pointer) {
  unsigned char *block = (unsigned char *)pointer;
  size_t size;

  if (!block) return;
  memcpy(&size, block - FRONT, sizeof size);
  budget += size;
  free(block - FRONT);
}

static void *take_anew(void *pointer, size_t old_size, size_t size) {
  void *block = take(size);

  if (block && pointer) {
    memcpy(block, pointer, old_size < size ? old_size : size);
    give(pointer);
  }
  return block;
}

/* stb is not written to our set of warnings. The first two come up at the end of the file, where a
   pop would have forgotten them. */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"
#if !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wcast-qual"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wsign-compare"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#pragma GCC diagnostic ignored "-Wunused-but-set-variable"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wwrite-strings"
#endif

#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#define STBI_ONLY_JPEG
#define STBI_ONLY_PNG
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_FAILURE_STRINGS /* one of them is a buffer that threads would share */
#define STBI_ASSERT(x) ((void)0)
#define STBI_MALLOC(size) take(size)
#define STBI_FREE(pointer) give(pointer)
#define STBI_REALLOC(pointer, size) NULL /* never called: the one that knows the old size is */
#define STBI_REALLOC_SIZED(pointer, old_size, size) take_anew(pointer, old_size, size)
#include <stb/stb_image.h>

#define STB_IMAGE_RESIZE_STATIC
#define STB_IMAGE_RESIZE_IMPLEMENTATION
#define STBIR_ASSERT(x) ((void)0)
#define STBIR_MALLOC(size, context) take(size)
#define STBIR_FREE(pointer, context) give(pointer)
#include <stb/stb_image_resize.h>

/* Only the JPEG writer is used, which never allocates. */
#define STB_IMAGE_WRITE_STATIC
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STBI_WRITE_NO_STDIO
#define STBIW_ASSERT(x) ((void)0)
#include <stb/stb_image_write.h>

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

int kx_stb_info(const unsigned char *bytes, size_t size, int *width, int *height) {
  int channels;

  budget = sizeof(stbi__jpeg);
  return stbi_info_from_memory(bytes, (int)size, width, height, &channels);
}

unsigned char *kx_stb_decode(const unsigned char *bytes, size_t size, int channels, size_t memory,
                             int *width, int *height) {
  int stored;

  if (size > INT_MAX) return NULL;
  budget = memory;
  return stbi_load_from_memory(bytes, (int)size, width, height, &stored, channels);
}

void kx_stb_free(unsigned char *pixels) {
  give(pixels);
}

int kx_stb_resize(const unsigned char *from, int width, int height, size_t stride,
                  unsigned char *to, int to_width, int to_height, int channels) {
  budget = SIZE_MAX;
  return stbir_resize_uint8_generic(from, width, height, (int)stride, to, to_width, to_height, 0,
                                    channels, channels == 4 ? 3 : STBIR_ALPHA_CHANNEL_NONE, 0,
                                    STBIR_EDGE_CLAMP, STBIR_FILTER_CATMULLROM,
                                    STBIR_COLORSPACE_LINEAR, NULL);
}

int kx_stb_jpeg(kx_stb_take *taker, void *context, const unsigned char *pixels, int width,
                int height, int channels, int quality) {
  return stbi_write_jpg_to_func(taker, context, width, height, channels, pixels, quality);
}
