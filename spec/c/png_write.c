/* The writer of PNG where room is short: it keeps to every cap, and tells of it and of memory that
   runs out. What it writes is read again by stb. Ends with "N passed, N failed". */
#include "config.h"

#include "picture/picture.h"
#include "picture/png_write.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH 61
#define HEIGHT 47

static int malloc_fails;

/* Found before libc's by zlib too. */
KX_EXPORT void *malloc(size_t size) {
  static void *(*next)(size_t);
  void *address;

  if (malloc_fails) return NULL;
  if (!next) {
    address = dlsym(RTLD_NEXT, "malloc");
    memcpy(&next, &address, sizeof next);
  }
  return next(size);
}

/* Returns 1 when a cap of that many bytes is kept, and told exactly where it is too low. */
static int keeps(const unsigned char *pixels, int channels, size_t cap, size_t whole) {
  kx_buffer out = {NULL, 0, 0, cap, 0};
  int written = kx_png_write(pixels, WIDTH, HEIGHT, channels, &out), kept;

  kept = out.size <= cap && out.room <= cap &&
         (cap < whole ? !written && out.error == EFBIG : written && out.size == whole);
  kx_buffer_free(&out);
  return kept;
}

static int comes_back(const unsigned char *pixels, int channels, const kx_buffer *out) {
  kx_picture picture;
  kx_image_info info;
  kx_source source;
  int same;

  kx_source_memory(&source, out->bytes, out->size);
  if (kx_picture_read(&picture, &source, (uint64_t)1 << 24, NULL, &info) != KX_IMAGE_OK) return 0;
  same = picture.width == WIDTH && picture.height == HEIGHT && picture.channels == channels &&
         memcmp(picture.pixels, pixels, (size_t)WIDTH * HEIGHT * (size_t)channels) == 0;
  kx_picture_free(&picture);
  return same;
}

static int tells_of_no_memory(const unsigned char *pixels, int channels) {
  kx_buffer out = {NULL, 0, 0, (size_t)1 << 20, 0};
  int written;

  malloc_fails = 1;
  written = kx_png_write(pixels, WIDTH, HEIGHT, channels, &out);
  malloc_fails = 0;
  kx_buffer_free(&out);
  out.error = 0;
  return !written;
}

int main(void) {
  static unsigned char pixels[WIDTH * HEIGHT * 4];
  int passed = 0, failed = 0, channels;
  unsigned state = 1;
  size_t i, cap;

  for (i = 0; i < sizeof pixels; i++) { /* half of it smooth, half noise */
    state = state * 1103515245u + 12345u;
    pixels[i] = (unsigned char)(i < sizeof pixels / 2 ? i / 90 : state >> 16);
  }
  for (channels = 3; channels <= 4; channels++) {
    kx_buffer out = {NULL, 0, 0, (size_t)1 << 20, 0};
    int good = kx_png_write(pixels, WIDTH, HEIGHT, channels, &out);
    if (good && comes_back(pixels, channels, &out)) passed++;
    else failed++, printf("a PNG of %d channels does not come back\n", channels);
    for (cap = 0, good = 1; good && cap < out.size + 8; cap += cap + 99 < out.size ? 97 : 1) {
      good = keeps(pixels, channels, cap, out.size);
    }
    if (good) passed++;
    else failed++, printf("a PNG of %d channels breaks a cap below %zu\n", channels, cap);
    kx_buffer_free(&out);
    if (tells_of_no_memory(pixels, channels)) passed++;
    else failed++, printf("a PNG of %d channels hides that memory ran out\n", channels);
  }
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
