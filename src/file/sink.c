#include "config.h"

#include "file/sink.h"

#include "file/place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define HIDDEN ".kontext-" /* how the hidden names begin */
#define ATTEMPTS 100       /* at a name that nobody has */
#define SWEEP_MAX 1024     /* names of a folder that are looked at */
#define LINK "/proc/self/fd/%d"
#define LINK_MAX_SIZE (sizeof LINK + 12)

struct kx_sink {
  uint64_t size, cap;
  kx_digest *digest;
  char *memory;
  size_t room;
  kx_sink_way way;
  int fd;          /* -1 for memory */
  kx_place place;  /* the file's; its directory -1 for memory */
  char hidden[32]; /* the name until it is finished; empty when it has none */
};

static kx_sink *new_sink(uint64_t cap) {
  kx_sink *sink = (kx_sink *)calloc(1, sizeof *sink);

  if (!sink) return NULL;
  sink->cap = cap;
  sink->fd = sink->place.directory = -1;
  return sink;
}

kx_sink *kx_sink_memory(size_t cap) { return new_sink(cap); }

/* Returns an errno where the folder lets only a file's owner replace it, as /tmp does; else 0. */
static int check_sticky(const kx_sink *sink, const struct stat *file) {
  struct stat folder;
  uid_t user = geteuid();

  if (fstat(sink->place.directory, &folder) != 0) return errno;
  return (folder.st_mode & S_ISVTX) && user != 0 && user != file->st_uid && user != folder.st_uid
             ? EPERM
             : 0;
}

