#include "config.h"

#include "region/metadata.h"

#include "picture/exif.h"
#include "picture/jpeg.h"
#include "region/exif_edit.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SEGMENTS 512
#define MAX_PROFILE ((size_t)4 << 20)
#define SEGMENT_MAX 65533
#define PROFILE_PART 65519 /* of a profile in one segment */

static const char no_memory[] = "there is not enough memory";
static const char unreadable[] = "it cannot be read";

enum {
  APP0 = 0xE0, APP1 = 0xE1, APP2 = 0xE2, APP11 = 0xEB, APP14 = 0xEE, APP15 = 0xEF, COM = 0xFE
};

/* A segment of a JPEG: its marker and what stands behind the length. */
typedef struct segment {
  int marker;
  uint64_t body;
  size_t size;
} segment;

/* Moves to the next segment from `*at` (begin with 2); returns 1, or 0 at the first scan, the end,
   or what is no segment. */
static int next_segment(kx_cursor *cursor, uint64_t *at, segment *s) {
  const unsigned char *p;
  int stray;

  for (stray = 0; stray < 4096; stray++, ++*at) {
    p = kx_cursor_look(cursor, *at, 4);
    if (!p) return 0;
    if (p[0] != 0xFF || p[1] == 0xFF || p[1] == 0 || (p[1] >= 0xD0 && p[1] <= 0xD8)) continue;
    if (p[1] == 0xD9 || p[1] == 0xDA || KX_BE16(p + 2) < 2) return 0;
    s->marker = p[1];
    s->size = KX_BE16(p + 2) - 2u;
    s->body = *at + 4;
    *at = s->body + s->size;
    return 1;
  }
  return 0;
}

static int starts(kx_cursor *cursor, const segment *s, const char *tag, size_t n) {
  const unsigned char *p = s->size >= n ? kx_cursor_look(cursor, s->body, n) : NULL;

  return p && memcmp(p, tag, n) == 0;
}

#define STARTS(cursor, s, tag) starts(cursor, s, tag, sizeof(tag) - 1)

/* Adds a segment of these bytes. */
static void add_segment(kx_buffer *out, int marker, const void *bytes, size_t size) {
  unsigned char head[4];

  head[0] = 0xFF, head[1] = (unsigned char)marker;
  head[2] = (unsigned char)((size + 2) >> 8), head[3] = (unsigned char)(size + 2);
  kx_buffer_add(out, head, 4);
  kx_buffer_add(out, bytes, size);
}

/* Returns 1 where a block of Exif tells this orientation: a stripped picture has no other that
   would. */
static int tells(const unsigned char *bytes, size_t size, int orientation) {
  kx_source source;
  kx_cursor cursor;

  kx_source_memory(&source, bytes, size);
  kx_cursor_begin(&cursor, &source);
  return kx_exif_orientation(&cursor, 0, size) == orientation;
}

/* Adds an Exif segment, edited; where it cannot be, it stays as it is or, if it is to be without
   place and names, is left out. Returns 1 where it was added. */
static int add_exif(kx_cursor *cursor, const segment *s, const kx_image_info *info,
                    kx_metadata how, kx_buffer *out) {
  kx_exif_edit edit;
  kx_buffer copy = {NULL, 0, 0, SEGMENT_MAX, 0};
  size_t size;
  int added = 0;

  edit.strip = how == KX_METADATA_STRIP;
  edit.width = (int)info->width;
  edit.height = (int)info->height;
  if (kx_cursor_copy(cursor, s->body, s->size, &copy) && copy.size > 6) {
    size = copy.size - 6;
    if ((kx_exif_apply(&edit, copy.bytes + 6, &size) &&
         tells(copy.bytes + 6, size, info->orientation)) ||
        !edit.strip) {
      add_segment(out, APP1, copy.bytes, size + 6);
      added = 1;
    }
  }
  kx_buffer_free(&copy);
  return added;
}

/* Returns 1 where a segment that is no Exif is to stay. */
static int stays(kx_cursor *cursor, const segment *s, kx_metadata how, unsigned *dropped) {
  if (s->marker == APP0 && STARTS(cursor, s, "JFXX\0")) return 0; /* a thumbnail */
  if (s->marker == APP0) return STARTS(cursor, s, "JFIF\0") || how == KX_METADATA_KEEP;
  if (s->marker == APP14 && STARTS(cursor, s, "Adobe")) return 1;
  if (s->marker == APP2 && STARTS(cursor, s, "ICC_PROFILE\0")) return 1;
  if (how != KX_METADATA_KEEP) return 0;
  if (s->marker == APP11 && STARTS(cursor, s, "JP")) { /* signed for the untouched picture */
    *dropped |= KX_DROPPED_CREDENTIALS;
    return 0;
  }
  /* Further pictures behind the first, by their distance from here. */
  return s->marker != APP2 || !STARTS(cursor, s, "MPF\0");
}

