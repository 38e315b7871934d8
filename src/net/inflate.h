/* Reads answers that arrive compressed although nobody asked for it. */
#ifndef KX_INFLATE_H
#define KX_INFLATE_H

#include <stddef.h>

/* Inflates a gzip, zlib or raw deflate body, which may be cut short or damaged further on, into
   `to`, at most `cap` bytes; returns how many there are, 0 when it is none of the three. */
size_t kx_inflate(const void *from, size_t size, void *to, size_t cap);

#endif
