/* Files on systems that lack something: files without a name, flock(2), any lock, a rename that
   replaces nothing, links. The linker puts the calls below in the place of the system's. */
#include "config.h"

#include "check.h"
#include "file/journal_file.h"
#include "file/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__linux__)

#include <dirent.h>
#include <sys/syscall.h>

enum { TMPFILE = 1, FLOCK = 2, LOCKS = 4, NOREPLACE = 8, LINKS = 16 };

static unsigned lacking; /* what the file system cannot do */
static char folder[] = "/tmp/kontext-systems-XXXXXX";
static char path[64];

static int refuse(int number) { return errno = number, -1; }

int __wrap_openat64(int directory, const char *name, int flags, ...);
int __wrap_openat64(int directory, const char *name, int flags, ...) {
  va_list more;
  mode_t mode;

  va_start(more, flags);
  mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
  va_end(more);
  if ((lacking & TMPFILE) && (flags & O_TMPFILE) == O_TMPFILE) return refuse(EOPNOTSUPP);
  return (int)syscall(SYS_openat, directory, name, flags, mode);
}

int __wrap_flock(int fd, int what);
int __wrap_flock(int fd, int what) {
  if (lacking & (FLOCK | LOCKS)) return refuse(ENOLCK);
  return (int)syscall(SYS_flock, fd, what);
}

int __wrap_fcntl64(int fd, int what, ...);
int __wrap_fcntl64(int fd, int what, ...) {
  va_list more;
  void *value;

  va_start(more, what);
  value = va_arg(more, void *);
  va_end(more);
  if ((lacking & LOCKS) && what == F_OFD_SETLK) return refuse(ENOLCK);
  return (int)syscall(SYS_fcntl, fd, what, value);
}

int __wrap_renameat2(int from, const char *old, int to, const char *name, unsigned flags);
int __wrap_renameat2(int from, const char *old, int to, const char *name, unsigned flags) {
  if (lacking & NOREPLACE) return refuse(EINVAL);
  return (int)syscall(SYS_renameat2, from, old, to, name, flags);
}

int __wrap_linkat(int from, const char *old, int to, const char *name, int flags);
int __wrap_linkat(int from, const char *old, int to, const char *name, int flags) {
  if (lacking & LINKS) return refuse(EPERM);
  return (int)syscall(SYS_linkat, from, old, to, name, flags);
}

/* Returns how many names the folder has. */
static int names(void) {
  DIR *dir = opendir(folder);
  int count = -2; /* "." and ".." are none */

  if (!dir) abort();
  while (readdir(dir)) count++;
  closedir(dir);
  return count;
}

/* Returns 1 when the file has just this text. */
static int holds(const char *name, const char *text) {
  char buffer[256];
  int fd = open(name, O_RDONLY);
  ssize_t n = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);

  if (fd >= 0) close(fd);
  return n == (ssize_t)strlen(text) && !memcmp(buffer, text, (size_t)n);
}

/* Puts a text at a name; returns 0 or an errno. */
static int save(const char *name, const char *text, kx_sink_way way) {
  kx_sink *sink = kx_sink_file(name, 100, 0640, way);
  int error = sink ? kx_sink_write(sink, text, strlen(text)) : errno;

  if (!error) error = kx_sink_finish(sink);
  kx_sink_free(sink);
  return error;
}

static void test_hidden(void) {
  kx_sink *sink;
  pid_t child;
  int status;

  lacking = TMPFILE;
  sink = kx_sink_file(path, 100, 0640, KX_REPLACE);
  if (!sink) abort();
  kx_sink_write(sink, "half", 4);
  CHECK("while the bytes come they have a hidden name", names() == 1 && access(path, F_OK) != 0);
  CHECK("which nobody sweeps while its process lives",
        kx_sink_probe(path, KX_REPLACE) == 0 && names() == 1);
  CHECK("and which is the picture's in the end",
        kx_sink_finish(sink) == 0 && names() == 1 && holds(path, "half"));
  kx_sink_free(sink);
  sink = kx_sink_file(path, 100, 0640, KX_REPLACE);
  kx_sink_write(sink, "other", 5);
  kx_sink_free(sink);
  CHECK("what is given up leaves no name", names() == 1 && holds(path, "half"));
  child = fork();
  if (child == 0) {
    sink = kx_sink_file(path, 100, 0640, KX_REPLACE);
    kx_sink_write(sink, "killed", 6);
    raise(SIGKILL);
  }
  if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) abort();
  CHECK("what a kill leaves is hidden", names() == 2 && holds(path, "half"));
  CHECK("and swept by the next picture", save(path, "next", KX_REPLACE) == 0 && names() == 1 &&
        holds(path, "next"));
  unlink(path);
}

/* Returns the errno with which another process is refused the journal, or 0. */
static int other_opens(const char *name) {
  int status;
  pid_t child = fork();

  if (child == 0) {
    kx_journal_file *log = kx_journal_file_open(name, 1);
    int error = log ? 0 : errno;
    kx_journal_file_close(log);
    _exit(error);
  }
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) abort();
  return WEXITSTATUS(status);
}

