/* The emulator's edit: a picture changed visibly, the same way for the same seed, and marked as
   emulated in the picture itself. */
#ifndef KX_REPAINT_H
#define KX_REPAINT_H

#include "emulator/displace.h"
#include "file/source.h"

typedef enum kx_repaint_format {
  KX_REPAINT_JPEG, /* of quality 90 */
  KX_REPAINT_PNG,
  KX_REPAINT_WEBP /* lossless */
} kx_repaint_format;

typedef struct kx_repaint_options {
  const kx_source *input; /* JPEG or PNG; NULL, or a format that is not decoded here: a landscape is
                             painted instead */
  const kx_source *mask;  /* of the input's size: what is black in it stays as it is; or NULL */
  int keep;               /* 1: the input lies in the result as it is, its corner at left, top */
  int left, top;
  int inner;              /* 1: only the middle third each way is edited */
  kx_displacement moved;  /* what happens to all of it beside the edit */
  int width, height;      /* of the result, 16 … 16384, 64 megapixels at most */
  kx_repaint_format format;
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
