/* What `require "kontext"` loads, compiled: src/lua/chunks.lua writes it for an installed module; a
   development tree has none of it, and reads lua/. */
#ifndef KX_CHUNKS_H
#define KX_CHUNKS_H

#include <stddef.h>

typedef struct kx_chunk {
  const char *module; /* NULL ends the list */
  const unsigned char *code;
  size_t size;
} kx_chunk;

extern const kx_chunk kx_chunks[];

#endif
