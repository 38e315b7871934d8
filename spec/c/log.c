/* A journal's file: appended whole, private, one process's alone, replaced whole. */
#include "config.h"

#include "check.h"
#include "file/journal_file.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/kontext-log-XXXXXX";
static char path[64];

/* Returns 1 when the log reads as this text. */
static int reads(const kx_journal_file *log, const char *text) {
  kx_sink *sink = kx_sink_memory(4096);
  kx_source source;
  int same;

  same = kx_journal_file_read(log, 0, 4096, sink) == 0;
  kx_sink_source(sink, &source);
  same = same && source.size == strlen(text) && !memcmp(source.memory, text, strlen(text));
  kx_sink_free(sink);
  return same;
}

static void put(const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) abort();
  close(fd);
}

/* Returns the errno with which another process is refused the log, or 0 where it gets it. */
static int other_opens(void) {
  int status;
  pid_t child = fork();

  if (child == 0) {
    kx_journal_file *log = kx_journal_file_open(path, 1);
    int error = log ? 0 : errno;
    kx_journal_file_close(log);
    _exit(error);
  }
  if (waitpid(child, &status, 0) != child || !WIFEXITED(status)) abort();
  return WEXITSTATUS(status);
}

static void test_append(void) {
  kx_journal_file *log = kx_journal_file_open(path, 1);
  struct stat st;

  CHECK("a log is made where there is none", log != NULL);
  CHECK("nobody else may read it", stat(path, &st) == 0 && (st.st_mode & 0777) == 0600);
  CHECK("it is empty", reads(log, ""));
  CHECK("lines are appended", kx_journal_file_append(log, "one\n", 4, 1) == 0 &&
        kx_journal_file_append(log, "two\n", 4, 0) == 0 && reads(log, "one\ntwo\n"));
  kx_journal_file_close(log);
  log = kx_journal_file_open(path, 1);
  CHECK("behind those of before", kx_journal_file_append(log, "three\n", 6, 1) == 0 &&
        reads(log, "one\ntwo\nthree\n"));
  kx_journal_file_close(log);
  kx_journal_file_close(NULL);
}

static void test_torn(void) {
  kx_journal_file *log;

  put("one\ntw");
  log = kx_journal_file_open(path, 1);
  CHECK("a torn line is read as it is", reads(log, "one\ntw"));
  CHECK("and the next begins a line of its own",
        kx_journal_file_append(log, "three\n", 6, 1) == 0 &&
        reads(log, "one\ntw\nthree\n"));
  CHECK("once", kx_journal_file_append(log, "four\n", 5, 1) == 0 &&
        reads(log, "one\ntw\nthree\nfour\n"));
  kx_journal_file_close(log);
}

static void test_full(void) {
  struct rlimit old, tight;
  kx_journal_file *log;

  put("one\n");
  log = kx_journal_file_open(path, 1);
  signal(SIGXFSZ, SIG_IGN);
  if (getrlimit(RLIMIT_FSIZE, &old) != 0) abort();
  tight = old;
  tight.rlim_cur = 6;
  if (setrlimit(RLIMIT_FSIZE, &tight) != 0) abort();
  CHECK("what does not fit is an error", kx_journal_file_append(log, "two\n", 4, 1) == EFBIG);
  if (setrlimit(RLIMIT_FSIZE, &old) != 0) abort();
  CHECK("and leaves no half of a line", reads(log, "one\n"));
  CHECK("nor a gap", kx_journal_file_append(log, "two\n", 4, 1) == 0 && reads(log, "one\ntwo\n"));
  kx_journal_file_close(log);
}

