/* Where a picture's bytes come from: memory, or a regular file read with pread (a mapped file that
   another program truncates would kill the host with SIGBUS). */
#ifndef KX_SOURCE_H
#define KX_SOURCE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Distinguishes the states of a file. */
typedef struct kx_stamp {
  uint64_t device, inode;
  int64_t size, mtime_s, mtime_ns;
} kx_stamp;

typedef struct kx_source {
  const unsigned char *memory; /* NULL for a file */
  int fd;                      /* -1 for memory */
  uint64_t size;
  kx_stamp stamp; /* zero for memory */
} kx_source;

/* Makes a source of `size` bytes that the caller keeps alive. */
void kx_source_memory(kx_source *source, const void *bytes, size_t size);

/* Opens a regular file, without blocking on a FIFO; returns 0, or an errno: EISDIR for a directory,
   ENOTSUP for anything else. */
int kx_source_open(kx_source *source, const char *path);

/* Reads up to `size` bytes at `offset`; returns how many (fewer only at the end), or -1 with errno.
   */
ssize_t kx_source_read(const kx_source *source, uint64_t offset, void *buffer, size_t size);

/* Returns 1 when the open file is no longer as it was at the open, else 0. */
int kx_source_changed(const kx_source *source);

/* Returns 1 when both stamps describe the same state of the same file. */
int kx_stamp_equal(const kx_stamp *a, const kx_stamp *b);

/* Reads the state of the regular file at `path` without opening it; returns 0 or an errno as
   kx_source_open. */
int kx_stamp_read(kx_stamp *stamp, const char *path);

/* Closes what was opened; a source may be closed twice. */
void kx_source_close(kx_source *source);

#endif
