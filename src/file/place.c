#include "config.h"

#include "file/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
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
  /* Asked each time, because several descriptors append to the file. */
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

int kx_lock(int fd) {
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return 0;
  if (errno != ENOTSUP && errno != EOPNOTSUPP && errno != ENOSYS && errno != ENOLCK &&
      errno != EINVAL) {
    return errno;
  }
#ifdef F_OFD_SETLK /* the open file's, as flock is: another close() in this process is no unlock */
  {
    struct flock whole;
    memset(&whole, 0, sizeof whole);
    whole.l_type = F_WRLCK;
    whole.l_whence = SEEK_SET;
    if (fcntl(fd, F_OFD_SETLK, &whole) == 0) return 0;
    if (errno == EAGAIN || errno == EACCES) return EWOULDBLOCK;
  }
#endif
  return ENOLCK;
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

int kx_place_holds(const kx_place *place, int fd) {
  struct stat opened, named;

  return fstat(fd, &opened) == 0 &&
         fstatat(place->directory, place->name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         named.st_ino == opened.st_ino && named.st_dev == opened.st_dev;
}

int kx_place_open_reserved(const kx_place *place) {
  struct stat st;
  int fd = openat(place->directory, place->name,
                  O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
  int error = 0;

  if (fd < 0) {
    if (errno != ENOENT) errno = EEXIST; /* it cannot be a reservation of this user's */
    return -1;
  }
  if (fstat(fd, &st) != 0) error = errno;
  else if (!S_ISREG(st.st_mode) || st.st_size > 0) error = EEXIST;
  if (!error) error = kx_lock(fd);
  /* Without locks only this check decides, and two processes may pass it at the same moment. */
  if (error == ENOLCK) error = 0;
  if (error == EWOULDBLOCK) error = EEXIST;
  /* Checked again under the lock: another process may have filled the file meanwhile. */
  if (!error && (fstat(fd, &st) != 0 || st.st_size > 0 || !kx_place_holds(place, fd))) {
    error = EEXIST;
  }
  if (!error) return fd;
  close(fd);
  errno = error;
  return -1;
}

int kx_place_reserve(const char *path, mode_t mode) {
  kx_place place;
  int error = kx_place_open(&place, path), fd;

  if (!error) {
    do {
      fd = openat(place.directory, place.name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  mode);
    } while (fd < 0 && errno == EINTR);
    if (fd < 0) error = errno;
    else close(fd);
    if (fd >= 0) error = kx_sync_directory(place.directory);
  }
  kx_place_close(&place);
  return error;
}

int kx_place_release(const char *path) {
  kx_place place;
  int error = kx_place_open(&place, path), fd;

  if (!error) {
    fd = kx_place_open_reserved(&place);
    if (fd < 0 || unlinkat(place.directory, place.name, 0) != 0) error = errno;
    if (fd >= 0) close(fd);
  }
  kx_place_close(&place);
  return error == ENOENT ? 0 : error;
}
