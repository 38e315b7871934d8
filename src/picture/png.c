#include "config.h"

#include "picture/png.h"

#include "picture/exif.h"
#include "picture/raw_profile.h"

#include <string.h>
#include <zlib.h>

#define MAX_LENGTH 0x7FFFFFFFu /* of a chunk, by the format's rule */
#define SIGNATURE 8
#define IHDR_END (SIGNATURE + 12 + 13)
#define PALETTE (256 * 3)

enum { GREY = 0, RGB = 2, INDEXED = 3, GREY_ALPHA = 4, RGB_ALPHA = 6 };

/* By colour type: channels and the depths that the format allows, as bits. */
static const struct colour {
  int channels, depths;
} colour_types[7] = {
  {1, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8 | 1 << 16}, {0, 0}, {3, 1 << 8 | 1 << 16},
  {3, 1 << 1 | 1 << 2 | 1 << 4 | 1 << 8}, {2, 1 << 8 | 1 << 16}, {0, 0}, {4, 1 << 8 | 1 << 16}
};

typedef struct walk {
  kx_cursor *cursor;
  kx_image_info *info;
  kx_buffer *out, *colours; /* NULL: only look */
  uint64_t body;
  uint32_t size;
  size_t pixels; /* where in `out` the one chunk of pixels begins; only looking: 1; 0 before it */
  int colour, palette, transparent;
  int told, hinted; /* orientations: that of eXIf, and that of Exif kept as text */
} walk;

static kx_image_status damaged(walk *w, const char *why) {
  w->info->why = why;
  return KX_IMAGE_DAMAGED;
}

/* Returns why bytes that must be there are missing. */
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
      !(colour_types[w->colour].depths & 1 << info->depth)) {
    return damaged(w, "its header has a bad colour type or depth");
  }
  if (p[18] != 0 || p[19] != 0 || p[20] > 1) return damaged(w, "its header has an unknown method");
  info->channels = colour_types[w->colour].channels;
  w->cursor->at = IHDR_END;
  if (w->out && !kx_cursor_copy(w->cursor, 0, IHDR_END, w->out)) return ended(w);
  return KX_IMAGE_OK;
}

/* The palette that is kept has 256 entries: stb_image lets pixels name ones that it never set. */
static kx_image_status palette(walk *w) {
  if (w->colour != INDEXED) return KX_IMAGE_OK; /* a suggestion */
  if (w->palette || w->pixels) return damaged(w, "its palette (PLTE) is not where it must be");
  if (w->size == 0 || w->size > PALETTE || w->size % 3) {
    return damaged(w, "its palette (PLTE) has a bad length");
  }
  w->palette = 1;
  return keep(w, "PLTE", PALETTE);
}

static kx_image_status transparency(walk *w) {
  uint32_t size = w->colour == GREY ? 2 : w->colour == RGB ? 6 : 0;

  if (w->pixels || w->transparent || w->info->channels == 2 || w->info->channels == 4) {
    return KX_IMAGE_OK;
  }
  if (w->colour == INDEXED && !w->palette) return KX_IMAGE_OK; /* decoders pass over it there */
  if (w->colour == INDEXED && w->size <= 256) size = w->size;
  if (w->size != size) return damaged(w, "its transparency (tRNS) has a bad length");
  w->transparent = 1;
  w->info->channels++;
  return keep(w, "tRNS", size);
}

static kx_image_status exif(walk *w) {
  if (!w->told) w->told = kx_exif_orientation(w->cursor, w->body, w->size);
  return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_OK;
}

static kx_image_status text_exif(walk *w, int compressed) {
  if (!w->out && !w->hinted) {
    w->hinted = kx_raw_profile_orientation(w->cursor, w->body, w->size, compressed);
  }
  if (w->hinted < 0) return KX_IMAGE_NO_MEMORY;
  return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_OK;
}

static kx_image_status text(walk *w) { return text_exif(w, 0); }

static kx_image_status compressed_text(walk *w) { return text_exif(w, 1); }

