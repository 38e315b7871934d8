#include "config.h"

#include "picture/picture.h"

#include "picture/bmp.h"
#include "picture/jpeg.h"
#include "picture/jpeg_turbo.h"
#include "picture/png.h"
#include "picture/png_write.h"
#include "picture/stb.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define APPROVED_EXTRA 2048  /* what an approved copy may have over its file */
#define DECODER_STATE 65536  /* stb's own tables, rounded up */
#define COLOURS_MAX ((size_t)4 << 20) /* of a colour profile: large ones have one or two MB */

/* Where a written file's first segment or chunk ends, which has to stand first. */
#define JFIF_END (2 + 2 + 16)
#define IHDR_END (8 + 12 + 13)

static uint64_t larger(uint64_t a, uint64_t b) {
  return a > b ? a : b;
}

/* What stb_image holds at once while it decodes a JPEG: sample planes in whole coded units, for a
   progressive one the coefficients too, and the pixels. */
static uint64_t jpeg_memory(const kx_image_info *info) {
  uint64_t across = (info->width + (unsigned)info->mcu_width - 1) / (unsigned)info->mcu_width;
  uint64_t down = (info->height + (unsigned)info->mcu_height - 1) / (unsigned)info->mcu_height;
  uint64_t planes = across * down * (uint64_t)info->blocks * 64;

  return planes * (info->layers ? 3 : 1) + (uint64_t)info->width * info->height * 3 +
         (uint64_t)info->width * 4;
}

/* The same for a PNG: compressed and inflated rows; then these and the samples; then the samples
   and the pixels made from them. An interlaced one has some more bytes than a decoder guesses,
   which makes it double its room, and passes beside the whole. */
static uint64_t png_memory(const kx_image_info *info, uint64_t bytes) {
  uint64_t area = (uint64_t)info->width * info->height, wide = info->depth == 16 ? 2 : 1;
  uint64_t bits = (uint64_t)info->width * (unsigned)info->channels * (unsigned)info->depth;
  uint64_t rows = (bits / 8 + 9) * info->height;
  uint64_t samples = area * 4 * wide;
  uint64_t inflating = bytes + rows * (info->layers ? 3 : 1);
  uint64_t arranging = rows * (info->layers ? 2 : 1) + samples * (info->layers ? 2 : 1);

  return larger(larger(inflating, arranging), samples * 2);
}

uint64_t kx_picture_memory(const kx_image_info *info, uint64_t bytes) {
  int jpeg = info->mcu_width > 0;

  if (strcmp(info->format, "bmp") == 0) return kx_bmp_memory(info);
  return bytes + APPROVED_EXTRA + DECODER_STATE + (bytes < COLOURS_MAX ? bytes : COLOURS_MAX) +
         (jpeg ? jpeg_memory(info) : png_memory(info, bytes));
}

/* Decodes what the walk approved, within what is left of `memory`, to no less than `least`. */
static kx_image_status decode(kx_picture *picture, const kx_buffer *approved, uint64_t memory,
                              const kx_size *least, kx_image_info *info) {
  int channels = info->channels % 2 || info->mcu_width ? 3 : 4, width, height, done;
  size_t budget = memory > SIZE_MAX ? SIZE_MAX : (size_t)memory;

#ifdef KX_LIBJPEG
  if (info->mcu_width) {
    kx_size whole = {0, 0}, upright = least ? *least : whole;
    int turned = info->orientation >= 5;
    done = kx_jpeg_turbo_decode(approved->bytes, approved->size, budget, info->unended,
                                turned ? upright.height : upright.width,
                                turned ? upright.width : upright.height, &picture->pixels, &width,
                                &height);
  } else
#endif
  {
    (void)least; /* stb decodes all, and cannot tell whether some of it was missing */
    if (info->unended) return KX_IMAGE_CUT;
    done = kx_stb_decode(approved->bytes, approved->size, channels, budget, &picture->pixels,
                         &width, &height);
    picture->decoded = done > 0;
  }
  if (done < 0) return KX_IMAGE_NO_MEMORY;
  if (!done && info->unended) return KX_IMAGE_CUT;
  if (!done) {
    info->why = "its pixels cannot be decoded";
    return KX_IMAGE_DAMAGED;
  }
  picture->width = width;
  picture->height = height;
  picture->channels = channels;
  return KX_IMAGE_OK;
}

