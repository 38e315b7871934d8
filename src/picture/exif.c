#include "config.h"

#include "picture/exif.h"

#include <string.h>

#define ORIENTATION 0x0112
#define SHORT 3
#define MAX_ENTRIES 64 /* cameras write some fifteen */

int kx_exif_orientation(kx_cursor *cursor, uint64_t offset, uint64_t size) {
  uint64_t end = offset + size, at;
  const unsigned char *p;
  unsigned little, entries, i;

#define U16(q) (little ? KX_LE16(q) : KX_BE16(q))
#define U32(q) (little ? KX_LE32(q) : KX_BE32(q))
  if (size < 14 || !(p = kx_cursor_look(cursor, offset, 14))) return 1;
  if (memcmp(p, "Exif\0", 5) == 0) p += 6, offset += 6;
  if (memcmp(p, "II*", 4) != 0 && memcmp(p, "MM\0*", 4) != 0) return 1;
  little = p[0] == 'I';
  at = offset + U32(p + 4);
  if (at + 2 > end || !(p = kx_cursor_look(cursor, at, 2))) return 1;
  entries = U16(p);
  for (i = 0, at += 2; i < entries && i < MAX_ENTRIES && at + 12 <= end; i++, at += 12) {
    if (!(p = kx_cursor_look(cursor, at, 12))) return 1;
    if (U16(p) == ORIENTATION) {
      unsigned value = U16(p + 8);
      return U16(p + 2) == SHORT && value >= 1 && value <= 8 ? (int)value : 1;
    }
  }
#undef U16
#undef U32
  return 1;
}
