/* Base64 (RFC 4648), standard alphabet with padding. Pure. */
#ifndef KX_BASE64_H
#define KX_BASE64_H

#include <stddef.h>

/* Returns how many characters code `size` bytes; exact while size <= SIZE_MAX / 2. */
#define KX_BASE64_LENGTH(size) (((size) + 2) / 3 * 4)

/* Codes `size` bytes into `to`, which holds KX_BASE64_LENGTH(size) characters; returns how many. */
size_t kx_base64_encode(char *to, const void *from, size_t size);

#endif
