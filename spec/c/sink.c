/* A sink takes up to its cap, and its file is whole or not there. */
#include "config.h"

#include "check.h"
#include "file/sink.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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
  kx_sink *sink = kx_sink_file(path, 6, 0640);
  struct stat st;
  mode_t mask = umask(0);

  umask(mask);
  test_cap(sink);
  CHECK("until it is finished there is no file", access(path, F_OK) != 0 && names() == 1);
  CHECK("it is put in its place", kx_sink_finish(sink) == 0);
  kx_sink_free(sink);
  CHECK("whole, alone", holds(path, "xyz") && names() == 1);
  CHECK("with its permissions", stat(path, &st) == 0 && (st.st_mode & 0777) == (0640 & ~mask));

  sink = kx_sink_file(path, 100, 0600);
  kx_sink_write(sink, "half", 4);
  CHECK("the old file stands while the new one comes", holds(path, "xyz"));
  kx_sink_free(sink);
  CHECK("and after it was given up", holds(path, "xyz") && names() == 1);

  sink = kx_sink_file(path, 100, 0600);
  kx_sink_write(sink, "new", 3);
  CHECK("the new takes the old one's place", kx_sink_finish(sink) == 0 && holds(path, "new"));
  kx_sink_free(sink);
}

static void test_places(void) {
  kx_sink *sink;

  put(other, "kept");
  unlink(path);
  if (symlink(other, path) != 0) abort();
  sink = kx_sink_file(path, 100, 0600);
  kx_sink_write(sink, "new", 3);
  CHECK("a link is replaced", kx_sink_finish(sink) == 0 && holds(path, "new"));
  kx_sink_free(sink);
  CHECK("and what it names is not written", holds(other, "kept"));
  unlink(path);
  unlink(other);

  CHECK("a folder is no file", !kx_sink_file(folder, 1, 0600) && errno == EISDIR);
  CHECK("nor a name that ends in one", !kx_sink_file("/tmp/", 1, 0600) && errno == EISDIR);
  CHECK("nor . and ..", !kx_sink_file("/tmp/..", 1, 0600) && errno == EISDIR);
  CHECK("nor none", !kx_sink_file("", 1, 0600) && errno == EISDIR);
  CHECK("a device is not replaced", !kx_sink_file("/dev/full", 1, 0600) && errno == ENOTSUP);
  if (mkfifo(path, 0600) != 0) abort();
  CHECK("nor a FIFO, and nobody waits for it", !kx_sink_file(path, 1, 0600) && errno == ENOTSUP);
  unlink(path);
  CHECK("there must be a folder", !kx_sink_file("/no/such/file", 1, 0600) && errno == ENOENT);
  CHECK("nothing stays behind", names() == 0);
}

/* The folder is swapped for a link elsewhere while the bytes come. */
static void test_swap(void) {
  char moved[64];
  kx_sink *sink = kx_sink_file(path, 100, 0600);

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
  test_swap();
  rmdir(folder);
  return report();
}
