/* Whole writes, and syncs that a signal does not interrupt; and places, where files are put. */
#ifndef KX_PLACE_H
#define KX_PLACE_H

#include <stddef.h>
#include <sys/types.h>

/* Writes all bytes; returns 0 or an errno. */
int kx_write_all(int fd, const void *bytes, size_t size);

/* Appends a line to a file opened with O_APPEND, whole or not at all. If a torn line cannot be
   removed, the next one begins on a line of its own. Returns 0 or an errno. */
int kx_append(int fd, const void *line, size_t size);

/* Syncs a file; returns 0 or an errno. */
int kx_sync(int fd);

/* Syncs a directory, for the names in it; returns 0, also if the file system cannot, or an errno.
   */
int kx_sync_directory(int fd);

/* Locks the open file for this process alone, without waiting; returns 0 or an errno: EWOULDBLOCK
   when another holds it, ENOLCK when the file system has no locks. Closing the file unlocks it. */
int kx_lock(int fd);

/* The place of a file: its directory, held open so that swapping it for another does not redirect
   the file, and its name in it. */
typedef struct kx_place {
  int directory;
  char *name;
} kx_place;

/* Opens the place that `path` names; returns 0 or an errno: EISDIR if the path can only be a
   directory's. Close it in either case. */
int kx_place_open(kx_place *place, const char *path);

/* Opens the same place once more; returns 0 or an errno. Close it in either case. */
int kx_place_copy(kx_place *place, const kx_place *from);

void kx_place_close(kx_place *place);

/* Returns 1 when the open file is the one that has the place's name now, else 0. */
int kx_place_holds(const kx_place *place, int fd);

/* Creates an empty file that keeps the name from others; returns 0 or an errno: EEXIST when
   something has the name already. */
int kx_place_reserve(const char *path, mode_t mode);

/* Removes a file that kx_place_reserve made and nobody has filled; returns 0, also when there is no
   such file, or an errno: EEXIST when the file has bytes. */
int kx_place_release(const char *path);

/* Opens and locks the empty regular file that has the place's name; returns its descriptor, or -1
   with errno: EEXIST when the file has bytes or another process is about to fill it. */
int kx_place_open_reserved(const kx_place *place);

#endif
