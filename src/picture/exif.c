#include "config.h"

#include "picture/exif.h"

#include <string.h>

#define ORIENTATION 0x0112
#define MAX_ENTRIES 1024 /* cameras write some fifteen */

/* By type: the bytes of a value that is a whole number. */
static const unsigned char widths[10] = {
  /* BYTE */ [1] = 1, /* SHORT */ [3] = 2, /* LONG */ [4] = 4, /* and signed */ [6] = 1, [8] = 2,
  [9] = 4
};

/* The two letters and the number after them; some writers have that the wrong way round. */
static int begins(const unsigned char *p) {
  return memcmp(p, "II*", 4) == 0 || memcmp(p, "MM\0*", 4) == 0 || memcmp(p, "II\0*", 4) == 0 ||
         memcmp(p, "MM*", 4) == 0;
}

int kx_exif_orientation(kx_cursor *cursor, uint64_t offset, uint64_t size) {
  uint64_t end = offset + size, at;
  const unsigned char *p;
  unsigned little, entries, i;

#define U16(q) (little ? KX_LE16(q) : KX_BE16(q))
#define U32(q) (little ? KX_LE32(q) : KX_BE32(q))
  if (size < 14 || !(p = kx_cursor_look(cursor, offset, 14))) return 1;
  if (memcmp(p, "Exif\0", 5) == 0) p += 6, offset += 6;
  if (!begins(p)) return 1;
  little = p[0] == 'I';
  at = offset + U32(p + 4);
  if (at + 2 > end || !(p = kx_cursor_look(cursor, at, 2))) return 1;
  entries = U16(p);
  for (i = 0, at += 2; i < entries && i < MAX_ENTRIES && at + 12 <= end; i++, at += 12) {
    if (!(p = kx_cursor_look(cursor, at, 12))) return 1;
    if (U16(p) == ORIENTATION) {
      unsigned type = U16(p + 2), width = type < sizeof widths ? widths[type] : 0;
      uint32_t value = width == 1 ? p[8] : width == 2 ? U16(p + 8) : width == 4 ? U32(p + 8) : 0;
      uint32_t count = U32(p + 4); /* more than fit into the entry stand elsewhere */
      return count <= 4 && count * width <= 4 && value >= 1 && value <= 8 ? (int)value : 1;
    }
  }
#undef U16
#undef U32
  return 1;
}
