/* A PNG's chunks, and its pixels a row at a time: constant memory for any size. */
#ifndef KX_PNG_ROWS_H
#define KX_PNG_ROWS_H

#include "picture/cursor.h"

#define ZLIB_CONST /* what is read is const */
#include <zlib.h>

enum {
  KX_PNG_GREY = 0, KX_PNG_RGB = 2, KX_PNG_PALETTE = 3, KX_PNG_GREY_ALPHA = 4, KX_PNG_RGBA = 6
};

typedef struct kx_png_chunk {
  char name[5];
  uint64_t body; /* where its bytes begin in the file */
  uint32_t size;
} kx_png_chunk;

/* What stands in a PNG. */
typedef struct kx_png {
  const kx_source *source;
  int width, height, depth, colour, interlaced;
  int samples;                  /* of a pixel, as stored: a palette has 1 */
  unsigned char palette[768];
  int colours;                  /* of the palette */
  unsigned char alpha[256];     /* of the palette's colours */
  int transparent;              /* it has a tRNS */
  unsigned key[3];              /* of grey and RGB: the samples that are transparent */
  int animated;
} kx_png;

/* Moves to the next chunk, which `*at` names; returns 1, 0 at the end of the file or behind IEND,
   or -1 where the file is damaged or cannot be read. Begin with `*at` 0. */
int kx_png_next_chunk(const kx_source *source, uint64_t *at, kx_png_chunk *chunk);

/* Reads what describes the pixels; returns NULL, or what is wrong. */
const char *kx_png_read_head(kx_png *png, const kx_source *source);

/* Where the pixels of a row lie in the picture: an interlaced one comes in seven passes. */
typedef struct kx_png_row {
  int y, x, step, count;
  int filter;
  unsigned char *bytes; /* packed as in the file */
  size_t size;
} kx_png_row;

typedef struct kx_png_rows {
  const kx_png *png;
  z_stream z;
  int open, pass, line;
  uint64_t next;     /* where the next chunk begins */
  uint64_t body;     /* what is left of the chunk of pixels under way */
  uint32_t left;
  unsigned char *piece, *lines;
  kx_png_row row;
} kx_png_rows;

/* Prepares to read rows; returns 1, or 0 without memory. */
int kx_png_rows_begin(kx_png_rows *rows, const kx_png *png);

/* Reads the next row; returns 1, 0 behind the last, or -1 where the pixels are damaged. */
int kx_png_rows_next(kx_png_rows *rows);

/* Frees all; may be called twice. */
void kx_png_rows_end(kx_png_rows *rows);

/* Returns sample `k` of pixel `i` of a row, as stored. */
unsigned kx_png_sample(const kx_png *png, const unsigned char *row, int i, int k);

/* Fills the RGBA of pixel `i`, 8 bits each. */
void kx_png_rgba(const kx_png *png, const unsigned char *row, int i, unsigned char rgba[4]);

/* Returns the bytes of a row of `count` pixels with `bits` each. */
size_t kx_png_row_size(int count, int bits);

/* Describes the pass 0 … 6 of an interlaced PNG: its pixels' place and how far they are apart. */
typedef struct kx_png_pass {
  int x, y, across, down;
} kx_png_pass;
extern const kx_png_pass kx_png_passes[7];

#endif
