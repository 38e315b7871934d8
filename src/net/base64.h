/* Base64 (RFC 4648), standard alphabet with padding. Pure. */
#ifndef KX_BASE64_H
#define KX_BASE64_H

#include <stddef.h>

/* Returns how many characters code `size` bytes; exact while size <= SIZE_MAX / 2. */
#define KX_BASE64_LENGTH(size) (((size) + 2) / 3 * 4)

/* The ways to code, slowest first. */
typedef enum { KX_BASE64_TABLE, KX_BASE64_SSSE3, KX_BASE64_AVX2 } kx_base64_way;

/* Returns the fastest way that this processor has. */
kx_base64_way kx_base64_best(void);

/* Codes `size` bytes into `to`, which holds KX_BASE64_LENGTH(size) characters; returns how many.
   `from` may be the end of a room of that many groups or more. */
size_t kx_base64_encode(char *to, const void *from, size_t size);

/* The same, one way: not better than the best. */
size_t kx_base64_encode_as(kx_base64_way way, char *to, const void *from, size_t size);

#endif
