/* A sink takes up to its cap, and its file is whole or not there. */
#include "config.h"

#include "check.h"
#include "file/sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char folder[] = "/tmp/kontext-sink-XXXXXX";
static char path[64], other[64];

/* Returns how many names the folder has. */
static int names(void) {
  DIR *dir = opendir(folder);
  struct dirent *entry;
  int count = 0;

  if (!dir) abort();
  while ((entry = readdir(dir))) count += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
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

static void put(const char *name, const char *text) {
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

  if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text)) abort();
  close(fd);
}

/* Returns how many names a sink needs while its bytes come: none where a file can be without one.
   */
static int nameless(void) {
#ifdef O_TMPFILE
  int fd = open(folder, O_TMPFILE | O_RDWR, 0600);

  if (fd < 0) return 1;
  close(fd);
  return 0;
#else
  return 1;
#endif
}

static void test_cap(kx_sink *sink) {
  kx_source source;
  char buffer[8] = "";

  CHECK("nothing is taken at first", kx_sink_size(sink) == 0);
  CHECK("no bytes are taken as none", kx_sink_write(sink, "", 0) == 0);
  CHECK("bytes are taken up to the cap", kx_sink_write(sink, "abcde", 5) == 0);
  CHECK("one over the cap is refused", kx_sink_write(sink, "fg", 2) == EFBIG);
  CHECK("what is refused leaves the rest", kx_sink_size(sink) == 5);
  CHECK("the last byte is taken", kx_sink_write(sink, "f", 1) == 0);
  CHECK("then none", kx_sink_write(sink, "g", 1) == EFBIG);
  kx_sink_source(sink, &source);
  CHECK("what was taken can be read", source.size == 6 &&
        kx_source_read(&source, 1, buffer, 8) == 5 && !memcmp(buffer, "bcdef", 5));
  CHECK("all can be forgotten", kx_sink_restart(sink) == 0 && kx_sink_size(sink) == 0);
  CHECK("and others taken", kx_sink_write(sink, "xyz", 3) == 0 && kx_sink_size(sink) == 3);
}

static void test_digest(void) {
  static const unsigned char md5[16] = {0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0,
                                        0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72};
  unsigned char value[KX_DIGEST_MAX];
  kx_sink *sink = kx_sink_memory(100);

  CHECK("without a digest there is none", kx_sink_digest_value(sink, value) == 0);
  CHECK("a digest begins", kx_sink_digest(sink, KX_MD5) == 0);
  kx_sink_write(sink, "wrong", 5);
  kx_sink_restart(sink);
  kx_sink_write(sink, "ab", 2);
  kx_sink_write(sink, "c", 1);
  CHECK("the digest is of what was taken since the restart",
        kx_sink_digest_value(sink, value) == 16 && !memcmp(value, md5, 16));
  kx_sink_free(sink);
}

static void test_file(void) {
  kx_sink *sink = kx_sink_file(path, 6, 0640, KX_REPLACE);
  struct stat st;
  mode_t mask = umask(0);

  umask(mask);
  test_cap(sink);
  CHECK("until it is finished there is no file", access(path, F_OK) != 0 && names() == nameless());
  CHECK("it is put in its place", kx_sink_finish(sink) == 0);
  kx_sink_free(sink);
  CHECK("whole, alone", holds(path, "xyz") && names() == 1);
  CHECK("with its permissions", stat(path, &st) == 0 && (st.st_mode & 0777) == (0640 & ~mask));

  sink = kx_sink_file(path, 100, 0600, KX_REPLACE);
  kx_sink_write(sink, "half", 4);
  CHECK("the old file stands while the new one comes", holds(path, "xyz"));
  kx_sink_free(sink);
  CHECK("and after it was given up", holds(path, "xyz") && names() == 1);

  sink = kx_sink_file(path, 100, 0600, KX_REPLACE);
  kx_sink_write(sink, "new", 3);
  CHECK("the new takes the old one's place", kx_sink_finish(sink) == 0 && holds(path, "new"));
  kx_sink_free(sink);
  CHECK("alone", names() == 1);

  if (chmod(path, 0604) != 0) abort();
  sink = kx_sink_file(path, 100, 0666, KX_REPLACE);
  kx_sink_write(sink, "newer", 5);
  CHECK("and its permissions", kx_sink_finish(sink) == 0 && stat(path, &st) == 0 &&
        (st.st_mode & 0777) == 0604);
  kx_sink_free(sink);
}

