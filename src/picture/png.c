#include "config.h"

#include "picture/png.h"

#include "picture/exif.h"

#include <string.h>
#include <zlib.h>

#define MAX_CHUNKS 512 /* each may cost a read */
#define MAX_LENGTH 0x7FFFFFFFu /* of a chunk, by the format's rule */
#define SIGNATURE 8
#define IHDR_END (SIGNATURE + 12 + 13)
#define PALETTE (256 * 3)

enum { GREY = 0, RGB = 2, INDEXED = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

/* By colour type: channels and the depths that the format allows, as bits. */
static const struct colour {
  int channels, depths;
} colours[7] = {
  {1, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 16}, {0, 0}, {3, 1 << 8 | 1 << 16},
  {3, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8}, {2, 1 << 8 | 1 << 16}, {0, 0}, {4, 1 << 8 | 1 << 16}
};

typedef struct walk {
  kx_cursor *cursor;
  kx_image_info *info;
  kx_buffer *out; /* NULL: only look */
  uint64_t body;
  uint32_t size;
  size_t pixels; /* where in `out` the one chunk of pixels begins; 0 before it does */
  int colour, palette;
} walk;

static kx_image_status damaged(walk *w, const char *why) {
  w->info->why = why;
  return KX_IMAGE_DAMAGED;
}

/* Why there are no more bytes where some must be. */
static kx_image_status ended(walk *w) {
  if (w->out && w->out->error) return KX_IMAGE_NO_MEMORY;
  return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_CUT;
}

/* Appends a chunk's length and name. */
static void begin_chunk(walk *w, uint32_t size, const char *name) {
  unsigned char head[8];

  head[0] = (unsigned char)(size >> 24), head[1] = (unsigned char)(size >> 16);
  head[2] = (unsigned char)(size >> 8), head[3] = (unsigned char)size;
  memcpy(head + 4, name, 4);
  kx_buffer_add(w->out, head, 8);
}

/* Appends a checksum that nobody reads. */
static void end_chunk(walk *w) {
  kx_buffer_add(w->out, "\0\0\0", 4);
}

/* Appends the present chunk, padded with zeros to `size`. */
static kx_image_status keep(walk *w, const char *name, uint32_t size) {
  static const unsigned char zeros[PALETTE] = {0};

  if (!w->out) return KX_IMAGE_OK;
  begin_chunk(w, size, name);
  if (!kx_cursor_copy(w->cursor, w->body, w->size, w->out)) return ended(w);
  kx_buffer_add(w->out, zeros, size - w->size);
  end_chunk(w);
  return w->out->error ? ended(w) : KX_IMAGE_OK;
}

static kx_image_status header(walk *w) {
  kx_image_info *info = w->info;
  const unsigned char *p = kx_cursor_look(w->cursor, SIGNATURE, 12 + 13);

  if (!p) return ended(w);
  if (memcmp(p + 4, "CgBI", 4) == 0) {
    info->why = "it is an Xcode-optimized PNG (CgBI)";
    return KX_IMAGE_ODD;
  }
  if (KX_BE32(p) != 13 || memcmp(p + 4, "IHDR", 4) != 0) {
    return damaged(w, "its first chunk is not the header (IHDR)");
  }
  if (crc32(0, p + 4, 4 + 13) != KX_BE32(p + 21)) {
    return damaged(w, "its header's checksum is wrong"); /* decoders refuse it, so does a service */
  }
  info->width = KX_BE32(p + 8);
  info->height = KX_BE32(p + 12);
  info->depth = p[16];
  w->colour = p[17];
  info->layers = p[20];
  if (info->width == 0 || info->height == 0) return KX_IMAGE_NO_SIZE;
  if (w->colour > RGB_ALPHA || info->depth > 16 ||
      !(colours[w->colour].depths & 1 << info->depth)) {
    return damaged(w, "its header has a bad colour type or depth");
  }
  if (p[18] != 0 || p[19] != 0 || p[20] > 1) return damaged(w, "its header has an unknown method");
  info->channels = colours[w->colour].channels;
  w->cursor->at = IHDR_END;
  if (w->out && !kx_cursor_copy(w->cursor, 0, IHDR_END, w->out)) return ended(w);
  return KX_IMAGE_OK;
}

/* The palette that is kept has 256 entries: stb_image lets pixels name ones that it never set. */
static kx_image_status palette(walk *w) {
  if (w->palette || w->pixels) return damaged(w, "its palette (PLTE) is not where it must be");
  if (w->size == 0 || w->size > PALETTE || w->size % 3) {
    return damaged(w, "its palette (PLTE) has a bad length");
  }
  w->palette = 1;
  return w->colour == INDEXED ? keep(w, "PLTE", PALETTE) : KX_IMAGE_OK;
}

static kx_image_status transparency(walk *w) {
  uint32_t size = w->colour == GREY ? 2 : w->colour == RGB ? 6 : 0;

  if (w->pixels || w->info->channels == 2 || w->info->channels == 4) return KX_IMAGE_OK;
  if (w->colour == INDEXED && w->palette && w->size <= 256) size = w->size;
  if (w->size != size) return damaged(w, "its transparency (tRNS) has a bad length");
  w->info->channels++;
  return keep(w, "tRNS", size);
}

static kx_image_status exif(walk *w) {
  if (!w->info->orientation) {
    w->info->orientation = kx_exif_orientation(w->cursor, w->body, w->size);
  }
  return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_OK;
}

static kx_image_status pixels(walk *w) {
  if (w->colour == INDEXED && !w->palette) return damaged(w, "its palette (PLTE) is missing");
  if (!w->out) return KX_IMAGE_OK;
  if (!w->pixels) {
    w->pixels = w->out->size;
    begin_chunk(w, 0, "IDAT");
  }
  return kx_cursor_copy(w->cursor, w->body, w->size, w->out) ? KX_IMAGE_OK : ended(w);
}

/* Closes the chunk of pixels, now that its size is known. */
static kx_image_status end(walk *w) {
  kx_buffer *out = w->out;
  size_t size, i;

  size = w->pixels ? out->size - w->pixels - 8 : 0;
  if (size == 0) return damaged(w, "it ends before its picture begins");
  for (i = 0; i < 4; i++) out->bytes[w->pixels + i] = (unsigned char)(size >> (24 - 8 * i));
  end_chunk(w);
  begin_chunk(w, 0, "IEND");
  end_chunk(w);
  return out->error ? ended(w) : KX_IMAGE_OK;
}

static kx_image_status repeated(walk *w) {
  return damaged(w, "it has two headers (IHDR)");
}

static kx_image_status unknown(walk *w) {
  return damaged(w, "it has a chunk that must be understood and is unknown");
}

static const struct chunk {
  char name[5];
  kx_image_status (*read)(walk *);
} chunks[] = {
  {"IHDR", repeated}, {"PLTE", palette}, {"tRNS", transparency}, {"eXIf", exif}, {"IDAT", pixels},
  {"IEND", end}
};

static int letters(const unsigned char *name) {
  int i;
  for (i = 0; i < 4; i++) {
    if ((name[i] | 32) < 'a' || (name[i] | 32) > 'z') return 0;
  }
  return 1;
}

static kx_image_status walk_on(walk *w) {
  kx_image_status status = header(w);
  int count;

  if (status != KX_IMAGE_OK) return status;
  for (count = 0; count < MAX_CHUNKS || w->pixels; count++) {
    const unsigned char *p = kx_cursor_peek(w->cursor, 8);
    kx_image_status (*read)(walk *);
    size_t i;
    int last;
    /* What stands behind the pixels is of no use: a file without its end mark may be whole. */
    if (!p && w->pixels && !w->cursor->error) return end(w);
    if (!p) return ended(w);
    if (!letters(p + 4)) return damaged(w, "a chunk's name is not letters");
    w->size = KX_BE32(p);
    w->body = w->cursor->at + 8;
    if (w->size > MAX_LENGTH) return damaged(w, "a chunk has an absurd length");
    read = p[4] & 32 ? NULL : unknown;
    for (i = 0; i < sizeof chunks / sizeof *chunks; i++) {
      if (memcmp(p + 4, chunks[i].name, 4) == 0) read = chunks[i].read;
    }
    last = read == end || (read == pixels && !w->out);
    if (!kx_cursor_skip(w->cursor, (uint64_t)w->size + 12)) return KX_IMAGE_CUT;
    if (read) status = read(w);
    if (status != KX_IMAGE_OK || last) return status;
  }
  return damaged(w, "it has more than 512 chunks before its picture");
}

static kx_image_status run(walk *w) {
  kx_image_status status;

  w->info->orientation = 0; /* none told yet */
  status = walk_on(w);
  if (!w->info->orientation) w->info->orientation = 1;
  return status;
}

kx_image_status kx_png_header(kx_cursor *cursor, kx_image_info *info,
                              unsigned char frame[KX_PNG_FRAME_MAX], size_t *frame_size) {
  /* stb_image looks for a palette's transparency before it tells a size. */
  static const unsigned char transparent[] = {0, 0, 0, 0, 't', 'R', 'N', 'S'};
  kx_image_status status;
  const unsigned char *p;
  walk w;

  memset(&w, 0, sizeof w);
  w.cursor = cursor;
  w.info = info;
  status = run(&w);
  if (status != KX_IMAGE_OK) return status;
  p = kx_cursor_look(cursor, 0, IHDR_END);
  if (!p) return ended(&w);
  memcpy(frame, p, IHDR_END);
  memcpy(frame + IHDR_END, transparent, sizeof transparent);
  *frame_size = IHDR_END + sizeof transparent;
  return status;
}

kx_image_status kx_png_approve(kx_cursor *cursor, kx_image_info *info, kx_buffer *out) {
  walk w;

  memset(&w, 0, sizeof w);
  w.cursor = cursor;
  w.info = info;
  w.out = out;
  return run(&w);
}
