#include "config.h"

#include "picture/jpeg.h"

#include "picture/exif.h"
#include "picture/jpeg_tables.h"

#include <string.h>

#define MAX_SCANS 100 /* a progressive JPEG has some ten; each costs a pass over the picture */

enum {
  SOI = 0xD8, EOI = 0xD9, SOS = 0xDA, DHT = 0xC4, APP0 = 0xE0, RST0 = 0xD0, RST7 = 0xD7, TEM = 0x01
};

typedef struct part {
  int id, h, v, quant;
} part;

/* One walk: its position, its findings, and the buffer for what it approves (NULL: only look). */
typedef struct walk {
  kx_cursor *cursor;
  kx_image_info *info;
  kx_buffer *out, *colours;
  uint64_t body; /* the segment's bytes after its length */
  unsigned size;
  int marker, progressive, components, scans, adobe;
  unsigned scanned;           /* bits of the components that scans have brought */
  unsigned quant, huffman[2]; /* bits of the tables defined so far; DC and AC */
  part component[4];
} walk;

static kx_image_status damaged(walk *w, const char *why) {
  w->info->why = why;
  return KX_IMAGE_DAMAGED;
}

static kx_image_status odd(walk *w, const char *why) {
  w->info->why = why;
  return KX_IMAGE_ODD;
}

/* Returns why bytes that must be there are missing. */
static kx_image_status ended(walk *w) {
  if (w->out && w->out->error) return KX_IMAGE_NO_MEMORY;
  return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_CUT;
}

/* Appends the segment with its marker. */
static kx_image_status keep(walk *w) {
  unsigned char mark[2];

  if (!w->out) return KX_IMAGE_OK;
  mark[0] = 0xFF;
  mark[1] = (unsigned char)w->marker;
  kx_buffer_add(w->out, mark, 2);
  return kx_cursor_copy(w->cursor, w->body - 2, w->size + 2, w->out) ? KX_IMAGE_OK : ended(w);
}

/* Appends a segment of our own. */
static void supply(walk *w, int marker, const unsigned char *body, size_t size) {
  unsigned char head[4];

  head[0] = 0xFF;
  head[1] = (unsigned char)marker;
  head[2] = 0;
  head[3] = (unsigned char)(size + 2);
  kx_buffer_add(w->out, head, 4);
  kx_buffer_add(w->out, body, size);
}

/* DQT: only its shape and which tables it defines. */
static kx_image_status quantization(walk *w) {
  unsigned at = 0;

  while (at < w->size) {
    const unsigned char *p = kx_cursor_look(w->cursor, w->body + at, 1);
    if (!p) return ended(w);
    if (*p >> 4 > 1 || (*p & 15) > 3) return damaged(w, "a quantization table has a bad number");
    w->quant |= 1u << (*p & 15);
    at += *p >> 4 ? 129 : 65;
  }
  return at == w->size ? keep(w) : damaged(w, "a quantization table is incomplete");
}

/* DHT: stb_image 2.27 writes out of bounds when a table's counts add up to more than 256. */
static kx_image_status huffman(walk *w) {
  unsigned at = 0;

  while (at < w->size) {
    const unsigned char *p = kx_cursor_look(w->cursor, w->body + at, 17);
    unsigned symbols = 0, codes = 0, length;
    if (w->size - at < 17) return damaged(w, "a Huffman table is incomplete");
    if (!p) return ended(w);
    if (*p >> 4 > 1 || (*p & 15) > 3) return damaged(w, "a Huffman table has a bad number");
    for (length = 1; length <= 16; length++) {
      symbols += p[length];
      codes = codes * 2 + p[length];
      if (codes > 1u << length) return damaged(w, "a Huffman table has more codes than bits allow");
    }
    if (symbols > 256) return damaged(w, "a Huffman table has more than 256 symbols");
    w->huffman[*p >> 4] |= 1u << (*p & 15);
    at += 17 + symbols;
  }
  return at == w->size ? keep(w) : damaged(w, "a Huffman table is incomplete");
}

static kx_image_status restart_interval(walk *w) {
  return w->size == 2 ? keep(w) : damaged(w, "its restart interval has a bad length");
}

/* APP0 and APP14 tell a decoder what the colours mean. */
static kx_image_status colour(walk *w) {
  const char *tag = w->marker == APP0 ? "JFIF" : "Adobe";
  size_t length = strlen(tag);
  const unsigned char *p;

  if (!w->out || w->size < 12) return KX_IMAGE_OK;
  p = kx_cursor_look(w->cursor, w->body, length);
  if (!p) return ended(w);
  if (memcmp(p, tag, length) != 0) return KX_IMAGE_OK;
  if (w->marker != APP0) w->adobe = 1;
  return keep(w);
}