static void test_places(void) {
  kx_sink *sink;

  put(other, "kept");
  unlink(path);
  if (symlink(other, path) != 0) abort();
  sink = kx_sink_file(path, 100, 0600, KX_REPLACE);
  kx_sink_write(sink, "new", 3);
  CHECK("a link is replaced", kx_sink_finish(sink) == 0 && holds(path, "new"));
  kx_sink_free(sink);
  CHECK("and what it names is not written", holds(other, "kept"));
  unlink(path);
  unlink(other);

  CHECK("a folder is no file", !kx_sink_file(folder, 1, 0600, KX_REPLACE) && errno == EISDIR);
  CHECK("nor a name that ends in one", !kx_sink_file("/tmp/", 1, 0600, KX_REPLACE) &&
        errno == EISDIR);
  CHECK("nor . and ..", !kx_sink_file("/tmp/..", 1, 0600, KX_REPLACE) && errno == EISDIR);
  CHECK("nor none", !kx_sink_file("", 1, 0600, KX_REPLACE) && errno == EISDIR);
  CHECK("a device is not replaced", !kx_sink_file("/dev/full", 1, 0600, KX_REPLACE) &&
        errno == ENOTSUP);
  if (mkfifo(path, 0600) != 0) abort();
  CHECK("nor a FIFO, and nobody waits for it", !kx_sink_file(path, 1, 0600, KX_REPLACE) &&
        errno == ENOTSUP);
  unlink(path);
  CHECK("there must be a folder", !kx_sink_file("/no/such/file", 1, 0600, KX_REPLACE) &&
        errno == ENOENT);
  CHECK("nothing stays behind", names() == 0);
}

/* Puts a text at the path without replacing what has bytes; returns 0 or an errno. */
static int put_once(const char *text) {
  kx_sink *sink = kx_sink_file(path, 100, 0600, KX_NO_REPLACE);
  int error = sink ? kx_sink_write(sink, text, strlen(text)) : errno;

  if (!error) error = kx_sink_finish(sink);
  kx_sink_free(sink);
  return error;
}

static void test_reserved(void) {
  kx_sink *first, *second;

  unlink(path);
  CHECK("a name is kept by an empty file", kx_place_reserve(path, 0666) == 0 && holds(path, ""));
  CHECK("once", kx_place_reserve(path, 0666) == EEXIST);
  CHECK("which a file takes the place of", put_once("mine") == 0 && holds(path, "mine"));
  CHECK("but not a second", put_once("other") == EEXIST && holds(path, "mine"));
  CHECK("what was filled is not removed", kx_place_release(path) == EEXIST && holds(path, "mine"));
  unlink(path);
  CHECK("a name that nothing has is taken", put_once("mine") == 0 && holds(path, "mine"));
  unlink(path);
  CHECK("an empty file is given up", kx_place_reserve(path, 0666) == 0 &&
        kx_place_release(path) == 0 && names() == 0);
  CHECK("twice does no harm", kx_place_release(path) == 0);

  first = kx_sink_file(path, 100, 0600, KX_NO_REPLACE);
  second = kx_sink_file(path, 100, 0600, KX_NO_REPLACE);
  kx_sink_write(first, "first", 5);
  kx_sink_write(second, "second", 6);
  CHECK("of two that come together", kx_sink_finish(first) == 0);
  CHECK("only one is put there", kx_sink_finish(second) == EEXIST && holds(path, "first"));
  kx_sink_free(first);
  kx_sink_free(second);
  unlink(path);
  if (symlink(other, path) != 0) abort();
  CHECK("a link is not replaced unasked", put_once("new") == EEXIST);
  unlink(path);
  CHECK("and nothing stays behind", names() == 0);
}

/* Many processes save under one reserved name at the same moment. */
static void test_race(void) {
  enum { PROCESSES = 8 };
  int winners = 0, i, start[2], status;

  if (kx_place_reserve(path, 0666) != 0 || pipe(start) != 0) abort();
  for (i = 0; i < PROCESSES; i++) {
    if (fork() == 0) {
      kx_sink *sink = kx_sink_file(path, 100, 0600, KX_NO_REPLACE);
      char byte;
      close(start[1]);
      kx_sink_write(sink, "picture", 7);
      if (read(start[0], &byte, 1) != 0) _exit(2);
      status = kx_sink_finish(sink);
      _exit(status == 0 ? 0 : status == EEXIST ? 1 : 2);
    }
  }
  close(start[0]);
  close(start[1]);
  for (i = 0; i < PROCESSES; i++) {
    if (wait(&status) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > 1) abort();
    winners += WEXITSTATUS(status) == 0;
  }
  CHECK("of many processes one fills a reserved name", winners == 1 && holds(path, "picture"));
  unlink(path);
}

