/* Every way to code base64 against one that is too plain to be wrong, for each length that a way
   treats differently and for long random bytes. No way may read past its input, which ends where
   memory ends, or write past its output. Ends with "N passed, N failed". */
#include "config.h"

#include "net/base64.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LONGEST ((size_t)1 << 20)
#define CANARY 0x5a

/* RFC 4648, section 4, bit by bit. */
static size_t plain(char *to, const unsigned char *from, size_t size) {
  static const char alphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t bits = size * 8, at, written = 0;
  int i;

  for (at = 0; at < bits; at += 6) {
    int value = 0;
    for (i = 0; i < 6; i++) {
      size_t bit = at + (size_t)i;
      value = value << 1 | (bit < bits ? from[bit / 8] >> (7 - bit % 8) & 1 : 0);
    }
    to[written++] = alphabet[value];
  }
  while (written % 4) to[written++] = '=';
  return written;
}

/* Returns 1 when the way codes the bytes like the plain one and touches nothing else. */
static int agrees(kx_base64_way way, const unsigned char *from, size_t size, const char *expected) {
  static char buffer[(LONGEST + 2) / 3 * 4 + 64];
  size_t i, length = KX_BASE64_LENGTH(size);

  memset(buffer, CANARY, length + 64);
  if (kx_base64_encode_as(way, buffer, from, size) != length) return 0;
  for (i = 0; i < 64; i++) {
    if (buffer[length + i] != CANARY) return 0;
  }
  if (memcmp(buffer, expected, length)) return 0;
  memmove(buffer + length / 4, from, size); /* in its own room */
  (void)kx_base64_encode_as(way, buffer, buffer + length / 4, size);
  return memcmp(buffer, expected, length) == 0;
}

int main(void) {
  static const char *const names[] = {"table", "SSSE3", "AVX2"};
  static char expected[(LONGEST + 2) / 3 * 4];
  size_t page = (size_t)sysconf(_SC_PAGESIZE), size, i;
  unsigned char *memory = (unsigned char *)mmap(NULL, LONGEST + page, PROT_READ | PROT_WRITE,
                                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  unsigned char *end = memory + LONGEST;
  uint64_t state = UINT64_C(88172645463325252);
  int passed = 0, failed = 0, way, best = kx_base64_best();

  if (memory == MAP_FAILED || mprotect(end, page, PROT_NONE) != 0) return 1;
  for (size = 0; size <= LONGEST; size = size < 300 ? size + 1 : size * 2 + 1) {
    unsigned char *from = end - size;
    for (i = 0; i < size; i++) {
      state ^= state << 13, state ^= state >> 7, state ^= state << 17;
      from[i] = (unsigned char)(state >> 32);
    }
    if (plain(expected, from, size) != KX_BASE64_LENGTH(size)) failed++;
    for (way = 0; way <= best; way++) {
      if (agrees((kx_base64_way)way, from, size, expected)) {
        passed++;
      } else {
        printf("%s: %lu bytes are coded wrongly\n", names[way], (unsigned long)size);
        failed++;
      }
    }
  }
  for (way = best + 1; way <= KX_BASE64_AVX2; way++) printf("not here: %s\n", names[way]);
  printf("%d passed, %d failed\n", passed, failed);
  return failed > 0;
}