const char *kx_jpeg_segments(const kx_source *source, const kx_image_info *info, kx_metadata how,
                             kx_buffer *out, unsigned *dropped) {
  unsigned char upright[32] = "Exif\0";
  uint64_t at = 2;
  kx_cursor cursor;
  segment s;
  int count, told = 0;

  kx_cursor_begin(&cursor, source);
  for (count = 0; count < MAX_SEGMENTS && next_segment(&cursor, &at, &s); count++) {
    if (s.marker != COM && (s.marker < APP0 || s.marker > APP15)) continue;
    if (s.marker == APP1 && STARTS(&cursor, &s, "Exif\0")) {
      if (how != KX_METADATA_NONE && add_exif(&cursor, &s, info, how, out)) told = 1;
    } else if (stays(&cursor, &s, how, dropped)) {
      unsigned char head[2] = {0xFF, 0};
      head[1] = (unsigned char)s.marker;
      kx_buffer_add(out, head, 2);
      if (!kx_cursor_copy(&cursor, s.body - 2, s.size + 2, out) && cursor.error) return unreadable;
    }
  }
  if (!told && info->orientation > 1) {
    (void)kx_exif_orientation_only(info->orientation, upright + 6);
    add_segment(out, APP1, upright, sizeof upright);
  }
  return out->error ? no_memory : NULL;
}

/* PNG ----------------------------------------------------------------------------------------- */

int kx_png_chunk_stays(const kx_png_chunk *chunk, kx_metadata how, unsigned *dropped) {
  /* What the pixels mean. */
  static const char *const needed[] = {"IHDR", "PLTE", "IDAT", "IEND", "tRNS", "gAMA", "cHRM",
                                       "sRGB", "iCCP", "cICP", "sBIT", "bKGD", "hIST", "pHYs",
                                       "eXIf", "acTL", "fcTL", "fdAT"};
  size_t i;

  if (memcmp(chunk->name, "caBX", 4) == 0) {
    *dropped |= KX_DROPPED_CREDENTIALS;
    return 0;
  }
  if (how == KX_METADATA_KEEP) return 1;
  for (i = 0; i < sizeof needed / sizeof *needed; i++) {
    if (memcmp(chunk->name, needed[i], 4) == 0) return 1;
  }
  return 0;
}

int kx_png_exif(const kx_png *png, const kx_png_chunk *chunk, kx_metadata how, int orientation,
                kx_buffer *out) {
  unsigned char upright[26];
  kx_exif_edit edit;
  kx_cursor cursor;
  size_t start = out->size, size = chunk ? chunk->size : 0;

  edit.strip = how == KX_METADATA_STRIP;
  edit.width = png->width;
  edit.height = png->height;
  kx_cursor_begin(&cursor, png->source);
  if (how != KX_METADATA_NONE && size > 0 && size <= MAX_PROFILE &&
      kx_cursor_copy(&cursor, chunk->body, size, out) &&
      ((kx_exif_apply(&edit, out->bytes + start, &size) &&
        tells(out->bytes + start, size, orientation)) ||
       !edit.strip)) {
    out->size = start + size;
    return 1;
  }
  out->size = start;
  if (orientation <= 1) return 0;
  return kx_buffer_add(out, upright, kx_exif_orientation_only(orientation, upright));
}

int kx_png_lacks_exif(const kx_png *png, kx_metadata how, int orientation) {
  kx_png_chunk chunk;
  uint64_t at = 0;

  if (how == KX_METADATA_KEEP || orientation <= 1) return 0;
  while (kx_png_next_chunk(png->source, &at, &chunk) == 1) {
    if (memcmp(chunk.name, "eXIf", 4) == 0) return 0;
  }
  return 1;
}

/* Colour profiles ----------------------------------------------------------------------------- */

static void read_jpeg_profile(const kx_source *source, kx_buffer *out) {
  segment parts[256], s;
  uint64_t at = 2;
  kx_cursor cursor;
  int count, i, last = 0;

  memset(parts, 0, sizeof parts);
  kx_cursor_begin(&cursor, source);
  for (count = 0; count < MAX_SEGMENTS && next_segment(&cursor, &at, &s); count++) {
    const unsigned char *p;
    if (s.marker != APP2 || s.size < 14 || !STARTS(&cursor, &s, "ICC_PROFILE\0")) continue;
    p = kx_cursor_look(&cursor, s.body, 14);
    if (!p) continue;
    parts[p[12]] = s;
    if (p[12] > last) last = p[12];
  }
  for (i = 1; i <= last; i++) { /* with a part missing it is none */
    if (!parts[i].marker || !kx_cursor_copy(&cursor, parts[i].body + 14, parts[i].size - 14, out)) {
      out->size = 0;
      return;
    }
  }
}

