#include "config.h"

#include "file/sink.h"

#include "file/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct kx_sink {
  uint64_t size, cap;
  kx_digest *digest;
  char *memory;
  size_t room;
  int fd;          /* -1 for memory */
  kx_place place;  /* the file's; its directory -1 for memory */
  char hidden[32]; /* the name until it is finished; empty when there is no such file */
};

static kx_sink *new_sink(uint64_t cap) {
  kx_sink *sink = (kx_sink *)calloc(1, sizeof *sink);

  if (!sink) return NULL;
  sink->cap = cap;
  sink->fd = sink->place.directory = -1;
  return sink;
}

kx_sink *kx_sink_memory(size_t cap) { return new_sink(cap); }

/* Returns 0 when a file may be put at the name, else an errno: a device or a FIFO is no picture. */
static int check_place(const kx_sink *sink) {
  struct stat st;

  if (fstatat(sink->place.directory, sink->place.name, &st, 0) != 0) return errno == ENOENT ? 0 : errno;
  if (S_ISDIR(st.st_mode)) return EISDIR;
  return S_ISREG(st.st_mode) ? 0 : ENOTSUP;
}

/* Creates the hidden file under a name that nobody has; returns 0 or an errno. */
static int create_hidden(kx_sink *sink, mode_t mode) {
  int attempt;

  for (attempt = 0; attempt < 100; attempt++) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(sink->hidden, sizeof sink->hidden, ".kontext-%lx-%lx", (unsigned long)getpid(),
             (unsigned long)now.tv_nsec + (unsigned long)attempt);
    sink->fd = openat(sink->place.directory, sink->hidden,
                      O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (sink->fd >= 0) return 0;
    if (errno != EEXIST && errno != EINTR) break;
  }
  sink->hidden[0] = '\0';
  return errno;
}

/* Begins the file of a sink whose place was opened with this errno, or 0; returns the sink, or NULL
   with errno. */
static kx_sink *begin_file(kx_sink *sink, int error, mode_t mode) {
  if (!error) error = check_place(sink);
  if (!error) error = create_hidden(sink, mode);
  if (!error) return sink;
  kx_sink_free(sink);
  errno = error;
  return NULL;
}

kx_sink *kx_sink_file(const char *path, uint64_t cap, mode_t mode) {
  kx_sink *sink = new_sink(cap);

  return sink ? begin_file(sink, kx_place_open(&sink->place, path), mode) : NULL;
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

int kx_sink_finish(kx_sink *sink) {
  int error;

  if (sink->fd < 0) return 0;
  error = kx_sync(sink->fd);
  if (error) return error;
  if (renameat(sink->place.directory, sink->hidden, sink->place.directory, sink->place.name) != 0) return errno;
  sink->hidden[0] = '\0';
  return kx_sync_directory(sink->place.directory);
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
