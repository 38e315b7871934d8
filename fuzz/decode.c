/* Decoding of any bytes within half a MiB, then all that is done to pictures; what is written as
   PNG must be read again as it was. */
#include "config.h"

#include "picture/picture.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY ((uint64_t)1 << 19)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_and_read(const kx_picture *picture) {
  kx_buffer out = {NULL, 0, 0, (size_t)64 << 20, 0};
  kx_picture again;
  kx_image_info info;
  kx_source source;
  size_t n = (size_t)picture->width * (size_t)picture->height * (size_t)picture->channels;

  if (!kx_picture_write(picture, 0, &out)) abort();
  kx_source_memory(&source, out.bytes, out.size);
  if (kx_picture_read(&again, &source, MEMORY * 16, NULL, &info) != KX_IMAGE_OK) abort();
  if (again.width != picture->width || again.height != picture->height) abort();
  if (memcmp(again.pixels, picture->pixels, n) != 0) abort();
  kx_picture_free(&again);
  kx_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kx_buffer out = {NULL, 0, 0, (size_t)64 << 20, 0};
  kx_picture picture, small;
  kx_size least = {3, 2};
  kx_image_info info;
  kx_source source;

  kx_source_memory(&source, data, size);
  if (kx_picture_read(&small, &source, MEMORY, &least, &info) == KX_IMAGE_OK) {
    kx_picture_free(&small);
  }
  if (kx_picture_read(&picture, &source, MEMORY, NULL, &info) != KX_IMAGE_OK) return 0;
  if ((uint32_t)picture.width != info.width || (uint32_t)picture.height != info.height) abort();
  write_and_read(&picture);
  if (!kx_picture_scale(&small, &picture, 24, 17, (int)(size & 1))) abort();
  if (!kx_picture_orient(&small, info.orientation)) abort();
  kx_picture_flatten(&small);
  if (!kx_picture_write(&small, 90, &out)) abort();
  kx_buffer_free(&out);
  kx_picture_free(&small);
  kx_picture_free(&picture);
  return 0;
}