/* APP2: a part of a colour profile is kept as it stands. */
static kx_image_status profile(walk *w) {
  static const unsigned char mark[] = {0xFF, 0xE2};
  const unsigned char *p;

  if (!w->colours || w->scans || w->size < 14) return KX_IMAGE_OK;
  p = kx_cursor_look(w->cursor, w->body, 12);
  if (!p) return ended(w);
  if (memcmp(p, "ICC_PROFILE", 12) != 0) return KX_IMAGE_OK;
  kx_buffer_add(w->colours, mark, 2);
  kx_cursor_copy(w->cursor, w->body - 2, w->size + 2, w->colours);
  return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_OK;
}

static kx_image_status exif(walk *w) {
  const unsigned char *p;

  if (w->info->orientation || w->size < 6) return KX_IMAGE_OK;
  p = kx_cursor_look(w->cursor, w->body, 6);
  if (p && memcmp(p, "Exif\0", 5) == 0) {
    w->info->orientation = kx_exif_orientation(w->cursor, w->body, w->size);
  }
  return w->cursor->error ? KX_IMAGE_UNREADABLE : KX_IMAGE_OK;
}

/* SOF0 … SOF2: size, components and how they are sampled. */
static kx_image_status frame(walk *w) {
  kx_image_info *info = w->info;
  const unsigned char *p;
  int i, h = 1, v = 1;

  if (w->components) return damaged(w, "it has two frame headers");
  if (w->size < 6) return damaged(w, "its frame header has a bad length");
  p = kx_cursor_look(w->cursor, w->body, w->size < 18 ? w->size : 18);
  if (!p) return ended(w);
  info->depth = p[0];
  info->height = KX_BE16(p + 1);
  info->width = KX_BE16(p + 3);
  info->channels = p[5];
  info->layers = w->progressive = w->marker == 0xC2;
  if (w->size != 6 + 3 * (unsigned)p[5]) return damaged(w, "its frame header has a bad length");
  if (info->depth == 12 && w->marker != 0xC0) return odd(w, "it has 12 bits a sample");
  if (info->depth != 8) return damaged(w, "its samples have a bad number of bits");
  if (info->width == 0) return KX_IMAGE_NO_SIZE;
  if (info->height == 0) return odd(w, "its height is told only after the picture (DNL)");
  if (info->channels == 0) return damaged(w, "it has no colour components");
  if (info->channels == 2 || info->channels > 4) {
    return odd(w, "it has neither 1, 3 nor 4 colour components");
  }
  for (i = 0; i < info->channels; i++) {
    part *c = &w->component[i];
    const unsigned char *q = p + 6 + 3 * i;
    c->id = q[0], c->h = q[1] >> 4, c->v = q[1] & 15, c->quant = q[2];
    if (c->h < 1 || c->h > 4 || c->v < 1 || c->v > 4) {
      return damaged(w, "its sampling is not 1 to 4");
    }
    if (c->quant > 3) return damaged(w, "it names a quantization table that cannot be");
    if (c->h > h) h = c->h;
    if (c->v > v) v = c->v;
    info->blocks += c->h * c->v;
  }
  for (i = 0; i < info->channels; i++) {
    if (h % w->component[i].h || v % w->component[i].v) {
      return odd(w, "its colours are sampled at fractional rates");
    }
  }
  w->components = info->channels;
  info->mcu_width = 8 * h;
  info->mcu_height = 8 * v;
  return keep(w);
}

static const char *const odd_frames[16] = {
  /* C3 */ [3] = "it is a lossless JPEG",
  /* C5 */ [5] = "it is a hierarchical JPEG", "it is a hierarchical JPEG",
  "it is a hierarchical JPEG",
  /* C9 */ [9] = "it is an arithmetic-coded JPEG", "it is an arithmetic-coded JPEG",
  "it is an arithmetic-coded lossless JPEG",
  /* CD */ [13] = "it is a hierarchical arithmetic-coded JPEG",
  "it is a hierarchical arithmetic-coded JPEG", "it is a hierarchical arithmetic-coded JPEG"
};

static kx_image_status odd_frame(walk *w) {
  return odd(w, odd_frames[w->marker & 15]);
}

static kx_image_status jpeg_ls(walk *w) {
  return odd(w, "it is a JPEG-LS");
}

static kx_image_status reserved(walk *w) {
  return damaged(w, "it has a segment that is reserved");
}