/* Drops what says what colours mean that are no more: the pixels are RGB now. It is no loss that
   ends anything where it is too large or memory is short. */
static void check_colours(kx_picture *picture, const kx_image_info *info) {
  int inks_or_grey = info->mcu_width && info->channels != 3;

  picture->segments = info->mcu_width > 0;
  if (picture->colours.error || inks_or_grey) kx_buffer_free(&picture->colours);
}

/* Decodes a BMP, the one foreign format whose size the check tells. */
static kx_image_status decode_foreign(kx_picture *picture, const kx_source *source,
                                      kx_image_info *info) {
  kx_image_status status = kx_bmp_decode(source, info, &picture->pixels);

  if (status != KX_IMAGE_OK) return status;
  picture->width = (int)info->width;
  picture->height = (int)info->height;
  picture->channels = 3;
  return KX_IMAGE_OK;
}

kx_image_status kx_picture_read(kx_picture *picture, const kx_source *source, uint64_t memory,
                                const kx_size *least, kx_image_info *info) {
  kx_buffer approved = {NULL, 0, 0, 0, 0};
  kx_image_info again;
  kx_image_status status = kx_image_read(source, info);
  kx_cursor cursor;
  uint64_t need;

  memset(picture, 0, sizeof *picture);
  if (status != KX_IMAGE_OK && !(status == KX_IMAGE_FOREIGN && info->depth > 0)) return status;
  if (strcmp(info->format, "webp") == 0) return KX_IMAGE_NO_DECODER;
  need = kx_picture_memory(info, source->size);
  if (need > memory) return KX_IMAGE_TOO_BIG;
  if (status == KX_IMAGE_FOREIGN) return decode_foreign(picture, source, info);

  again = *info;
  again.blocks = 0; /* what walks add up */
  approved.cap = (size_t)source->size + APPROVED_EXTRA;
  kx_buffer_room(&approved, approved.cap);
  kx_cursor_begin(&cursor, source);
  cursor.reads = UINT_MAX;
  picture->colours.cap = COLOURS_MAX;
  status = (info->mcu_width ? kx_jpeg_approve : kx_png_approve)(&cursor, &again, &approved,
                                                                &picture->colours);
  check_colours(picture, info);
  info->error = cursor.error;
  info->why = again.why;
  info->unended = again.unended;
  if (status == KX_IMAGE_OK && (again.width != info->width || again.height != info->height)) {
    status = KX_IMAGE_CUT; /* another file stands there by now */
  }
  if (status == KX_IMAGE_OK) {
    status = decode(picture, &approved, need - approved.cap, least, info);
  }
  kx_buffer_free(&approved);
  if (status != KX_IMAGE_OK) kx_picture_free(picture);
  return status;
}

int kx_picture_make(kx_picture *picture, int width, int height, int channels) {
  size_t area = (size_t)width * (size_t)height, i;

  memset(picture, 0, sizeof *picture);
  picture->pixels = (unsigned char *)calloc(area, (size_t)channels);
  if (!picture->pixels) return 0;
  for (i = 0; channels == 4 && i < area; i++) picture->pixels[i * 4 + 3] = 255;
  picture->width = width;
  picture->height = height;
  picture->channels = channels;
  return 1;
}

void kx_picture_give_colours(kx_picture *to, kx_picture *from) {
  kx_buffer_free(&to->colours);
  to->colours = from->colours;
  to->segments = from->segments;
  memset(&from->colours, 0, sizeof from->colours);
}