/* What a killed process left is removed, what a living one has is not. */
static void test_sweep(void) {
  char left[128], held[128], strange[128];
  int fd, status;
  pid_t child;
  kx_sink *sink;

  snprintf(left, sizeof left, "%s/.kontext-dead-1", folder);
  snprintf(held, sizeof held, "%s/.kontext-live-1", folder);
  snprintf(strange, sizeof strange, "%s/.kontext", folder);
  put(left, "half");
  put(held, "half");
  put(strange, "no picture");
  fd = open(held, O_RDWR);
  if (fd < 0 || kx_lock(fd) != 0) abort();
  CHECK("a look at a place leaves nothing there", kx_sink_probe(path, KX_REPLACE) == 0);
  CHECK("and removes what the killed left", access(left, F_OK) != 0);
  CHECK("not what the living have", access(held, F_OK) == 0);
  CHECK("nor what is no picture of ours", access(strange, F_OK) == 0);
  close(fd);
  unlink(held);
  unlink(strange);

  child = fork();
  if (child == 0) {
    sink = kx_sink_file(path, 100, 0600, KX_REPLACE);
    kx_sink_write(sink, "half", 4);
    raise(SIGKILL);
  }
  if (waitpid(child, &status, 0) != child || !WIFSIGNALED(status)) abort();
  CHECK("a kill leaves no more than a hidden file", names() == nameless());
  CHECK("which the next look removes", kx_sink_probe(path, KX_REPLACE) == 0 && names() == 0);
}

static void test_probe(void) {
  char deep[512], link[64];

  snprintf(deep, sizeof deep, "%s/%0300d", folder, 0);
  CHECK("a name that is too long is found before", kx_sink_probe(deep, KX_REPLACE) == ENAMETOOLONG);
  CHECK("so is a folder that is not there",
        kx_sink_probe("/no/such/file", KX_REPLACE) == ENOENT);
  CHECK("a folder", kx_sink_probe(folder, KX_REPLACE) == EISDIR);
  CHECK("a device", kx_sink_probe("/dev/full", KX_REPLACE) == ENOTSUP);
  snprintf(link, sizeof link, "%s/loop", folder);
  if (symlink("loop", link) != 0) abort();
  CHECK("a loop of links", kx_sink_probe(link, KX_REPLACE) == ELOOP);
  unlink(link);
  if (geteuid() == 0 && fork() == 0) {
    if (setuid(65534) != 0) _exit(2);
    _exit(kx_sink_probe(path, KX_REPLACE) == EACCES ? 0 : 1);
  } else if (geteuid() == 0) {
    int status;
    CHECK("a folder that one may not write to", wait(&status) > 0 && status == 0);
  }
  CHECK("and nothing is left there", names() == 0);
}

/* The folder is swapped for a link elsewhere while the bytes come. */
static void test_swap(void) {
  char moved[64];
  kx_sink *sink = kx_sink_file(path, 100, 0600, KX_REPLACE);

  snprintf(moved, sizeof moved, "%s-moved", folder);
  kx_sink_write(sink, "new", 3);
  if (rename(folder, moved) != 0 || symlink("/tmp", folder) != 0) abort();
  CHECK("the file stays in the folder that was opened", kx_sink_finish(sink) == 0);
  kx_sink_free(sink);
  unlink(folder);
  if (rename(moved, folder) != 0) abort();
  CHECK("and nowhere else", holds(path, "new") && access("/tmp/picture", F_OK) != 0);
  unlink(path);
}

int main(void) {
  kx_sink *sink = kx_sink_memory(6);

  if (!mkdtemp(folder)) return 1;
  snprintf(path, sizeof path, "%s/picture", folder);
  snprintf(other, sizeof other, "%s/other", folder);
  test_cap(sink);
  kx_sink_free(sink);
  test_digest();
  test_file();
  test_places();
  test_reserved();
  test_race();
  test_sweep();
  test_probe();
  test_swap();
  rmdir(folder);
  return report();
}
