#include "config.h"

#include "net/base64_simd.h"

#if KX_BASE64_SIMD

#include <immintrin.h>

/* Both ways work on 32-bit lanes that hold one group b0 b1 b2 as the bytes b1 b0 b2 b1: two 16-bit
   numbers with two 6-bit values each. The upper half of a product with a power of two brings one
   value of either number down to its lower byte; the lower half takes the other to the upper. */
#define GROUPS 10, 11, 9, 10, 7, 8, 6, 7, 4, 5, 3, 4, 1, 2, 0, 1
#define DOWN_MASK 0x0fc0fc00
#define DOWN 0x04000040 /* by 6 in the upper number, 10 in the lower */
#define UP_MASK 0x003f03f0
#define UP 0x01000010 /* by 8 and 4 */

/* What is to be added to a value for its character, by the value's kind: 0 for a … z, 1 to 10 for
   the digits, 11 for +, 12 for /, 13 for A … Z. */
#define DIGIT ('0' - 52)
#define OFFSETS                                                                             \
  'a' - 26, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, DIGIT, '+' - 62, \
      '/' - 63, 'A', 0, 0

__attribute__((target("ssse3"))) size_t kx_base64_ssse3(char *to, const unsigned char *from,
                                                        size_t size) {
  const __m128i offsets = _mm_setr_epi8(OFFSETS);
  size_t done = 0;

  for (; size - done >= 16; done += 12, to += 16) { /* 12 are used of 16 that are read */
    __m128i in = _mm_loadu_si128((const __m128i *)(const void *)(from + done));
    __m128i lower, upper, values, kind, capital;
    in = _mm_shuffle_epi8(in, _mm_set_epi8(GROUPS));
    lower = _mm_and_si128(in, _mm_set1_epi32(DOWN_MASK));
    upper = _mm_and_si128(in, _mm_set1_epi32(UP_MASK));
    lower = _mm_mulhi_epu16(lower, _mm_set1_epi32(DOWN));
    upper = _mm_mullo_epi16(upper, _mm_set1_epi32(UP));
    values = _mm_or_si128(lower, upper);
    kind = _mm_subs_epu8(values, _mm_set1_epi8(51));
    capital = _mm_cmpgt_epi8(_mm_set1_epi8(26), values);
    kind = _mm_or_si128(kind, _mm_and_si128(capital, _mm_set1_epi8(13)));
    values = _mm_add_epi8(values, _mm_shuffle_epi8(offsets, kind));
    _mm_storeu_si128((__m128i *)(void *)to, values);
  }
  return done;
}

__attribute__((target("avx2"))) size_t kx_base64_avx2(char *to, const unsigned char *from,
                                                      size_t size) {
  const __m256i offsets = _mm256_setr_epi8(OFFSETS, OFFSETS);
  size_t done = 0;

  for (; size - done >= 28; done += 24, to += 32) { /* 12 and 12 are used of 16 and 16 */
    __m128i first = _mm_loadu_si128((const __m128i *)(const void *)(from + done));
    __m128i second = _mm_loadu_si128((const __m128i *)(const void *)(from + done + 12));
    __m256i in = _mm256_inserti128_si256(_mm256_castsi128_si256(first), second, 1);
    __m256i lower, upper, values, kind, capital;
    in = _mm256_shuffle_epi8(in, _mm256_set_epi8(GROUPS, GROUPS));
    lower = _mm256_and_si256(in, _mm256_set1_epi32(DOWN_MASK));
    upper = _mm256_and_si256(in, _mm256_set1_epi32(UP_MASK));
    lower = _mm256_mulhi_epu16(lower, _mm256_set1_epi32(DOWN));
    upper = _mm256_mullo_epi16(upper, _mm256_set1_epi32(UP));
    values = _mm256_or_si256(lower, upper);
    kind = _mm256_subs_epu8(values, _mm256_set1_epi8(51));
    capital = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), values);
    kind = _mm256_or_si256(kind, _mm256_and_si256(capital, _mm256_set1_epi8(13)));
    values = _mm256_add_epi8(values, _mm256_shuffle_epi8(offsets, kind));
    _mm256_storeu_si256((__m256i *)(void *)to, values);
  }
  return done;
}

#else
typedef int kx_base64_nothing; /* ISO C has no empty file */
#endif