/* Keeps a chunk that says what the colours mean as it stands, unless its checksum is wrong. */
static kx_image_status meaning(walk *w) {
  kx_buffer *to = w->colours;
  size_t whole = (size_t)w->size + 12, start;
  const unsigned char *p;

  if (!to || w->pixels || w->palette) return KX_IMAGE_OK;
  start = to->size;
  if (!kx_cursor_copy(w->cursor, w->body - 8, whole, to)) {
    return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_OK; /* too large: all are dropped */
  }
  p = to->bytes + start;
  if (crc32(0, p + 4, (uInt)w->size + 4) != KX_BE32(p + 8 + w->size)) to->size = start;
  return KX_IMAGE_OK;
}

/* A profile for greys does not fit the RGB that a decoder makes of them. */
static kx_image_status profile(walk *w) {
  return w->colour == GREY || w->colour == GREY_ALPHA ? KX_IMAGE_OK : meaning(w);
}

static kx_image_status pixels(walk *w) {
  if (w->colour == INDEXED && !w->palette) return damaged(w, "its palette (PLTE) is missing");
  if (!w->out) {
    w->pixels = 1;
    return KX_IMAGE_OK;
  }
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

  if (!out) return w->pixels ? KX_IMAGE_OK : damaged(w, "it ends before its picture begins");
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

static const struct chunk {
  char name[5];
  kx_image_status (*read)(walk *);
} chunks[] = {
  {"IHDR", repeated}, {"PLTE", palette}, {"tRNS", transparency}, {"eXIf", exif}, {"IDAT", pixels},
  {"IEND", end}, {"tEXt", text}, {"zTXt", compressed_text}, {"iCCP", profile}, {"sRGB", meaning},
  {"gAMA", meaning}, {"cHRM", meaning}, {"cICP", meaning}
};

static int letters(const unsigned char *name) {
  int i;
  for (i = 0; i < 4; i++) {
    if ((name[i] | 32) < 'a' || (name[i] | 32) > 'z') return 0;
  }
  return 1;
}

/* Reads the chunk at the cursor and moves behind it; sets `*last` for the last one. */
static kx_image_status read_chunk(walk *w, int *last) {
  const unsigned char *p = kx_cursor_peek(w->cursor, 8);
  kx_image_status (*read)(walk *) = NULL; /* a chunk that is unknown is passed over */
  uint64_t left = w->cursor->source->size - w->cursor->at;
  size_t i;

  if (!p) return ended(w);
  if (!letters(p + 4)) return damaged(w, "a chunk's name is not letters");
  w->size = KX_BE32(p);
  w->body = w->cursor->at + 8;
  if (w->size > MAX_LENGTH) return damaged(w, "a chunk has an absurd length");
  for (i = 0; i < sizeof chunks / sizeof *chunks; i++) {
    if (memcmp(p + 4, chunks[i].name, 4) == 0) read = chunks[i].read;
  }
  *last = read == end;
  if (!kx_cursor_skip(w->cursor, (uint64_t)w->size + 12)) {
    if (read != pixels || (uint64_t)w->size + 8 > left) return KX_IMAGE_CUT;
    w->cursor->at += left; /* pixels without their checksum, of which no use is made */
  }
  return read ? read(w) : KX_IMAGE_OK;
}

/* When only looking, walks on behind the pixels until an orientation is found: programs that add
   metadata put it there. Damage there does not matter. */
static kx_image_status walk_on(walk *w) {
  kx_image_status status = header(w);
  int last = 0;

  while (status == KX_IMAGE_OK && !last && (w->out || !w->pixels || !w->told)) {
    status = read_chunk(w, &last);
  }
  if (!w->pixels || status == KX_IMAGE_OK || status == KX_IMAGE_UNREADABLE ||
      status == KX_IMAGE_NO_MEMORY) {
    return status;
  }
  w->info->why = NULL;
  return end(w); /* a file that ends behind its pixels may be whole */
}

static kx_image_status run(walk *w) {
  kx_image_status status = walk_on(w);

  w->info->orientation = w->told ? w->told : w->hinted > 0 ? w->hinted : 1;
  return status;
}

kx_image_status kx_png_header(kx_cursor *cursor, kx_image_info *info) {
  walk w;

  memset(&w, 0, sizeof w);
  w.cursor = cursor;
  w.info = info;
  return run(&w);
}

kx_image_status kx_png_approve(kx_cursor *cursor, kx_image_info *info, kx_buffer *out,
                               kx_buffer *colours) {
  walk w;

  memset(&w, 0, sizeof w);
  w.cursor = cursor;
  w.info = info;
  w.out = out;
  w.colours = colours;
  return run(&w);
}