/* Returns 0 when a file may be put at the name, else an errno: a device or a FIFO is no picture. */
static int check_place(const kx_sink *sink) {
  struct stat st;

  if (fstatat(sink->place.directory, sink->place.name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    return errno == ENOENT ? 0 : errno;
  }
  if (sink->way == KX_NO_REPLACE && (!S_ISREG(st.st_mode) || st.st_size > 0)) return EEXIST;
  if (check_sticky(sink, &st) != 0) return EPERM;
  if (S_ISLNK(st.st_mode) && fstatat(sink->place.directory, sink->place.name, &st, 0) != 0) {
    return errno == ENOENT ? 0 : errno;
  }
  if (S_ISDIR(st.st_mode)) return EISDIR;
  return S_ISREG(st.st_mode) ? 0 : ENOTSUP;
}

/* Makes up a hidden name. */
static void name_hidden(kx_sink *sink, int attempt) {
  struct timespec now;

  clock_gettime(CLOCK_REALTIME, &now);
  snprintf(sink->hidden, sizeof sink->hidden, HIDDEN "%lx-%lx", (unsigned long)getpid(),
           (unsigned long)now.tv_nsec + (unsigned long)attempt);
}

/* Creates the hidden file under a name that nobody has, and locks it: what is not locked is swept.
   Returns 0 or an errno. */
static int create_hidden(kx_sink *sink, mode_t mode) {
  kx_place place;
  int attempt, error = EEXIST;

  for (attempt = 0; attempt < ATTEMPTS && (error == EEXIST || error == EINTR); attempt++) {
    name_hidden(sink, attempt);
    sink->fd = openat(sink->place.directory, sink->hidden,
                      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    error = sink->fd < 0 ? errno : 0;
    if (error) continue;
    place.directory = sink->place.directory;
    place.name = sink->hidden;
    /* Between the two another process may have swept it. Where there are no locks nobody sweeps. */
    error = kx_lock(sink->fd);
    if (error == ENOLCK) error = 0;
    if (!error && kx_place_holds(&place, sink->fd)) return 0;
    close(sink->fd);
    sink->fd = -1;
    error = EEXIST;
  }
  sink->hidden[0] = '\0';
  return error;
}

/* Creates a file without a name, which no kill leaves behind; returns 0, or -1 where the file
   system or the system cannot give it one later. */
static int create_nameless(kx_sink *sink, mode_t mode) {
#ifdef O_TMPFILE
  char link[LINK_MAX_SIZE];

  sink->fd = openat(sink->place.directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
  if (sink->fd < 0) return -1;
  snprintf(link, sizeof link, LINK, sink->fd);
  if (access(link, F_OK) == 0) return 0;
  close(sink->fd); /* /proc is not there */
  sink->fd = -1;
#else
  (void)sink, (void)mode;
#endif
  return -1;
}

/* Removes the hidden files that killed processes left in the folder: those that nobody has locked.
   */
static void sweep(const kx_sink *sink) {
  int copy = openat(sink->place.directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *names = copy < 0 ? NULL : fdopendir(copy);
  const struct dirent *entry;
  int i;

  for (i = 0; names && i < SWEEP_MAX && (entry = readdir(names)); i++) {
    struct stat st;
    kx_place place;
    int fd;
    if (strncmp(entry->d_name, HIDDEN, sizeof HIDDEN - 1) != 0) continue;
    place.directory = sink->place.directory;
    place.name = strdup(entry->d_name);
    fd = !place.name ? -1
                     : openat(place.directory, place.name,
                              O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && kx_lock(fd) == 0 &&
        kx_place_holds(&place, fd)) {
      (void)unlinkat(place.directory, place.name, 0);
    }
    if (fd >= 0) close(fd);
    free(place.name);
  }
  if (names) closedir(names);
  else if (copy >= 0) close(copy);
}

/* Begins the file of a sink whose place was opened with this errno, or 0; returns the sink, or NULL
   with errno. */
static kx_sink *begin_file(kx_sink *sink, int error, mode_t mode) {
  if (!error) error = check_place(sink);
  if (!error) sweep(sink);
  if (!error && create_nameless(sink, mode) != 0) error = create_hidden(sink, mode);
  if (!error) return sink;
  kx_sink_free(sink);
  errno = error;
  return NULL;
}

kx_sink *kx_sink_file(const char *path, uint64_t cap, mode_t mode, kx_sink_way way) {
  kx_sink *sink = new_sink(cap);

  if (!sink) return NULL;
  sink->way = way;
  return begin_file(sink, kx_place_open(&sink->place, path), mode);
}

int kx_sink_probe(const char *path, kx_sink_way way) {
  kx_sink *sink = kx_sink_file(path, 0, 0600, way);
  int error = sink ? 0 : errno;

  kx_sink_free(sink);
  return error;
}

kx_sink *kx_sink_place(const kx_place *place, uint64_t cap, mode_t mode) {
  kx_sink *sink = new_sink(cap);

  return sink ? begin_file(sink, kx_place_copy(&sink->place, place), mode) : NULL;
}

int kx_sink_digest(kx_sink *sink, kx_digest_kind kind) {
  if (!sink->digest) sink->digest = kx_digest_new(kind);
  return sink->digest ? 0 : ENOMEM;
}

/* Gives the memory this room; returns 0 or ENOMEM. */
static int set_room(kx_sink *sink, size_t room) {
  char *memory = (char *)realloc(sink->memory, room);

  if (!memory) return ENOMEM;
  sink->memory = memory;
  sink->room = room;
  return 0;
}

/* Makes room for `size` bytes in memory; returns 0 or ENOMEM. */
static int make_room(kx_sink *sink, size_t size) {
  size_t room = sink->room ? sink->room : 1024;

  while (room < size) room = room > SIZE_MAX / 2 ? size : 2 * room;
  return room == sink->room ? 0 : set_room(sink, room);
}

void kx_sink_expect(kx_sink *sink, uint64_t size) {
  if (sink->fd < 0 && size > sink->room && size <= sink->cap) (void)set_room(sink, (size_t)size);
}

int kx_sink_write(kx_sink *sink, const void *bytes, size_t size) {
  int error;

  if (size == 0) return 0;
  if (size > sink->cap - sink->size) return EFBIG;
  if (sink->fd >= 0) {
    error = kx_write_all(sink->fd, bytes, size);
  } else {
    error = make_room(sink, (size_t)sink->size + size);
    if (!error) memcpy(sink->memory + sink->size, bytes, size);
  }
  if (error) return error;
  if (sink->digest) kx_digest_add(sink->digest, bytes, size);
  sink->size += size;
  return 0;
}

int kx_sink_copy(kx_sink *sink, const kx_sink *from) {
  char buffer[16384];
  kx_source source;
  uint64_t offset = 0;
  ssize_t n;

  kx_sink_source(from, &source);
  while ((n = kx_source_read(&source, offset, buffer, sizeof buffer)) > 0) {
    int error = kx_sink_write(sink, buffer, (size_t)n);
    if (error) return error;
    offset += (uint64_t)n;
  }
  return n < 0 ? errno : 0;
}

int kx_sink_restart(kx_sink *sink) {
  if (sink->fd >= 0 && (ftruncate(sink->fd, 0) != 0 || lseek(sink->fd, 0, SEEK_SET) != 0)) {
    return errno;
  }
  if (sink->digest) kx_digest_restart(sink->digest);
  sink->size = 0;
  return 0;
}

uint64_t kx_sink_size(const kx_sink *sink) { return sink->size; }

size_t kx_sink_digest_value(const kx_sink *sink, unsigned char to[KX_DIGEST_MAX]) {
  return sink->digest ? kx_digest_value(sink->digest, to) : 0;
}

void kx_sink_source(const kx_sink *sink, kx_source *source) {
  kx_source_memory(source, sink->memory ? sink->memory : "", (size_t)sink->size);
  if (sink->fd < 0) return;
  source->memory = NULL;
  source->fd = sink->fd;
}

int kx_sink_dup(const kx_sink *sink) { return fcntl(sink->fd, F_DUPFD_CLOEXEC, 0); }

/* Gives a file without a name the name; returns 0 or an errno. */
static int give_name(const kx_sink *sink, const char *name) {
  char link[LINK_MAX_SIZE];

  snprintf(link, sizeof link, LINK, sink->fd);
  return linkat(AT_FDCWD, link, sink->place.directory, name, AT_SYMLINK_FOLLOW) != 0 ? errno : 0;
}

/* Gives a file without a name a hidden one, since a rename needs it; returns 0 or an errno. */
static int give_hidden_name(kx_sink *sink) {
  int attempt, error = kx_lock(sink->fd);

  if (error && error != ENOLCK) return error;
  for (attempt = 0, error = EEXIST; attempt < ATTEMPTS && error == EEXIST; attempt++) {
    name_hidden(sink, attempt);
    error = give_name(sink, sink->hidden);
  }
  if (error) sink->hidden[0] = '\0';
  return error;
}

/* Takes over the owner and the permissions of the file that is about to be replaced. Where the
   group stays another, it gets no more than everybody had. */
static int take_over_mode(const kx_sink *sink) {
  struct stat old, own;
  mode_t mode;

  if (fstatat(sink->place.directory, sink->place.name, &old, AT_SYMLINK_NOFOLLOW) != 0 ||
      !S_ISREG(old.st_mode)) {
    return 0;
  }
  if (fstat(sink->fd, &own) != 0) return errno;
  mode = old.st_mode & 0777;
  if ((old.st_uid != own.st_uid || old.st_gid != own.st_gid) &&
      fchown(sink->fd, old.st_uid, old.st_gid) != 0 && old.st_gid != own.st_gid) {
    mode &= (mode_t)(~070 | ((mode & 07) << 3));
  }
  if ((own.st_mode & 0777) != mode) (void)fchmod(sink->fd, mode); /* not everywhere */
  return 0;
}

/* Puts the file where nothing has the name; returns 0, or an errno: EEXIST when something has. */
static int put_new(kx_sink *sink) {
  if (!sink->hidden[0]) return give_name(sink, sink->place.name);
#ifdef RENAME_NOREPLACE
  if (renameat2(sink->place.directory, sink->hidden, sink->place.directory, sink->place.name,
                RENAME_NOREPLACE) == 0) {
    sink->hidden[0] = '\0';
    return 0;
  }
  if (errno != EINVAL && errno != ENOSYS) return errno;
#endif
  /* A second name instead, which is never another file's. */
  if (linkat(sink->place.directory, sink->hidden, sink->place.directory, sink->place.name, 0)) {
    return errno;
  }
  (void)unlinkat(sink->place.directory, sink->hidden, 0);
  sink->hidden[0] = '\0';
  return 0;
}

/* Puts the file in the place of another; returns 0 or an errno. */
static int put_over(kx_sink *sink) {
  int error = take_over_mode(sink);

  if (!error && !sink->hidden[0]) error = give_hidden_name(sink);
  if (!error &&
      renameat(sink->place.directory, sink->hidden, sink->place.directory, sink->place.name) != 0) {
    error = errno;
  }
  if (!error) sink->hidden[0] = '\0';
  return error;
}

/* Puts the file where nothing with bytes stands; `error` is why it could not be put as a new one.
   Returns 0 or an errno. */
static int put_over_reserved(kx_sink *sink, int error) {
  const kx_place *place = &sink->place;
  int fd;

  if (error != EEXIST) { /* a file system without links: first the name, then the bytes */
    fd = openat(place->directory, place->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                0600);
    if (fd < 0 && errno != EEXIST) return error;
    if (fd >= 0) close(fd);
  }
  fd = kx_place_open_reserved(place);
  if (fd < 0) return errno;
  error = put_over(sink);
  close(fd);
  return error;
}

/* Puts the file in its place; returns 0 or an errno. */
static int put(kx_sink *sink) {
  int error = put_new(sink);

  if (!error || (error != EEXIST && !sink->hidden[0])) return error;
  return sink->way == KX_REPLACE ? put_over(sink) : put_over_reserved(sink, error);
}

int kx_sink_finish(kx_sink *sink) {
  int error;

  if (sink->fd < 0) return 0;
  error = kx_sync(sink->fd);
  if (!error) error = put(sink);
  return error ? error : kx_sync_directory(sink->place.directory);
}

void kx_sink_free(kx_sink *sink) {
  if (!sink) return;
  if (sink->hidden[0]) unlinkat(sink->place.directory, sink->hidden, 0);
  if (sink->fd >= 0) close(sink->fd);
  kx_digest_free(sink->digest);
  free(sink->memory);
  kx_place_close(&sink->place);
  free(sink);
}