int kx_picture_scale(kx_picture *to, const kx_picture *from, int width, int height, int cut) {
  int x = 0, y = 0, w = from->width, h = from->height;
  size_t stride = (size_t)from->width * (size_t)from->channels;

  if (cut && (int64_t)w * height > (int64_t)h * width) {
    w = (int)((int64_t)h * width / height);
    if (w < 1) w = 1;
    x = (from->width - w) / 2;
  } else if (cut) {
    h = (int)((int64_t)w * height / width);
    if (h < 1) h = 1;
    y = (from->height - h) / 2;
  }
  if (!kx_picture_make(to, width, height, from->channels)) return 0;
  if (!kx_stb_resize(from->pixels + (size_t)y * stride + (size_t)x * (size_t)from->channels, w, h,
                     stride, to->pixels, width, height, from->channels)) {
    kx_picture_free(to);
    return 0;
  }
  return 1;
}

int kx_picture_orient(kx_picture *picture, int orientation) {
  /* How a stored column and row are found for an upright x and y: exchanged, counted backwards. */
  static const struct turn {
    int swap, flip_column, flip_row;
  } turns[9] = {
    {0, 0, 0}, {0, 0, 0}, {0, 1, 0}, {0, 1, 1}, {0, 0, 1},
    {1, 0, 0}, {1, 0, 1}, {1, 1, 1}, {1, 1, 0}
  };
  const struct turn *turn = &turns[orientation];
  int w = picture->width, h = picture->height, x, y;
  size_t n = (size_t)picture->channels;
  unsigned char *to;
  kx_picture upright;

  if (orientation <= 1) return 1;
  if (!kx_picture_make(&upright, turn->swap ? h : w, turn->swap ? w : h,
                       picture->channels)) {
    return 0;
  }
  to = upright.pixels;
  for (y = 0; y < upright.height; y++) {
    for (x = 0; x < upright.width; x++, to += n) {
      int column = turn->swap ? y : x, row = turn->swap ? x : y;
      if (turn->flip_column) column = w - 1 - column;
      if (turn->flip_row) row = h - 1 - row;
      memcpy(to, picture->pixels + ((size_t)row * (size_t)w + (size_t)column) * n, n);
    }
  }
  kx_picture_give_colours(&upright, picture);
  kx_picture_free(picture);
  *picture = upright;
  return 1;
}

void kx_picture_flatten(kx_picture *picture) {
  size_t area = (size_t)picture->width * (size_t)picture->height, i;
  const unsigned char *from = picture->pixels;
  unsigned char *to = picture->pixels;
  int k;

  if (picture->channels != 4) return;
  for (i = 0; i < area; i++, from += 4) {
    int white = 255 * (255 - from[3]) + 127;
    for (k = 0; k < 3; k++) *to++ = (unsigned char)((from[k] * from[3] + white) / 255);
  }
  picture->channels = 3;
}

static void take(void *context, void *bytes, int size) {
  kx_buffer_add((kx_buffer *)context, bytes, (size_t)size);
}

/* Puts bytes between those that are there. */
static void insert(kx_buffer *out, size_t at, const kx_buffer *more) {
  size_t rest = out->size - at;

  if (!kx_buffer_add(out, more->bytes, more->size)) return;
  memmove(out->bytes + at + more->size, out->bytes + at, rest);
  memcpy(out->bytes + at, more->bytes, more->size);
}

int kx_picture_write(const kx_picture *picture, int quality, kx_buffer *out) {
  int jpeg = quality > 0;
  size_t start = out->size;

  if (jpeg) {
    kx_stb_jpeg(take, out, picture->pixels, picture->width, picture->height, picture->channels,
                quality);
  } else {
    kx_png_write(picture->pixels, picture->width, picture->height, picture->channels, out);
  }
  if (!out->error && picture->colours.size > 0 && picture->segments == jpeg) {
    insert(out, start + (jpeg ? JFIF_END : IHDR_END), &picture->colours);
  }
  return !out->error;
}

void kx_picture_free(kx_picture *picture) {
  if (picture->decoded) kx_stb_free(picture->pixels);
  else free(picture->pixels);
  kx_buffer_free(&picture->colours);
  memset(picture, 0, sizeof *picture);
}