/* Inflates the profile that stands behind the name's NUL and the method. */
static void read_png_profile(const kx_source *source, const kx_png_chunk *chunk, kx_buffer *out) {
  kx_buffer packed = {NULL, 0, 0, MAX_PROFILE, 0};
  const unsigned char *name_end;
  kx_cursor cursor;
  z_stream z;
  int status = Z_OK;

  memset(&z, 0, sizeof z);
  kx_cursor_begin(&cursor, source);
  if (chunk->size <= MAX_PROFILE && kx_cursor_copy(&cursor, chunk->body, chunk->size, &packed) &&
      (name_end = (const unsigned char *)memchr(packed.bytes, 0, packed.size)) != NULL &&
      name_end + 2 < packed.bytes + packed.size && inflateInit(&z) == Z_OK) {
    size_t offset = (size_t)(name_end + 2 - packed.bytes);
    z.next_in = packed.bytes + offset;
    z.avail_in = (uInt)(packed.size - offset);
    while (status == Z_OK) {
      z.next_out = kx_buffer_room(out, 16384);
      z.avail_out = 16384;
      if (!z.next_out) break;
      status = inflate(&z, Z_NO_FLUSH);
      out->size += 16384 - z.avail_out;
    }
    inflateEnd(&z);
  }
  if (status != Z_STREAM_END) out->size = 0;
  kx_buffer_free(&packed);
}

void kx_profile_read(const kx_source *source, const kx_image_info *info, kx_buffer *out) {
  kx_png_chunk chunk;
  uint64_t at = 0;
  int count;

  out->cap = MAX_PROFILE;
  if (info->mcu_width) {
    read_jpeg_profile(source, out);
    return;
  }
  for (count = 0; count < MAX_SEGMENTS && kx_png_next_chunk(source, &at, &chunk) == 1; count++) {
    if (memcmp(chunk.name, "IDAT", 4) == 0) return;
    if (memcmp(chunk.name, "iCCP", 4) == 0) {
      read_png_profile(source, &chunk, out);
      return;
    }
  }
}

/* Adds the profile as a JPEG's segments. */
static void profile_segments(const kx_buffer *profile, kx_buffer *out) {
  static const char profile_tag[12] = {'I', 'C', 'C', '_', 'P', 'R', 'O', 'F', 'I', 'L', 'E', '\0'};
  size_t parts = (profile->size + PROFILE_PART - 1) / PROFILE_PART, i, at = 0;
  unsigned char *part = (unsigned char *)malloc(SEGMENT_MAX);

  if (!part) {
    out->error = 1;
    return;
  }
  for (i = 1; i <= parts && parts < 256; i++) {
    size_t n = profile->size - at < PROFILE_PART ? profile->size - at : PROFILE_PART;
    memcpy(part, profile_tag, sizeof profile_tag);
    part[12] = (unsigned char)i, part[13] = (unsigned char)parts;
    memcpy(part + 14, profile->bytes + at, n);
    add_segment(out, APP2, part, n + 14);
    at += n;
  }
  free(part);
}

static void put32(unsigned char *to, uint32_t value) {
  to[0] = (unsigned char)(value >> 24), to[1] = (unsigned char)(value >> 16);
  to[2] = (unsigned char)(value >> 8), to[3] = (unsigned char)value;
}

/* Adds the profile as a PNG's chunk. */
static void profile_chunk(const kx_buffer *profile, kx_buffer *out) {
  static const char name[] = "iCCPprofile\0"; /* the last NUL is the method */
  uLongf packed = compressBound((uLong)profile->size);
  unsigned char word[4] = {0, 0, 0, 0}, *to;
  size_t start = out->size;

  kx_buffer_add(out, word, 4);
  kx_buffer_add(out, name, sizeof name);
  to = kx_buffer_room(out, packed);
  if (!to || compress(to, &packed, profile->bytes, (uLong)profile->size) != Z_OK) {
    if (!out->error) out->error = 1;
    return;
  }
  out->size += packed;
  put32(out->bytes + start, (uint32_t)(out->size - start - 8));
  put32(word, (uint32_t)crc32(0, out->bytes + start + 4, (uInt)(out->size - start - 4)));
  kx_buffer_add(out, word, 4);
}

