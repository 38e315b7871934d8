/* The picture check on any bytes, and the look for their end mark: both must end, read nothing but
   their source, and call no file good whose size is not known. */
#include "config.h"

#include "picture/ending.h"
#include "picture/walk.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  kx_image_info info;
  kx_source source;
  kx_image_status status;
  kx_ending ending;

  kx_source_memory(&source, data, size);
  status = kx_image_read(&source, &info);
  if (info.orientation < 1 || info.orientation > 8) abort();
  if (status == KX_IMAGE_OK && (!info.format || !info.width || !info.height)) abort();
  if (status == KX_IMAGE_EMPTY && size > 0) abort();
  if ((status == KX_IMAGE_DAMAGED || status == KX_IMAGE_ODD) && !info.why) abort();
  if (status == KX_IMAGE_UNREADABLE) abort();
  if (kx_image_ending(&source, &info, &ending) != 0) abort();
  if (kx_image_sniff(data, size) && !info.format) abort();
  return 0;
}
