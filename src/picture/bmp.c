#include "config.h"

#include "picture/bmp.h"

#include "picture/cursor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FILE_HEADER 14
#define HEADER (FILE_HEADER + 40) /* with the part that all kinds have since Windows 3 */
#define MASKS 12
#define MAX_SIDE (1u << 24)

enum { RGB = 0, BITFIELDS = 3 };

/* Where things stand in the file. */
typedef struct layout {
  uint64_t pixels, palette;
  size_t stride;
  uint32_t width, height, colours;
  int bits, upward; /* the last row comes first */
} layout;

/* Returns 1 and the layout of a BMP that is decoded here, or 0. */
static int read_layout(const kx_source *source, layout *l) {
  static const unsigned char masks[MASKS] = {0, 0, 0xFF, 0, 0, 0xFF, 0, 0, 0xFF, 0, 0, 0};
  unsigned char p[HEADER + MASKS] = {0};
  ssize_t n = kx_source_read(source, 0, p, sizeof p);
  uint32_t header, method;

  if (n < HEADER) return 0;
  l->pixels = KX_LE32(p + 10);
  header = KX_LE32(p + 14);
  l->width = KX_LE32(p + 18);
  l->height = KX_LE32(p + 22);
  l->bits = (int)KX_LE16(p + 28);
  method = KX_LE32(p + 30);
  l->colours = KX_LE32(p + 46);
  l->upward = l->height < 0x80000000u;
  if (!l->upward) l->height = 0u - l->height;
  if (header < 40 || header > 124 || KX_LE16(p + 26) != 1) return 0;
  if (l->width == 0 || l->height == 0 || l->width > MAX_SIDE || l->height > MAX_SIDE) return 0;
  if (l->bits != 8 && l->bits != 24 && l->bits != 32) return 0;
  if (method == BITFIELDS ? l->bits != 32 || memcmp(p + HEADER, masks, MASKS) != 0
                          : method != RGB) {
    return 0;
  }
  if (l->colours == 0 || l->colours > 256) l->colours = 256;
  l->palette = FILE_HEADER + header;
  l->stride = ((size_t)l->width * (unsigned)l->bits + 31) / 32 * 4;
  if (l->bits == 8 && l->palette + l->colours * 4 > l->pixels) return 0;
  return l->pixels >= HEADER && l->pixels + (uint64_t)l->stride * l->height <= source->size;
}

void kx_bmp_header(const kx_source *source, kx_image_info *info) {
  layout l;

  if (!read_layout(source, &l)) return;
  info->width = l.width;
  info->height = l.height;
  info->channels = 3;
  info->depth = 8;
}

uint64_t kx_bmp_memory(const kx_image_info *info) {
  return (uint64_t)info->width * info->height * 3 + (uint64_t)info->width * 4 + 4;
}

/* Turns a stored row, blue first, into RGB. */
static void convert(const layout *l, const unsigned char *palette, const unsigned char *from,
                    unsigned char *to) {
  size_t step = (size_t)l->bits / 8;
  uint32_t x;

  for (x = 0; x < l->width; x++, from += step, to += 3) {
    const unsigned char *p = l->bits == 8 ? palette + *from * 4 : from;
    to[0] = p[2], to[1] = p[1], to[2] = p[0];
  }
}

kx_image_status kx_bmp_decode(const kx_source *source, kx_image_info *info,
                              unsigned char **pixels) {
  unsigned char palette[256 * 4] = {0}, *row = NULL, *to = NULL;
  kx_image_status status = KX_IMAGE_OK;
  ssize_t n = 0;
  uint32_t y;
  layout l;

  /* Another file may stand there by now. */
  if (!read_layout(source, &l) || l.width != info->width || l.height != info->height) {
    return KX_IMAGE_CUT;
  }
  row = (unsigned char *)malloc(l.stride);
  to = (unsigned char *)malloc((size_t)l.width * l.height * 3);
  if (!row || !to) status = KX_IMAGE_NO_MEMORY;
  if (l.bits == 8 && status == KX_IMAGE_OK) {
    n = kx_source_read(source, l.palette, palette, (size_t)l.colours * 4);
  }
  for (y = 0; y < l.height && status == KX_IMAGE_OK; y++) {
    uint32_t at = l.upward ? l.height - 1 - y : y;
    if (n >= 0) n = kx_source_read(source, l.pixels + (uint64_t)l.stride * y, row, l.stride);
    if (n < 0) info->error = errno, status = KX_IMAGE_UNREADABLE;
    else if ((size_t)n < l.stride) status = KX_IMAGE_CUT;
    else convert(&l, palette, row, to + (size_t)at * l.width * 3);
  }
  free(row);
  if (status != KX_IMAGE_OK) {
    free(to);
    to = NULL;
  }
  *pixels = to;
  return status;
}