int kx_profile_insert(kx_buffer *picture, int png, const kx_buffer *profile) {
  kx_buffer all = {NULL, 0, 0, 0, 0};
  size_t head = png ? 33 : 2; /* behind the header; behind the start and JFIF */

  /* The window is RGB, also of a grey picture: there a profile of greys makes no sense. */
  if (profile->size < 128 || memcmp(profile->bytes + 16, "RGB ", 4) != 0) return 1;
  if (picture->size < 40) return 1;
  if (!png && picture->bytes[2] == 0xFF && picture->bytes[3] == APP0) {
    head += 2 + KX_BE16(picture->bytes + 4);
    if (head > picture->size) return 1;
  }
  all.cap = picture->size + profile->size * 2 + 65536;
  kx_buffer_add(&all, picture->bytes, head);
  if (png) profile_chunk(profile, &all);
  else profile_segments(profile, &all);
  kx_buffer_add(&all, picture->bytes + head, picture->size - head);
  if (all.error) {
    kx_buffer_free(&all);
    return 0;
  }
  kx_buffer_free(picture);
  *picture = all;
  return 1;
}

/* Stripping ----------------------------------------------------------------------------------- */

static const char *strip_jpeg(const kx_source *source, const kx_image_info *info, kx_buffer *out) {
  kx_buffer approved = {NULL, 0, 0, 0, 0};
  kx_image_info again = *info;
  kx_cursor cursor;
  kx_source copy;
  kx_image_status status;
  const char *why = NULL;
  unsigned dropped = 0;
  segment s;
  uint64_t at = 2, from = 2;

  again.blocks = 0;
  approved.cap = (size_t)source->size + 2048;
  kx_cursor_begin(&cursor, source);
  cursor.reads = UINT_MAX;
  status = kx_jpeg_approve(&cursor, &again, &approved, NULL);
  if (status != KX_IMAGE_OK) why = again.why ? again.why : "it is cut or cannot be read";
  if (!why) {
    kx_buffer_add(out, "\xFF\xD8", 2);
    why = kx_jpeg_segments(source, info, KX_METADATA_STRIP, out, &dropped);
  }
  if (!why) {
    kx_source_memory(&copy, approved.bytes, approved.size);
    kx_cursor_begin(&cursor, &copy);
    while (next_segment(&cursor, &at, &s)) { /* JFIF's and Adobe's were among the segments */
      if (s.marker >= APP0 && s.marker <= APP15) {
        kx_buffer_add(out, approved.bytes + from, (size_t)(s.body - 4 - from));
        from = at;
      }
    }
    kx_buffer_add(out, approved.bytes + from, approved.size - (size_t)from);
    if (out->error) why = no_memory;
  }
  kx_buffer_free(&approved);
  return why;
}

/* Adds a stripped eXIf chunk, made from one of the file's or NULL, where it is to be there. */
static void strip_exif(const kx_png *png, const kx_png_chunk *chunk, int orientation,
                       kx_buffer *out) {
  size_t start = out->size;
  unsigned char word[4];

  kx_buffer_add(out, "\0\0\0\0eXIf", 8);
  if (out->error || !kx_png_exif(png, chunk, KX_METADATA_STRIP, orientation, out)) {
    out->size = start;
    return;
  }
  put32(out->bytes + start, (uint32_t)(out->size - start - 8));
  put32(word, (uint32_t)crc32(0, out->bytes + start + 4, (uInt)(out->size - start - 4)));
  kx_buffer_add(out, word, 4);
}

static const char *strip_png(const kx_source *source, int orientation,
                             kx_buffer *out) {
  kx_png png;
  kx_png_chunk chunk;
  kx_cursor cursor;
  uint64_t at = 0;
  unsigned dropped = 0;
  const char *why = kx_png_read_head(&png, source);
  int more = 1, lacks_exif = !why && kx_png_lacks_exif(&png, KX_METADATA_STRIP, orientation);

  kx_cursor_begin(&cursor, source);
  cursor.reads = UINT_MAX;
  if (!why && !kx_cursor_copy(&cursor, 0, 8, out)) why = unreadable;
  while (!why && (more = kx_png_next_chunk(source, &at, &chunk)) == 1) {
    if (!kx_png_chunk_stays(&chunk, KX_METADATA_STRIP, &dropped)) continue;
    if (memcmp(chunk.name, "eXIf", 4) == 0) {
      strip_exif(&png, &chunk, orientation, out);
      continue;
    }
    if (!kx_cursor_copy(&cursor, chunk.body - 8, (size_t)chunk.size + 12, out)) why = unreadable;
    if (memcmp(chunk.name, "IHDR", 4) == 0 && lacks_exif) strip_exif(&png, NULL, orientation, out);
  }
  if (!why && more < 0) why = "it is damaged or cut";
  return out->error ? no_memory : why;
}

const char *kx_strip(const kx_source *source, const kx_image_info *info, kx_buffer *out) {
  if (info->mcu_width) return strip_jpeg(source, info, out);
  if (strcmp(info->format, "png") == 0) return strip_png(source, info->orientation, out);
  return "its format cannot be stripped here: convert it to JPEG or PNG";
}
