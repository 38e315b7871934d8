#include "config.h"

#include "file/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int kx_write_all(int fd, const void *bytes, size_t size) {
  const char *at = (const char *)bytes;

  while (size > 0) {
    ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    at += n;
    size -= (size_t)n;
  }
  return 0;
}

int kx_append(int fd, const void *line, size_t size) {
  off_t end = lseek(fd, 0, SEEK_END);
  char last = '\n';
  int error = 0;

  if (end < 0) return errno;
  /* Asked of the file, not remembered: several descriptors append to it. */
  if (end > 0 && pread(fd, &last, 1, end - 1) != 1) last = '?';
  if (last != '\n') error = kx_write_all(fd, "\n", 1);
  if (!error) error = kx_write_all(fd, line, size);
  if (error) {
    int taken_back = ftruncate(fd, end);
    (void)taken_back;
  }
  return error;
}

int kx_sync(int fd) {
  while (fsync(fd) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

int kx_sync_directory(int fd) {
  int error = kx_sync(fd);

  return error == EINVAL || error == ENOTSUP ? 0 : error;
}

/* Opens the directory that the path's part before the last slash names; returns the descriptor, or
   -1 with errno. */
static int open_directory(const char *path, const char *slash) {
  char *directory;
  int fd;

  if (!slash) return open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  directory = strndup(path, slash == path ? 1 : (size_t)(slash - path));
  if (!directory) return -1;
  fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  free(directory);
  return fd;
}

int kx_place_open(kx_place *place, const char *path) {
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;

  place->directory = -1;
  place->name = NULL;
  if (*name == '\0' || !strcmp(name, ".") || !strcmp(name, "..")) return EISDIR;
  place->name = strdup(name);
  if (!place->name) return ENOMEM;
  place->directory = open_directory(path, slash);
  return place->directory < 0 ? errno : 0;
}

int kx_place_copy(kx_place *place, const kx_place *from) {
  place->directory = -1;
  place->name = strdup(from->name);
  if (!place->name) return ENOMEM;
  place->directory = fcntl(from->directory, F_DUPFD_CLOEXEC, 0);
  return place->directory < 0 ? errno : 0;
}

void kx_place_close(kx_place *place) {
  if (place->directory >= 0) close(place->directory);
  free(place->name);
}
