/* The picture walks, asked about every picture that differs from a good one in one byte or is cut
   at one: each verdict is whole, and what is approved decodes to the size that was told. */
#include "config.h"

#include "check.h"
#include "file/buffer.h"
#include "picture/walk.h"
#include "picture/picture.h"
#include "emulator/repaint.h"
#include "net/ca_store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#define MEMORY ((uint64_t)8 << 20)
#define ROOM 1024

/* A picture that is being put together. */
typedef struct seed {
  unsigned char bytes[ROOM];
  size_t size;
} seed;

static void add(seed *s, const void *bytes, size_t size) {
  if (s->size + size > ROOM) abort();
  memcpy(s->bytes + s->size, bytes, size);
  s->size += size;
}

#define ADD(s, text) add(s, text, sizeof text - 1)

/* Puts bytes between others. */
static void insert(seed *s, size_t at, const void *bytes, size_t size) {
  seed rest;

  rest.size = 0;
  add(&rest, s->bytes + at, s->size - at);
  s->size = at;
  add(s, bytes, size);
  add(s, rest.bytes, rest.size);
}

/* Returns 1 when the verdict says all that it has to. */
static int whole(kx_image_status status, const kx_image_info *info) {
  if (info->orientation < 0 || info->orientation > 8) return 0;
  switch (status) {
    case KX_IMAGE_OK: return info->width > 0 && info->height > 0 && info->orientation > 0;
    case KX_IMAGE_DAMAGED:
    case KX_IMAGE_ODD: return info->why && *info->why;
    case KX_IMAGE_HUGE: return info->width > 0 && info->height > 0;
    case KX_IMAGE_FOREIGN: return info->format && info->label;
    case KX_IMAGE_CUT:
    case KX_IMAGE_NO_SIZE: return info->format != NULL;
    default: return status == KX_IMAGE_EMPTY || status == KX_IMAGE_UNKNOWN;
  }
}

/* Returns 1 when the walk's verdict is whole and, where it is asked, decoding agrees with it. */
static int agrees(const unsigned char *bytes, size_t size, int decode) {
  kx_image_info info, again;
  kx_picture picture;
  kx_source source;
  kx_image_status status, done;
  int fits = 1;

  kx_source_memory(&source, bytes, size);
  status = kx_image_read(&source, &info);
  if (!whole(status, &info)) return 0;
  if (!decode) return 1;
  done = kx_picture_read(&picture, &source, MEMORY, NULL, &again);
  if (done == KX_IMAGE_OK) {
    fits = (status == KX_IMAGE_OK || status == KX_IMAGE_FOREIGN) &&
           picture.width == (int)info.width && picture.height == (int)info.height;
  } else if (done == KX_IMAGE_DAMAGED || done == KX_IMAGE_ODD) {
    fits = again.why != NULL;
  }
  kx_picture_free(&picture);
  return fits;
}

/* Makes the checksums of a PNG's chunks right again. */
static void mend(seed *s) {
  size_t at = 8;

  while (at + 12 <= s->size) {
    const unsigned char *p = s->bytes + at;
    size_t size = (size_t)p[0] << 24 | (size_t)p[1] << 16 | (size_t)p[2] << 8 | p[3];
    uLong sum;
    if (size > s->size - at - 12) return;
    sum = crc32(0, p + 4, (uInt)size + 4);
    at += size + 12;
    s->bytes[at - 4] = (unsigned char)(sum >> 24), s->bytes[at - 3] = (unsigned char)(sum >> 16);
    s->bytes[at - 2] = (unsigned char)(sum >> 8), s->bytes[at - 1] = (unsigned char)sum;
  }
}