static void test_locks(void) {
  kx_journal_file *log;
  int fd;

  lacking = FLOCK;
  log = kx_journal_file_open(path, 1);
  CHECK("without flock a journal is locked another way", log != NULL);
  CHECK("so that no other process gets it", other_opens(path) == EWOULDBLOCK);
  fd = open(path, O_RDONLY);
  close(fd);
  CHECK("also after the file was opened and closed beside it", other_opens(path) == EWOULDBLOCK);
  kx_journal_file_close(log);
  CHECK("until it is closed", other_opens(path) == 0);
  lacking = LOCKS;
  CHECK("where nothing can be locked there is no journal, which two would write",
        !kx_journal_file_open(path, 1) && errno == ENOLCK);
  unlink(path);

  lacking = LOCKS | TMPFILE;
  CHECK("but pictures are saved", save(path, "one", KX_REPLACE) == 0 && holds(path, "one"));
  CHECK("and replaced", save(path, "two", KX_REPLACE) == 0 && holds(path, "two"));
  CHECK("and not, unasked", save(path, "three", KX_NO_REPLACE) == EEXIST && holds(path, "two"));
  CHECK("without a hidden name that stays", names() == 1);
  unlink(path);
  fd = openat(AT_FDCWD, folder, O_DIRECTORY);
  close(openat(fd, ".kontext-1-1", O_CREAT | O_RDWR, 0600));
  CHECK("and nobody sweeps what may be a living process's",
        save(path, "one", KX_REPLACE) == 0 && names() == 2);
  unlinkat(fd, ".kontext-1-1", 0);
  close(fd);
  unlink(path);
}

static void test_names(void) {
  static const unsigned rows[] = {NOREPLACE, TMPFILE | NOREPLACE, TMPFILE | NOREPLACE | LINKS,
                                  TMPFILE | LINKS};
  size_t i;

  for (i = 0; i < sizeof rows / sizeof *rows; i++) {
    lacking = rows[i];
    CHECK("a picture gets a name that nothing has", save(path, "one", KX_NO_REPLACE) == 0 &&
          holds(path, "one"));
    CHECK("and no other picture's", save(path, "two", KX_NO_REPLACE) == EEXIST &&
          holds(path, "one"));
    CHECK("unless it is asked to", save(path, "two", KX_REPLACE) == 0 && holds(path, "two"));
    unlink(path);
    CHECK("a reserved name is filled once", kx_place_reserve(path, 0666) == 0 &&
          save(path, "three", KX_NO_REPLACE) == 0 && holds(path, "three") &&
          save(path, "four", KX_NO_REPLACE) == EEXIST);
    CHECK("and nothing stays behind", names() == 1);
    unlink(path);
  }
}

enum { ROUNDS = 100 };

/* One of two writers: for every round, when the other is ready too, puts its text at the round's
   name, and notes what came of it. */
static void write_rounds(const char *text, int from, int to, int results[ROUNDS]) {
  char name[96], byte = 0;
  int i;

  for (i = 0; i < ROUNDS; i++) {
    kx_sink *sink;
    snprintf(name, sizeof name, "%s/%d", folder, i);
    sink = kx_sink_file(name, 100, 0640, KX_NO_REPLACE);
    results[i] = sink ? kx_sink_write(sink, text, strlen(text)) : errno;
    if (write(to, &byte, 1) != 1 || read(from, &byte, 1) != 1) _exit(1);
    if (!results[i]) results[i] = kx_sink_finish(sink);
    kx_sink_free(sink);
  }
  _exit(0);
}

static void test_race(void) {
  static const char *const texts[2] = {"one", "other"};
  static const unsigned rows[] = {0, FLOCK, TMPFILE, TMPFILE | NOREPLACE,
                                  TMPFILE | NOREPLACE | LINKS};
  int(*results)[ROUNDS] = (int(*)[ROUNDS])mmap(NULL, 2 * sizeof *results, PROT_READ | PROT_WRITE,
                                               MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  char name[96];
  size_t row;

  if (results == MAP_FAILED) abort();
  for (row = 0; row < sizeof rows / sizeof *rows; row++) {
    int pipes[2][2], i, status, ended = 0, winners = 0, whole = 0, strange = 0;
    lacking = rows[row];
    if (pipe(pipes[0]) != 0 || pipe(pipes[1]) != 0) abort();
    for (i = 0; i < ROUNDS; i += 2) { /* half of the names are reserved */
      snprintf(name, sizeof name, "%s/%d", folder, i);
      if (kx_place_reserve(name, 0666) != 0) abort();
    }
    for (i = 0; i < 2; i++) {
      if (fork() == 0) write_rounds(texts[i], pipes[i][0], pipes[!i][1], results[i]);
    }
    for (i = 0; i < 2; i++) {
      ended += wait(&status) > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0;
      close(pipes[i][0]);
      close(pipes[i][1]);
    }
    for (i = 0; i < ROUNDS; i++) {
      int won = results[0][i] == 0 ? 0 : 1;
      snprintf(name, sizeof name, "%s/%d", folder, i);
      winners += (results[0][i] == 0) + (results[1][i] == 0);
      strange += results[!won][i] != EEXIST;
      whole += holds(name, texts[won]);
      unlink(name);
    }
    CHECK("two writers race to the end", ended == 2);
    CHECK("one of them puts its picture there, the other is told", winners == ROUNDS && !strange);
    CHECK("and no picture is overwritten by the other's", whole == ROUNDS && names() == 0);
  }
  (void)munmap(results, 2 * sizeof *results);
}

int main(void) {
  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/picture", folder);
  test_hidden();
  test_locks();
  test_names();
  test_race();
  rmdir(folder);
  return report();
}

#else

int main(void) { return CHECK("files are files", 1), report(); }

#endif
