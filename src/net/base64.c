#include "config.h"

#include "net/base64.h"

#include "net/base64_simd.h"

#include <string.h>

/* Two characters for each of the 4096 values of 12 bits: half the look-ups of the usual table. */
#define ROW(a)                                                                                     \
  a, 'A', a, 'B', a, 'C', a, 'D', a, 'E', a, 'F', a, 'G', a, 'H', a, 'I', a, 'J', a, 'K', a, 'L',  \
      a, 'M', a, 'N', a, 'O', a, 'P', a, 'Q', a, 'R', a, 'S', a, 'T', a, 'U', a, 'V', a, 'W', a,   \
      'X', a, 'Y', a, 'Z', a, 'a', a, 'b', a, 'c', a, 'd', a, 'e', a, 'f', a, 'g', a, 'h', a, 'i', \
      a, 'j', a, 'k', a, 'l', a, 'm', a, 'n', a, 'o', a, 'p', a, 'q', a, 'r', a, 's', a, 't', a,   \
      'u', a, 'v', a, 'w', a, 'x', a, 'y', a, 'z', a, '0', a, '1', a, '2', a, '3', a, '4', a, '5', \
      a, '6', a, '7', a, '8', a, '9', a, '+', a, '/'

static const char pairs[4096 * 2] = {ROW('A'), ROW('B'), ROW('C'), ROW('D'), ROW('E'), ROW('F'),
                                     ROW('G'), ROW('H'), ROW('I'), ROW('J'), ROW('K'), ROW('L'),
                                     ROW('M'), ROW('N'), ROW('O'), ROW('P'), ROW('Q'), ROW('R'),
                                     ROW('S'), ROW('T'), ROW('U'), ROW('V'), ROW('W'), ROW('X'),
                                     ROW('Y'), ROW('Z'), ROW('a'), ROW('b'), ROW('c'), ROW('d'),
                                     ROW('e'), ROW('f'), ROW('g'), ROW('h'), ROW('i'), ROW('j'),
                                     ROW('k'), ROW('l'), ROW('m'), ROW('n'), ROW('o'), ROW('p'),
                                     ROW('q'), ROW('r'), ROW('s'), ROW('t'), ROW('u'), ROW('v'),
                                     ROW('w'), ROW('x'), ROW('y'), ROW('z'), ROW('0'), ROW('1'),
                                     ROW('2'), ROW('3'), ROW('4'), ROW('5'), ROW('6'), ROW('7'),
                                     ROW('8'), ROW('9'), ROW('+'), ROW('/')};

/* Writes the four characters of 24 bits. */
static void put_quad(char *to, unsigned bits) {
  memcpy(to, pairs + 2 * (bits >> 12 & 0xfff), 2);
  memcpy(to + 2, pairs + 2 * (bits & 0xfff), 2);
}

/* Codes all of it, padding included. */
static size_t encode_by_table(char *to, const unsigned char *bytes, size_t size) {
  char *start = to;

  for (; size >= 3; size -= 3, bytes += 3, to += 4) {
    put_quad(to, (unsigned)bytes[0] << 16 | (unsigned)bytes[1] << 8 | bytes[2]);
  }
  if (size > 0) {
    put_quad(to, (unsigned)bytes[0] << 16 | (size > 1 ? (unsigned)bytes[1] << 8 : 0));
    if (size == 1) to[2] = '=';
    to[3] = '=';
    to += 4;
  }
  return (size_t)(to - start);
}

kx_base64_way kx_base64_best(void) {
#if KX_BASE64_SIMD
  if (__builtin_cpu_supports("avx2")) return KX_BASE64_AVX2;
  if (__builtin_cpu_supports("ssse3")) return KX_BASE64_SSSE3;
#endif
  return KX_BASE64_TABLE;
}

size_t kx_base64_encode_as(kx_base64_way way, char *to, const void *from, size_t size) {
  const unsigned char *bytes = (const unsigned char *)from;
  size_t done = 0;

#if KX_BASE64_SIMD
  if (way == KX_BASE64_AVX2) done = kx_base64_avx2(to, bytes, size);
  else if (way == KX_BASE64_SSSE3) done = kx_base64_ssse3(to, bytes, size);
#else
  (void)way;
#endif
  return done / 3 * 4 + encode_by_table(to + done / 3 * 4, bytes + done, size - done);
}

size_t kx_base64_encode(char *to, const void *from, size_t size) {
  return kx_base64_encode_as(kx_base64_best(), to, from, size);
}