/* Changes each byte to each of many values, and cuts the picture behind each. */
static void vary(const char *name, seed *s, int decode) {
  static const unsigned char few[] = {0,   1,   2,   3,   5,   8,   17,  63,  64,  127,
                                      128, 192, 193, 194, 196, 217, 218, 219, 254, 255};
  int png = s->bytes[0] == 0x89, wrong = 0;
  kx_source source;
  kx_image_info info;
  seed changed;
  size_t i, v;

  if (png) mend(s);

  kx_source_memory(&source, s->bytes, s->size);
  CHECK(name, whole(kx_image_read(&source, &info), &info) && info.width > 0);
  for (i = 0; i < s->size; i++) {
    for (v = 0; v < 256; v++) {
      changed = *s;
      changed.bytes[i] = (unsigned char)v;
      if (png && v % 2) mend(&changed);
      wrong += !agrees(changed.bytes, changed.size, decode && memchr(few, (int)v, sizeof few));
    }
  }
  CHECK("one byte changed: the verdict is whole, and decoding agrees", wrong == 0);
  for (i = 0, wrong = 0; i < s->size; i++) {
    unsigned char *cut = (unsigned char *)malloc(i + 1); /* so that a sanitizer sees its end */
    if (!cut) abort();
    memcpy(cut, s->bytes, i);
    wrong += !agrees(cut, i, decode);
    free(cut);
  }
  CHECK("cut at any byte: the same", wrong == 0);
}

static void paint(seed *s, int png) {
  kx_repaint_options options;
  unsigned char *bytes = NULL;
  const char *why;
  size_t size;

  memset(&options, 0, sizeof options);
  options.width = options.height = 16;
  options.format = png ? KX_REPAINT_PNG : KX_REPAINT_JPEG;
  s->size = 0;
  if (!kx_repaint(&options, &bytes, &size, &why)) abort();
  add(s, bytes, size);
  free(bytes);
}

/* Returns where the marker's byte stands. */
static size_t marker(const seed *s, unsigned char which) {
  size_t at = 2;

  while (at + 4 < s->size && s->bytes[at + 1] != which) {
    at += 2 + ((size_t)s->bytes[at + 2] << 8 | s->bytes[at + 3]);
  }
  return at + 1;
}

static void test_jpeg(void) {
  static const char exif[] = "\xFF\xE1\x00\x22" "Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0"
                             "\x01\0\x06\0\0\0\0\0\0";
  static const char adobe[] = "\xFF\xEE\x00\x0E" "Adobe\0d\0\0\0\0\x01";
  static const char restart[] = "\xFF\xDD\x00\x04\0\0\xFF\xFE\0\x04hi";
  seed s;
  size_t scan;
  int kind;

  paint(&s, 0);
  vary("a JPEG", &s, 1);
  insert(&s, 2, restart, sizeof restart - 1);
  insert(&s, 2, adobe, sizeof adobe - 1);
  insert(&s, 2, exif, sizeof exif - 1);
  s.size = marker(&s, 0xDA) + 40;
  vary("a JPEG with more segments", &s, 0);
  /* Progressive: its scans' parameters are judged when it is decoded. */
  for (kind = 0; kind < 5; kind++) {
    static const unsigned char spans[5][3] = {
        {0, 0, 0}, {1, 5, 0}, {0, 0, 0x10}, {6, 63, 0x21}, {0, 0, 0xEE}};
    paint(&s, 0);
    s.bytes[marker(&s, 0xC0)] = 0xC2;
    scan = marker(&s, 0xDA);
    memcpy(s.bytes + scan + 4 + 6, spans[kind], 3);
    if (spans[kind][0] > 0) { /* one component at a time */
      s.bytes[scan + 2] = 8;
      s.bytes[scan + 3] = 1;
      memcpy(s.bytes + scan + 6, spans[kind], 3);
    }
    s.size = scan + 20;
    ADD(&s, "\xFF\xD9");
    vary("a progressive JPEG", &s, 1);
  }
}

/* Adds a PNG's chunk; its checksum is made right later. */
static void chunk(seed *s, const char *name, const void *bytes, size_t size) {
  unsigned char length[4] = {0, 0, (unsigned char)(size >> 8), (unsigned char)size};

  add(s, length, 4);
  add(s, name, 4);
  add(s, bytes, size);
  ADD(s, "\0\0\0\0");
}

