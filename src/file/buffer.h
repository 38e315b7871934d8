/* Bytes in memory that grow up to a cap. */
#ifndef KX_BUFFER_H
#define KX_BUFFER_H

#include <stddef.h>

/* Begin with all zero but `cap`. A failure to add is reported once, at the end: after a failure
   `error` is ENOMEM or EFBIG (the cap) and nothing more is added. */
typedef struct kx_buffer {
  unsigned char *bytes;
  size_t size, room, cap;
  int error;
} kx_buffer;

/* Returns where the next `n` bytes go, not yet counted in `size`, or NULL. */
unsigned char *kx_buffer_room(kx_buffer *b, size_t n);

/* Adds `n` bytes; returns 1, or 0. */
int kx_buffer_add(kx_buffer *b, const void *bytes, size_t n);

/* Frees the bytes and forgets the failure. */
void kx_buffer_free(kx_buffer *b);

#endif
