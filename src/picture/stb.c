/* The only file that includes stb. Compile it with -fwrapv: stb_image lets sums of damaged JPEG
   coefficients wrap. */
#include "config.h"

#include "picture/stb.h"

#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* stb's hooks carry no context: what one call may still allocate, and what it has, is kept beside
   its thread while the call lasts. All is zeroed, since stb_image 2.27 reads tables and pixels that
   a damaged file never filled and would show what memory held before; and what it forgets to free
   where memory runs out is freed here. */
typedef struct block {
  struct block *next, **link; /* what points here */
  size_t size;
} block;

static __thread size_t budget;
static __thread block *blocks;
static __thread int starved; /* memory ran out within the budget */

#define FRONT 32 /* a block's, before the bytes that are aligned for SIMD */

static void *take(size_t size) {
  block *b;

  if (size > budget) return NULL;
  b = (block *)calloc(1, FRONT + size);
  if (!b) {
    starved = 1;
    return NULL;
  }
  budget -= size;
  b->size = size;
  b->next = blocks;
  b->link = &blocks;
  if (b->next) b->next->link = &b->next;
  blocks = b;
  return (unsigned char *)b + FRONT;
}

/* Returns the block of these bytes, which outlives the call or is to be freed. */
static block *release(void *pointer) {
  block *b = (block *)(void *)((unsigned char *)pointer - FRONT);

  *b->link = b->next;
  if (b->next) b->next->link = b->link;
  budget += b->size;
  return b;
}

static void give(void *pointer) {
  if (pointer) free(release(pointer));
}

static void *take_anew(void *pointer, size_t old_size, size_t size) {
  void *bytes = take(size);

  if (bytes && pointer) {
    memcpy(bytes, pointer, old_size < size ? old_size : size);
    give(pointer);
  }
  return bytes;
}

/* Begins a call that may hold `memory` bytes at a time. */
static void begin(size_t memory) {
  budget = memory < SIZE_MAX - FRONT ? memory : SIZE_MAX - FRONT;
  blocks = NULL;
  starved = 0;
}

/* Ends a call: what it did not free is freed, but for `kept`. */
static void end(void *kept) {
  if (kept) release(kept);
  while (blocks) give((unsigned char *)blocks + FRONT);
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

int kx_stb_decode(const unsigned char *bytes, size_t size, int channels, size_t memory,
                  unsigned char **pixels, int *width, int *height) {
  int stored;

  *pixels = NULL;
  if (size > INT_MAX) return 0;
  begin(memory);
  *pixels = stbi_load_from_memory(bytes, (int)size, width, height, &stored, channels);
  end(*pixels);
  return *pixels ? 1 : starved ? -1 : 0;
}

void kx_stb_free(unsigned char *pixels) {
  if (pixels) free(pixels - FRONT);
}

int kx_stb_resize(const unsigned char *from, int width, int height, size_t stride,
                  unsigned char *to, int to_width, int to_height, int channels) {
  int done;

  begin(SIZE_MAX);
  done = stbir_resize_uint8_generic(from, width, height, (int)stride, to, to_width, to_height, 0,
                                    channels, channels == 4 ? 3 : STBIR_ALPHA_CHANNEL_NONE, 0,
                                    STBIR_EDGE_CLAMP, STBIR_FILTER_CATMULLROM,
                                    STBIR_COLORSPACE_LINEAR, NULL);
  end(NULL);
  return done;
}

int kx_stb_jpeg(kx_stb_take *taker, void *context, const unsigned char *pixels, int width,
                int height, int channels, int quality) {
  return stbi_write_jpg_to_func(taker, context, width, height, channels, pixels, quality);
}
