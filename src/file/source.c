#include "config.h"

#include "file/source.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(__APPLE__)
#define KX_MTIME st_mtimespec
#else
#define KX_MTIME st_mtim
#endif

static void take_stamp(kx_stamp *stamp, const struct stat *st) {
  stamp->device = (uint64_t)st->st_dev;
  stamp->inode = (uint64_t)st->st_ino;
  stamp->size = (int64_t)st->st_size;
  stamp->mtime_s = (int64_t)st->KX_MTIME.tv_sec;
  stamp->mtime_ns = (int64_t)st->KX_MTIME.tv_nsec;
}

void kx_source_memory(kx_source *source, const void *bytes, size_t size) {
  memset(source, 0, sizeof *source);
  source->memory = (const unsigned char *)bytes;
  source->fd = -1;
  source->size = size;
}

int kx_source_open(kx_source *source, const char *path) {
  struct stat st;
  int fd, error = 0;

  memset(source, 0, sizeof *source);
  source->fd = -1;
  do {
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  } while (fd < 0 && errno == EINTR);
  if (fd < 0) return errno;
  if (fstat(fd, &st) != 0) error = errno;
  else if (S_ISDIR(st.st_mode)) error = EISDIR;
  else if (!S_ISREG(st.st_mode)) error = ENOTSUP;
  if (error) {
    close(fd);
    return error;
  }
  source->fd = fd;
  source->size = (uint64_t)st.st_size;
  take_stamp(&source->stamp, &st);
  return 0;
}

ssize_t kx_source_read(const kx_source *source, uint64_t offset, void *buffer, size_t size) {
  size_t done = 0;

  if (offset >= source->size) return 0;
  if (size > source->size - offset) size = (size_t)(source->size - offset);
  if (source->memory) {
    memcpy(buffer, source->memory + offset, size);
    return (ssize_t)size;
  }
  while (done < size) {
    ssize_t n = pread(source->fd, (char *)buffer + done, size - done, (off_t)(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    done += (size_t)n;
  }
  return (ssize_t)done;
}

int kx_stamp_equal(const kx_stamp *a, const kx_stamp *b) {
  return a->device == b->device && a->inode == b->inode && a->size == b->size &&
         a->mtime_s == b->mtime_s && a->mtime_ns == b->mtime_ns;
}

int kx_stamp_read(kx_stamp *stamp, const char *path) {
  struct stat st;

  if (stat(path, &st) != 0) return errno;
  if (!S_ISREG(st.st_mode)) return S_ISDIR(st.st_mode) ? EISDIR : ENOTSUP;
  take_stamp(stamp, &st);
  return 0;
}

int kx_source_changed(const kx_source *source) {
  struct stat st;
  kx_stamp now;

  if (source->fd < 0) return 0;
  if (fstat(source->fd, &st) != 0) return 1;
  take_stamp(&now, &st);
  return !kx_stamp_equal(&now, &source->stamp);
}

void kx_source_close(kx_source *source) {
  if (source->fd >= 0) close(source->fd);
  source->fd = -1;
}