/* Returns the number of the frame's component with this id, or -1. */
static int find(const walk *w, int id) {
  int i;
  for (i = 0; i < w->components; i++) {
    if (w->component[i].id == id) return i;
  }
  return -1;
}

/* Appends what a file may leave out and decoders take for granted: the standard's Huffman tables
   (cameras' motion JPEG), and that four components are Adobe's inks. */
static void complete(walk *w) {
  static const unsigned char adobe[12] = {'A', 'd', 'o', 'b', 'e', 0, 100};
  int kind, number;

  for (kind = 0; kind < 2 && !w->progressive; kind++) {
    for (number = 0; number < 2; number++) {
      size_t size;
      const unsigned char *table = kx_jpeg_table(kind, number, &size);
      if (w->huffman[kind] & 1u << number) continue;
      supply(w, DHT, table, size);
      w->huffman[kind] |= 1u << number;
    }
  }
  if (w->components == 4 && !w->adobe) supply(w, 0xEE, adobe, sizeof adobe);
  w->adobe = 1;
}

/* Checks that a scan names what was defined: a decoder would use tables it never filled. */
static const char *scan_fault(walk *w, const unsigned char *p) {
  int n = p[0], first = p[1 + 2 * n], last = p[2 + 2 * n], i;
  int high = p[3 + 2 * n] >> 4, low = p[3 + 2 * n] & 15;

  if (w->progressive) {
    if (first > last || last > 63 || (first == 0 && last != 0) || (first != 0 && n != 1) ||
        low > 13 || high > 13) {
      return "a scan has bad parameters";
    }
  } else {
    first = high = 0; /* decoders do not look at what only a progressive JPEG needs */
  }
  for (i = 0; i < n; i++) {
    int which = find(w, p[1 + 2 * i]);
    const part *c = &w->component[which < 0 ? 0 : which];
    unsigned dc = 1u << (p[2 + 2 * i] >> 4), ac = 1u << (p[2 + 2 * i] & 15);
    if (which < 0) return "a scan names a component that is not there";
    if (!(w->quant & 1u << c->quant)) return "a scan needs a quantization table that is not there";
    if (first == 0 && high == 0 && !(w->huffman[0] & dc)) {
      return "a scan needs a Huffman table that is not there";
    }
    if ((first != 0 || !w->progressive) && !(w->huffman[1] & ac)) {
      return "a scan needs a Huffman table that is not there";
    }
    w->scanned |= 1u << which;
  }
  return NULL;
}

/* Copies coded data up to the next marker that is no restart, whose place the cursor takes. */
static kx_image_status copy_scan(walk *w) {
  kx_buffer *out = w->out;
  uint64_t at = w->cursor->at;

  for (;;) {
    uint64_t left = w->cursor->source->size - at;
    size_t want = left < 65536 ? (size_t)left : 65536;
    const unsigned char *p, *q, *end;
    if (!kx_cursor_copy(w->cursor, at, want, out)) return ended(w);
    end = out->bytes + out->size;
    p = q = end - want;
    while ((q = (const unsigned char *)memchr(q, 0xFF, (size_t)(end - q))) != NULL && q + 1 < end) {
      if (q[1] == 0xFF) q++;
      else if (q[1] == 0 || (q[1] >= RST0 && q[1] <= RST7)) q += 2;
      else break;
    }
    if (!q && want < left) { at += want; continue; }
    if (!q) q = end;
    at += (uint64_t)(q - p);
    out->size -= (size_t)(end - q);
    if (q + 1 == end && want < left) continue; /* 0xFF ends the piece: look on from it */
    w->cursor->at = at;
    return KX_IMAGE_OK;
  }
}

static kx_image_status scan(walk *w) {
  static const unsigned char sequential[] = {0, 63, 0};
  const unsigned char *p;
  kx_image_status status;

  if (!w->components) return damaged(w, "a scan comes before the frame header");
  if (w->size < 6) return damaged(w, "a scan header has a bad length");
  p = kx_cursor_look(w->cursor, w->body, w->size < 12 ? w->size : 12);
  if (!p) return ended(w);
  if (p[0] < 1 || p[0] > w->components || w->size != 4 + 2 * (unsigned)p[0]) {
    return damaged(w, "a scan header has a bad length");
  }
  if (!w->out) return KX_IMAGE_OK;
  complete(w);
  w->info->why = scan_fault(w, p);
  if (w->info->why) return KX_IMAGE_DAMAGED;
  if (w->scans == MAX_SCANS) return odd(w, "it has more than the 100 scans that kontext decodes");
  status = keep(w);
  if (status != KX_IMAGE_OK) return status;
  if (!w->progressive) memcpy(w->out->bytes + w->out->size - 3, sequential, 3);
  w->scans++;
  w->cursor->at = w->body + w->size;
  return copy_scan(w);
}

