/* Makes a picture fit: decode, scale down, turn upright, encode. */
#ifndef KX_FIT_H
#define KX_FIT_H

#include "error.h"
#include "file/sink.h"

typedef struct kx_fit {
  int width, height; /* of the result, seen upright */
  int quality;       /* of a JPEG, 1 … 100; 0: PNG */
  uint64_t memory;   /* the most that decoding may take, in bytes */
} kx_fit;

/* Reads the picture of `source` and writes the fitted one to `out`; returns 0, or -1 with `error`.
   Takes a second on a photograph of 20 MP: for a thread that may. */
int kx_fit_picture(const kx_fit *fit, const kx_source *source, kx_sink *out, kx_error *error);

#endif
