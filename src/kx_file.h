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

/* Opens the directory that holds `path`; returns the descriptor, or -1 with errno. */
int kx_open_directory_of(const char *path);

#endif
