/* Base64 by the vector instructions of x86: whole groups only, the rest is net/base64.c's. */
#ifndef KX_BASE64_SIMD_H
#define KX_BASE64_SIMD_H

#include <stddef.h>

#if defined(__GNUC__) && (defined(__x86_64__) || defined(__i386__))
#define KX_BASE64_SIMD 1

/* Each codes as many groups of three bytes as it can without reading past `size`, and writes
   nothing behind their characters; returns how many bytes it took. The processor must have it. */
size_t kx_base64_ssse3(char *to, const unsigned char *from, size_t size);
size_t kx_base64_avx2(char *to, const unsigned char *from, size_t size);

#else
#define KX_BASE64_SIMD 0
#endif

#endif
