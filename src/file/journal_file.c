#include "config.h"

#include "file/journal_file.h"

#include "file/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define MODE 0600 /* it holds polling URLs */

struct kx_journal_file {
  int fd;
  kx_place place;
  off_t most;     /* bytes that it has had: it only grows */
  kx_sink *draft; /* of the file that will replace it, or NULL */
};

/* Opens and locks the file that has the name now; returns 0 or an errno: EAGAIN to try again, ELOOP
   for a symbolic link, which the first compaction would cut off. */
static int open_locked(kx_journal_file *log, int create) {
  struct stat opened;
  int error;

  log->fd = openat(log->place.directory, log->place.name,
                   O_RDWR | O_APPEND | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC |
                       (create ? O_CREAT : 0),
                   MODE);
  if (log->fd < 0) return errno;
  if (fstat(log->fd, &opened) != 0) return errno;
  if (!S_ISREG(opened.st_mode)) return ENOTSUP;
  error = kx_lock(log->fd);
  if (error) return error;
  /* Between the open and the lock another process may have replaced it. */
  if (!kx_journal_file_in_place(log)) {
    close(log->fd);
    log->fd = -1;
    return EAGAIN;
  }
  return 0;
}

kx_journal_file *kx_journal_file_open(const char *path, int create) {
  kx_journal_file *log = (kx_journal_file *)calloc(1, sizeof *log);
  int error, attempt;

  if (!log) return NULL;
  log->fd = -1;
  error = kx_place_open(&log->place, path);
  if (!error) {
    for (attempt = 0, error = EAGAIN; error == EAGAIN && attempt < 10; attempt++) {
      error = open_locked(log, create);
      if (error == EWOULDBLOCK && log->fd >= 0) break; /* the lock's, the same number as EAGAIN */
    }
    if (!error) error = kx_sync_directory(log->place.directory); /* the name may be new */
  }
  if (!error) return log;
  kx_journal_file_close(log);
  errno = error;
  return NULL;
}

void kx_journal_file_close(kx_journal_file *log) {
  if (!log) return;
  kx_sink_free(log->draft);
  if (log->fd >= 0) close(log->fd);
  kx_place_close(&log->place);
  free(log);
}

int kx_journal_file_read(const kx_journal_file *log, uint64_t offset, size_t size, kx_sink *sink) {
  char buffer[8192];
  ssize_t n = 1;

  while (size > 0 && n != 0) {
    int error;

    n = pread(log->fd, buffer, size < sizeof buffer ? size : sizeof buffer, (off_t)offset);
    error = n < 0 ? errno : kx_sink_write(sink, buffer, (size_t)n);
    if (error == EINTR) continue;
    if (error) return error;
    offset += (uint64_t)n;
    size -= (size_t)n;
  }
  return 0;
}

int kx_journal_file_in_place(kx_journal_file *log) {
  struct stat st;

  if (!kx_place_holds(&log->place, log->fd) || fstat(log->fd, &st) != 0) return 0;
  if (st.st_size < log->most) return 0;
  log->most = st.st_size;
  return 1;
}

int kx_journal_file_fd(const kx_journal_file *log) { return log->fd; }

int kx_journal_file_append(kx_journal_file *log, const void *bytes, size_t size, int sync) {
  int error = kx_append(log->fd, bytes, size);
  struct stat st;

  if (!error && fstat(log->fd, &st) == 0) {
    if (st.st_size > log->most) log->most = st.st_size;
    /* Not when it is opened: the file may not be a journal. Some file systems have no modes. */
    if (st.st_mode & 077) (void)fchmod(log->fd, MODE);
  }
  return error || !sync ? error : kx_sync(log->fd);
}

uint64_t kx_journal_file_size(const kx_journal_file *log) { return (uint64_t)log->most; }

/* Returns the draft, begun where there is none; or NULL with errno. */
static kx_sink *draft_of(kx_journal_file *log) {
  if (!log->draft) log->draft = kx_sink_place(&log->place, UINT64_MAX, MODE);
  return log->draft;
}

int kx_journal_file_draft(kx_journal_file *log, const void *bytes, size_t size) {
  int error = draft_of(log) ? kx_sink_write(log->draft, bytes, size) : errno;

  if (error) kx_journal_file_drop_draft(log);
  return error;
}

void kx_journal_file_drop_draft(kx_journal_file *log) {
  kx_sink_free(log->draft);
  log->draft = NULL;
}

/* Writes `head` over the first bytes; returns 0 or an errno. */
static int write_head(int fd, const char *head, size_t size) {
  ssize_t n;

  do {
    n = pwrite(fd, head, size, 0);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return errno;
  return (size_t)n == size ? 0 : EIO;
}

int kx_journal_file_replace(kx_journal_file *log, const char *head, size_t head_size,
                            const void *bytes, size_t size) {
  int fd = -1, error = kx_journal_file_draft(log, bytes, size);

  if (error) return error;
  fd = kx_sink_dup(log->draft);
  if (fd < 0) error = errno;
  if (!error) error = write_head(fd, head, head_size);
  if (!error) error = kx_lock(fd);
  if (!error && fcntl(fd, F_SETFL, O_APPEND) != 0) error = errno;
  if (!error) error = kx_sink_finish(log->draft);
  kx_journal_file_drop_draft(log);
  /* The directory's sync may fail after the rename: what has the name is the journal from then on.
     */
  if (fd < 0 || (error && !kx_place_holds(&log->place, fd))) {
    if (fd >= 0) close(fd);
    return error;
  }
  close(log->fd);
  log->fd = fd;
  log->most = 0;
  return error;
}
