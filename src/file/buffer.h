/* Bytes in memory that grow up to a cap. */
#ifndef KX_BYTES_H
#define KX_BYTES_H

#include <stddef.h>

/* Begin with all zero but `cap`. What cannot be added is told once, at the end: after a failure
   `error` is ENOMEM or EFBIG (the cap) and nothing more is added. */
typedef struct kx_bytes {
  unsigned char *bytes;
  size_t size, room, cap;
  int error;
} kx_bytes;

/* Returns where the next `n` bytes go, not yet counted in `size`, or NULL. */
unsigned char *kx_bytes_room(kx_bytes *b, size_t n);

/* Adds `n` bytes; returns 1, or 0. */
int kx_bytes_add(kx_bytes *b, const void *bytes, size_t n);

/* Frees the bytes and forgets the failure. */
void kx_bytes_free(kx_bytes *b);

#endif