static void test_lock(void) {
  kx_journal_file *log;

  put("one\n");
  log = kx_journal_file_open(path, 1);
  CHECK("no other process gets a log that is held", other_opens() == EWOULDBLOCK);
  CHECK("nor the same one twice", !kx_journal_file_open(path, 1) && errno == EWOULDBLOCK);
  CHECK("it is replaced whole", kx_journal_file_replace(log, "", 0, "two\n", 4) == 0 &&
        reads(log, "two\n"));
  CHECK("and still held", other_opens() == EWOULDBLOCK);
  CHECK("and appended to", kx_journal_file_append(log, "three\n", 6, 1) == 0 &&
        reads(log, "two\nthree\n"));
  CHECK("it counts what it has", kx_journal_file_size(log) == 10);
  CHECK("a draft changes nothing", kx_journal_file_draft(log, "....", 4) == 0 &&
        kx_journal_file_draft(log, "four\n", 5) == 0 && reads(log, "two\nthree\n"));
  kx_journal_file_drop_draft(log);
  CHECK("and can be begun again", kx_journal_file_draft(log, "....four\n", 9) == 0);
  CHECK("it takes the file's place, under its head",
        kx_journal_file_replace(log, "one\n", 4, "five\n", 5) == 0 &&
        reads(log, "one\nfour\nfive\n"));
  CHECK("and is appended to, not to what was read",
        kx_journal_file_append(log, "six\n", 4, 1) == 0 &&
        reads(log, "one\nfour\nfive\nsix\n") && other_opens() == EWOULDBLOCK);
  CHECK("it is replaced whole once more",
        kx_journal_file_replace(log, "", 0, "two\nthree\n", 10) == 0 &&
        reads(log, "two\nthree\n"));
  kx_journal_file_close(log);
  CHECK("closed it is free", other_opens() == 0);
  log = kx_journal_file_open(path, 1);
  CHECK("and is the new one", reads(log, "two\nthree\n"));
  kx_journal_file_close(log);
}

static void test_in_place(void) {
  struct stat st;
  char moved[80];
  kx_journal_file *log;

  unlink(path);
  CHECK("without leave no log is made", !kx_journal_file_open(path, 0) && errno == ENOENT);
  CHECK("nor a file", access(path, F_OK) != 0);
  put("one\n");
  log = kx_journal_file_open(path, 0);
  CHECK("one that is there is opened", log && kx_journal_file_in_place(log));
  if (chmod(path, 0400) != 0) abort();
  CHECK("its permissions stay when it is replaced",
        kx_journal_file_replace(log, "", 0, "two\n", 4) == 0 && stat(path, &st) == 0 &&
            (st.st_mode & 0777) == 0400 && kx_journal_file_in_place(log));
  snprintf(moved, sizeof moved, "%s-moved", path);
  if (rename(path, moved) != 0) abort();
  CHECK("one that was renamed is noticed", !kx_journal_file_in_place(log));
  put("another's\n");
  CHECK("so is another in its place", !kx_journal_file_in_place(log));
  if (rename(moved, path) != 0) abort();
  CHECK("and its return", kx_journal_file_in_place(log));
  unlink(path);
  CHECK("and its end", !kx_journal_file_in_place(log));
  kx_journal_file_close(log);
}

static void test_refused(void) {
  kx_sink *small = kx_sink_memory(2);
  kx_journal_file *log;

  put("one\n");
  log = kx_journal_file_open(path, 1);
  CHECK("a log beyond the reader's cap is an error",
        kx_journal_file_read(log, 0, 4, small) == EFBIG);
  kx_sink_free(small);
  kx_journal_file_close(log);
  unlink(path);
  CHECK("a folder is no log", !kx_journal_file_open("/tmp", 1) && errno == EISDIR);
  CHECK("nor a device", !kx_journal_file_open("/dev/full", 1) && errno == ENOTSUP);
  if (mkfifo(path, 0600) != 0) abort();
  CHECK("nor a FIFO, and nobody waits for it", !kx_journal_file_open(path, 1) && errno == ENOTSUP);
  unlink(path);
  CHECK("there must be a folder", !kx_journal_file_open("/no/such/log", 1) && errno == ENOENT);
}

int main(void) {
  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/journal", folder);
  test_append();
  test_torn();
  test_full();
  test_lock();
  test_in_place();
  test_refused();
  rmdir(folder);
  return report();
}
