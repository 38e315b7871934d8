/* What files need beyond the system's calls: whole writes, and syncs that an interrupt does not end. */
#ifndef KX_FILE_H
#define KX_FILE_H

#include <stddef.h>

/* Writes all bytes; returns 0 or an errno. */
int kx_write_all(int fd, const void *bytes, size_t size);

/* Appends a line to a file opened with O_APPEND, whole or not at all: what cannot be taken back is a
   torn line, after which the next one begins on a line of its own. Returns 0 or an errno. */
int kx_append(int fd, const void *line, size_t size);

/* Syncs a file; returns 0 or an errno. */
int kx_sync(int fd);

/* Syncs a directory, for the names in it; returns 0, also where a file system cannot, or an errno. */
int kx_sync_directory(int fd);

/* Where a file stands: its directory, held open so that one that is swapped for another does not lead
   the file astray, and its name in there. */
typedef struct kx_place {
  int directory;
  char *name;
} kx_place;

/* Opens the place that `path` names; returns 0 or an errno: EISDIR where the path can only be a
   directory's. Close it in either case. */
int kx_place_open(kx_place *place, const char *path);

/* Opens the same place once more; returns 0 or an errno. Close it in either case. */
int kx_place_copy(kx_place *place, const kx_place *from);

void kx_place_close(kx_place *place);

#endif
