/* Every way to code base64 gives the table's characters, and they decode to what was coded. */
#include "config.h"

#include "net/base64.h"

#include <openssl/evp.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  size_t length = KX_BASE64_LENGTH(size);
  /* Exactly as long as they may be: what is touched beside them is reported. */
  char *expected = (char *)malloc(length + 1), *text = (char *)malloc(length);
  unsigned char *back = (unsigned char *)malloc(length + 1);
  int way, best = kx_base64_best();

  if (!expected || (length && !text) || !back) abort();
  if (kx_base64_encode_as(KX_BASE64_TABLE, expected, bytes, size) != length) abort();
  for (way = KX_BASE64_SSSE3; way <= best; way++) {
    if (kx_base64_encode_as((kx_base64_way)way, text, bytes, size) != length) abort();
    if (length && memcmp(text, expected, length)) abort();
  }
  if (EVP_DecodeBlock(back, (unsigned char *)expected, (int)length) != (int)(length / 4 * 3) ||
      (size && memcmp(back, bytes, size))) {
    abort();
  }
  free(back);
  free(text);
  free(expected);
  return 0;
}