static const struct segment {
  unsigned char first, last;
  kx_image_status (*read)(walk *);
} segments[] = {
  {0xC0, 0xC2, frame},     {0xC4, 0xC4, huffman},      {0xC8, 0xC8, reserved},
  {0xCC, 0xCC, NULL},      {0xC3, 0xCF, odd_frame},    {0xDA, 0xDA, scan},
  {0xDB, 0xDB, quantization}, {0xDD, 0xDD, restart_interval}, {0xE0, 0xE0, colour},
  {0xE1, 0xE1, exif},      {0xE2, 0xE2, profile},      {0xEE, 0xEE, colour},
  {0xF7, 0xF7, jpeg_ls},
};

/* Moves to the next marker and sets it. */
static kx_image_status next_marker(walk *w) {
  for (;;) {
    const unsigned char *p = kx_cursor_peek(w->cursor, 2);
    if (!p) return ended(w);
    if (p[0] != 0xFF || p[1] == 0xFF) {
      kx_cursor_skip(w->cursor, 1);
    } else {
      kx_cursor_skip(w->cursor, 2);
      w->marker = p[1];
      if (p[1] != 0 && p[1] != TEM && (p[1] < RST0 || p[1] > RST7)) return KX_IMAGE_OK;
    }
  }
}

/* Reads one segment after its marker and moves behind it. */
static kx_image_status read_segment(walk *w) {
  const unsigned char *p = kx_cursor_peek(w->cursor, 2);
  kx_image_status status = KX_IMAGE_OK;
  size_t i;

  if (!p) return ended(w);
  if (KX_BE16(p) < 2) return damaged(w, "a segment is shorter than its own length");
  w->size = KX_BE16(p) - 2;
  w->body = w->cursor->at + 2;
  if (!kx_cursor_skip(w->cursor, 2 + w->size)) return KX_IMAGE_CUT;
  for (i = 0; i < sizeof segments / sizeof *segments; i++) {
    if (w->marker >= segments[i].first && w->marker <= segments[i].last) {
      if (segments[i].read) status = segments[i].read(w);
      break;
    }
  }
  return status;
}

/* Reads up to the first scan, or up to the end mark where all is wanted; `good` is what `out` held
   before the last segment. */
static kx_image_status walk_on(walk *w, size_t *good) {
  kx_image_status status;

  do {
    *good = w->out ? w->out->size : 0;
    status = next_marker(w);
    if (status != KX_IMAGE_OK) return status;
    if (w->marker == SOI) return damaged(w, "it begins twice");
    if (w->marker == EOI) {
      return w->scans ? KX_IMAGE_OK : damaged(w, "it ends before its picture begins");
    }
    status = read_segment(w);
  } while (status == KX_IMAGE_OK && (w->marker != SOS || w->out));
  return status;
}

static kx_image_status run(walk *w, size_t *good) {
  kx_image_status status = KX_IMAGE_CUT;

  w->info->orientation = 0; /* none told yet */
  if (kx_cursor_skip(w->cursor, 2)) status = walk_on(w, good);
  if (status != KX_IMAGE_CUT || w->cursor->tired) w->info->pixels = w->body > 2 ? w->body : 2;
  if (!w->info->orientation) w->info->orientation = 1;
  return status;
}

kx_image_status kx_jpeg_header(kx_cursor *cursor, kx_image_info *info) {
  size_t none;
  walk w;

  memset(&w, 0, sizeof w);
  w.cursor = cursor;
  w.info = info;
  return run(&w, &none);
}

kx_image_status kx_jpeg_approve(kx_cursor *cursor, kx_image_info *info, kx_buffer *out,
                                kx_buffer *colours) {
  static const unsigned char start[] = {0xFF, SOI}, end[] = {0xFF, EOI};
  kx_image_status status;
  size_t good = 0;
  walk w;

  memset(&w, 0, sizeof w);
  w.cursor = cursor;
  w.info = info;
  w.out = out;
  w.colours = colours;
  kx_buffer_add(out, start, 2);
  status = run(&w, &good);
  /* Bytes behind the picture are ignored: phones and drones append their own. */
  if ((status == KX_IMAGE_CUT || status == KX_IMAGE_DAMAGED) &&
      w.scanned == (1u << w.components) - 1 && w.scans) {
    out->size = good;
    info->unended = 1;
    status = KX_IMAGE_OK;
  }
  if (status != KX_IMAGE_OK) return status;
  return kx_buffer_add(out, end, 2) ? KX_IMAGE_OK : ended(&w);
}
