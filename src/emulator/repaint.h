/* The emulator's edit: a picture changed visibly, the same way for the same seed, and marked as
   emulated in the picture itself. */
#ifndef KX_REPAINT_H
#define KX_REPAINT_H

#include "file/source.h"

typedef struct kx_repaint_options {
  const kx_source *input; /* JPEG or PNG; NULL, or a format that is not decoded here: a landscape is
                             painted instead */
  int width, height;      /* of the result, 16 … 4096 */
  int png;                /* 1: PNG, 0: JPEG of quality 90 */
  uint32_t seed;
  const char *label;      /* shown beside EMULATED, cut to fit; any bytes, may be NULL */
  size_t label_size;
  uint64_t memory;        /* the most that decoding may take, in bytes; 0: 512 MiB */
} kx_repaint_options;

/* Paints and encodes; returns 1 with `*out` (for free) and `*size`, or 0 with `*why`, a static
   sentence. Takes a second on a 20 MP photograph: nothing for a thread that must not wait. */
int kx_repaint(const kx_repaint_options *options, unsigned char **out, size_t *size,
               const char **why);

#endif
