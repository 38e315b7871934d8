#include "config.h"

#include "region/exif_edit.h"

#include "picture/cursor.h"

#include <string.h>

#define MAX_ENTRIES 512

enum {
  WIDTH = 0x0100, HEIGHT = 0x0101, THUMBNAIL = 0x0201, THUMBNAIL_SIZE = 0x0202,
  EXIF = 0x8769, GPS = 0x8825, PIXEL_WIDTH = 0xA002, PIXEL_HEIGHT = 0xA003
};

/* What says where a picture was taken, by whom and with which very camera. */
static const unsigned short personal[] = {
  0x02BC /* XMP */, 0x83BB /* IPTC */, 0x8649 /* Photoshop */, GPS, 0x927C /* MakerNote */,
  0xA420 /* ImageUniqueID */, 0xA430 /* CameraOwnerName */, 0xA431 /* BodySerialNumber */,
  0xA435 /* LensSerialNumber */, 0xC62F /* CameraSerialNumber */, 0xC634 /* DNGPrivateData */,
  0xC65D /* RawDataUniqueID */, 0xFDE8 /* OwnerName */, 0xFDE9 /* SerialNumber */
};

typedef struct block {
  unsigned char *bytes;
  size_t size;
  int little;
} block;

static unsigned get16(const block *b, size_t at) {
  return b->little ? KX_LE16(b->bytes + at) : KX_BE16(b->bytes + at);
}

static uint32_t get32(const block *b, size_t at) {
  return b->little ? KX_LE32(b->bytes + at) : KX_BE32(b->bytes + at);
}

static void put(block *b, size_t at, size_t n, uint32_t value) {
  size_t i;

  for (i = 0; i < n; i++) {
    b->bytes[at + i] = (unsigned char)(value >> 8 * (b->little ? i : n - 1 - i));
  }
}

/* Returns how many entries the directory at `at` has, which lie in the block, or -1. */
static int count_entries(const block *b, size_t at) {
  unsigned count;

  if (at < 8 || at > b->size || b->size - at < 2) return -1;
  count = get16(b, at);
  if (count > MAX_ENTRIES || (b->size - at - 2) / 12 < count) return -1;
  return (int)count;
}

static void clear(block *b, size_t at, size_t n) {
  if (at < 8 || at >= b->size) return;
  memset(b->bytes + at, 0, n < b->size - at ? n : b->size - at);
}

/* Clears what an entry says outside of itself. */
static void clear_value(block *b, size_t entry) {
  static const unsigned char sizes[14] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4};
  unsigned type = get16(b, entry + 2);
  uint64_t n = type < 14 ? (uint64_t)sizes[type] * get32(b, entry + 4) : 0;

  if (n > 4 && n <= b->size) clear(b, get32(b, entry + 8), (size_t)n);
}

/* Clears a directory with all that its entries say. */
static void clear_directory(block *b, size_t at) {
  int count = count_entries(b, at), i;

  for (i = 0; i < count; i++) clear_value(b, at + 2 + (size_t)i * 12);
  if (count >= 0) clear(b, at, 2 + (size_t)count * 12 + 4);
}

static int is_personal(unsigned tag) {
  size_t i;

  for (i = 0; i < sizeof personal / sizeof *personal; i++) {
    if (personal[i] == tag) return 1;
  }
  return 0;
}

/* Takes entry `i` out of the directory, whose next entries and link move up. */
static void remove_entry(block *b, size_t directory, int i, int count) {
  size_t entry = directory + 2 + (size_t)i * 12, rest = (size_t)(count - i - 1) * 12;
  size_t link = b->size - (entry + 12 + rest) >= 4 ? 4 : 0;

  clear_value(b, entry);
  memmove(b->bytes + entry, b->bytes + entry + 12, rest + link);
  memset(b->bytes + entry + rest + link, 0, 12);
  put(b, directory, 2, (uint32_t)(count - 1));
}

/* Makes a size true, where the entry tells it in a usual way. */
static void set_size(block *b, size_t entry, int value) {
  unsigned type = get16(b, entry + 2);

  if (get32(b, entry + 4) != 1) return;
  if (type == 3 && value < 65536) {
    put(b, entry + 8, 2, (uint32_t)value);
  } else if (type == 4) {
    put(b, entry + 8, 4, (uint32_t)value);
  }
}

/* Edits one directory; `*exif` is set where it links to the camera's. Returns 0 where it is
   damaged. */
static int edit_directory(const kx_exif_edit *edit, block *b, size_t at, size_t *exif) {
  int count = count_entries(b, at), i = 0;

  if (count < 0) return 0;
  while (i < count) {
    size_t entry = at + 2 + (size_t)i * 12;
    unsigned tag = get16(b, entry);
    if (tag == WIDTH || tag == PIXEL_WIDTH) set_size(b, entry, edit->width);
    if (tag == HEIGHT || tag == PIXEL_HEIGHT) set_size(b, entry, edit->height);
    if (tag == EXIF && exif) *exif = get32(b, entry + 8);
    if (edit->strip && is_personal(tag)) {
      if (tag == GPS) clear_directory(b, get32(b, entry + 8));
      remove_entry(b, at, i, count--);
    } else {
      i++;
    }
  }
  return 1;
}

/* Removes the directory behind the first, which is the thumbnail's, and the thumbnail. */
static void drop_thumbnail(block *b, size_t first) {
  int count = count_entries(b, first), entries, i;
  size_t link = first + 2 + (size_t)(count < 0 ? 0 : count) * 12, directory, start = 0, size = 0;

  if (count < 0 || b->size - link < 4) return;
  directory = get32(b, link);
  entries = directory ? count_entries(b, directory) : -1;
  put(b, link, 4, 0);
  for (i = 0; i < entries; i++) {
    size_t entry = directory + 2 + (size_t)i * 12;
    if (get16(b, entry) == THUMBNAIL) start = get32(b, entry + 8);
    if (get16(b, entry) == THUMBNAIL_SIZE) size = get32(b, entry + 8);
  }
  if (entries < 0) return;
  clear_directory(b, directory);
  clear(b, start, size);
  if (size > 0 && start >= 8 && start < b->size && size >= b->size - start) b->size = start;
}

int kx_exif_apply(const kx_exif_edit *edit, unsigned char *bytes, size_t *size) {
  block b;
  size_t first, exif = 0;
  int good;

  b.bytes = bytes;
  b.size = *size;
  if (b.size < 14 || (memcmp(bytes, "II*\0", 4) != 0 && memcmp(bytes, "MM\0*", 4) != 0)) return 0;
  b.little = bytes[0] == 'I';
  first = get32(&b, 4);
  good = edit_directory(edit, &b, first, &exif);
  if (good && exif) good = edit_directory(edit, &b, exif, NULL);
  if (good) drop_thumbnail(&b, first);
  *size = b.size;
  return good;
}

size_t kx_exif_orientation_only(int orientation, unsigned char to[26]) {
  static const unsigned char block_bytes[26] = {
    'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0
  };

  memcpy(to, block_bytes, sizeof block_bytes);
  to[19] = (unsigned char)orientation;
  return sizeof block_bytes;
}