static void test_png(void) {
  static const char exif[] = "II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0";
  static const char grey[] = "\0\0\0\x02\0\0\0\x02\x08\0\0\0";
  static const char indexed[] = "\0\0\0\x02\0\0\0\x02\x08\x03\0\0";
  static const char rows[] = "\x78\x01\x01\x06\0\xF9\xFF\0\0\0\0\0\0\0\x06\0\x01";
  seed s;

  paint(&s, 1);
  vary("a PNG", &s, 1);
  s.size = 8;
  chunk(&s, "IHDR", grey, 13);
  chunk(&s, "tRNS", "\0\x01", 2);
  chunk(&s, "eXIf", exif, sizeof exif - 1);
  chunk(&s, "IDAT", rows, 9);
  chunk(&s, "IDAT", rows + 9, sizeof rows - 10);
  chunk(&s, "IEND", "", 0);
  vary("a grey PNG", &s, 1);
  s.size = 8;
  chunk(&s, "IHDR", indexed, 13);
  chunk(&s, "PLTE", "\0\0\0\x01\x01\x01", 6);
  chunk(&s, "tRNS", "\0\x01", 2);
  chunk(&s, "tEXt", "k\0v", 3);
  chunk(&s, "IDAT", rows, sizeof rows - 1);
  chunk(&s, "IEND", "", 0);
  vary("a PNG with a palette", &s, 1);
}

static void test_webp(void) {
  static const char exif[] = "EXIF\x16\0\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0"
                             "\x01\0\0\0\x08\0\0\0";
  seed s;

  s.size = 0;
  ADD(&s, "RIFF\x16\0\0\0WEBPVP8 \x0A\0\0\0\0\0\0\x9D\x01\x2A\x02\0\x02\0");
  vary("a lossy WebP", &s, 0);
  s.size = 0;
  ADD(&s, "RIFF\x12\0\0\0WEBPVP8L\x05\0\0\0\x2F\x01\x40\0\0\0");
  vary("a lossless WebP", &s, 0);
  s.size = 0;
  ADD(&s, "RIFF\x52\0\0\0WEBPVP8X\x0A\0\0\0\x18\0\0\0\x01\0\0\x01\0\0");
  ADD(&s, "ANMF\x02\0\0\0\0\0VP8L\x05\0\0\0\x2F\x01\x40\0\0\0");
  add(&s, exif, sizeof exif - 1);
  s.bytes[4] = (unsigned char)(s.size - 8);
  vary("an extended WebP", &s, 0);
}

/* A BMP's two headers, then what follows them. */
static void bmp(seed *s, int bits, int method, int height, int palette, const char *rest,
                size_t n) {
  unsigned char head[54] = {'B', 'M'};

  head[10] = (unsigned char)(54 + 4 * palette + (method ? 12 : 0));
  head[14] = 40, head[18] = 2, head[26] = 1;
  head[22] = (unsigned char)height;
  if (height < 0) memset(head + 23, 255, 3);
  head[28] = (unsigned char)bits;
  head[30] = (unsigned char)method;
  head[46] = (unsigned char)palette;
  s->size = 0;
  add(s, head, sizeof head);
  add(s, rest, n);
}

static void test_bmp(void) {
  static const char masks[] = "\0\0\xFF\0\0\xFF\0\0\xFF\0\0\0" "abcdefghijklmnop";
  static const char colours[] = "abc\0def\0" "\0\x01\0\0\x01\0\0\0";
  seed s;

  bmp(&s, 24, 0, 2, 0, "abcdef\0\0ghijkl\0\0", 16);
  vary("a BMP", &s, 1);
  bmp(&s, 32, 3, -2, 0, masks, sizeof masks - 1);
  vary("a BMP from its top", &s, 1);
  bmp(&s, 8, 0, 2, 2, colours, sizeof colours - 1);
  vary("a BMP with a palette", &s, 1);
}

/* Which directories of certificates OpenSSL can look names up in. */
static void test_trust(void) {
  static const char *const names[] = {"4042bcee.0", "4042bceg.0", "4042bcee,0", "4042bcee.x",
                                      "4042"};
  char folder[] = "/tmp/kontext-walk-XXXXXX", path[64];
  size_t i;

  if (!mkdtemp(folder)) abort();
  for (i = sizeof names / sizeof *names; i-- > 0;) {
    FILE *file;
    snprintf(path, sizeof path, "%s/%s", folder, names[i]);
    file = fopen(path, "w");
    if (!file) abort();
    fclose(file);
    CHECK("a directory is hashed when a name in it is a hash",
          kx_ca_store_hashed(folder) == (i == 0));
    unlink(path);
  }
  CHECK("no directory is none that is hashed", !kx_ca_store_hashed(NULL) &&
        !kx_ca_store_hashed("/no"));
  rmdir(folder);
}

int main(void) {
  test_jpeg();
  test_png();
  test_webp();
  test_bmp();
  test_trust();
  return report();
}
