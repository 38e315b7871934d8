/* A body read in pieces of every small size is the same bytes, once; and none where its file is not
   what it was. */
#include "config.h"

#include "check.h"
#include "net/base64.h"
#include "net/body.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOM ((size_t)1 << 18)

static char path[] = "/tmp/kontext-body-XXXXXX";

static void write_file(const char *bytes, size_t size) {
  int fd = open(path, O_WRONLY | O_TRUNC);

  if (fd < 0 || write(fd, bytes, size) != (ssize_t)size) abort();
  close(fd);
}

/* Returns the stamp of the file as it is now. */
static kx_stamp stamp_now(void) {
  kx_source source;

  if (kx_source_open(&source, path) != 0) abort();
  kx_source_close(&source);
  return source.stamp;
}

/* Reads a whole body in pieces of `step`; returns its size, or -1 with errno. */
static ssize_t read_all(kx_body *body, char *to, size_t step) {
  size_t size = 0;
  ssize_t n;

  while ((n = kx_body_read(body, to + size, step)) > 0) size += (size_t)n;
  return n < 0 ? -1 : (ssize_t)size;
}

/* Bodies of text, a file and bytes in memory, each image of `size` bytes. */
static void test_sizes(const char *image, size_t size) {
  static char expected[ROOM], got[ROOM];
  static const size_t steps[] = {1, 2, 3, 4, 5, 6, 7, 64, 12287, 16384, ROOM};
  kx_piece pieces[5] = {{KX_TEXT, "{\"a\":\"", 6, NULL}, {KX_PATH, path, 0, NULL},
                        {KX_TEXT, "", 0, NULL},          {KX_BYTES, NULL, 0, NULL},
                        {KX_TEXT, "\"}", 2, NULL}};
  size_t i, which, length = 6;
  kx_stamp stamp;

  write_file(image, size);
  stamp = stamp_now();
  pieces[1].stamp = &stamp;
  pieces[3].text = image;
  pieces[3].size = size;
  memcpy(expected, "{\"a\":\"", 6);
  length += kx_base64_encode(expected + length, image, size);
  length += kx_base64_encode(expected + length, image, size);
  memcpy(expected + length, "\"}", 2);
  length += 2;
  for (i = 0; i < sizeof steps / sizeof *steps; i++) {
    kx_body *body = kx_body_new(pieces, 5, &which);
    CHECK("a body's length is known beforehand", body && kx_body_length(body) == length);
    CHECK("size 0 is no end", kx_body_read(body, got, 0) == 0);
    CHECK("a body is read to its length", read_all(body, got, steps[i]) == (ssize_t)length);
    CHECK("a body is the same bytes in pieces of any size", !memcmp(got, expected, length));
    CHECK("a body is read once", kx_body_read(body, got, steps[i]) == 0);
    kx_body_free(body);
  }
}

static void test_changes(const char *image) {
  static char got[ROOM];
  kx_piece piece = {KX_PATH, path, 0, NULL};
  kx_stamp stamp;
  kx_body *body;
  size_t which = 9;
  int fd;

  write_file(image, 30000);
  stamp = stamp_now();
  piece.stamp = &stamp;
  body = kx_body_new(&piece, 1, &which);
  if (truncate(path, 20000) != 0) abort();
  CHECK("a file that shrinks ends the body", read_all(body, got, 4096) < 0 && errno == ESTALE);
  kx_body_free(body);

  body = kx_body_new(&piece, 1, &which);
  CHECK("a file that is not as it was checked is refused", !body && errno == ESTALE && which == 0);

  write_file(image, 30000);
  piece.stamp = NULL;
  body = kx_body_new(&piece, 1, &which);
  fd = open(path, O_WRONLY | O_APPEND);
  if (fd < 0 || write(fd, "x", 1) != 1) abort();
  close(fd);
  CHECK("a file that grows ends the body before its end",
        read_all(body, got, 4096) < 0 && errno == ESTALE);
  kx_body_free(body);

  piece.text = "/tmp";
  CHECK("a directory is no body", !kx_body_new(&piece, 1, &which) && errno == EISDIR);
  piece.text = "/dev/zero";
  CHECK("a device is no body", !kx_body_new(&piece, 1, &which) && errno == ENOTSUP);
  piece.text = "/no/such";
  CHECK("a missing file is no body", !kx_body_new(&piece, 1, &which) && errno == ENOENT);
}

static void test_mark(void) {
  static char got[64];
  kx_piece piece = {KX_TEXT, "text", 4, NULL};
  size_t which;
  kx_body *body = kx_body_new(&piece, 1, &which);
  int fd;
  struct stat st;

  write_file("", 0);
  fd = open(path, O_WRONLY | O_APPEND);
  CHECK("a mark is kept", kx_body_mark(body, fd, "line\n", 5) == 0);
  close(fd); /* the body has a descriptor of its own */
  CHECK("nothing is written before a byte is read", stat(path, &st) == 0 && st.st_size == 0);
  CHECK("the first byte is read", kx_body_read(body, got, 1) == 1);
  CHECK("the mark is written before it is out", stat(path, &st) == 0 && st.st_size == 5);
  CHECK("the rest is read", read_all(body, got, 1) == 3);
  CHECK("the mark is written once", stat(path, &st) == 0 && st.st_size == 5);
  kx_body_free(body);

  body = kx_body_new(&piece, 1, &which);
  fd = open(path, O_RDONLY);
  CHECK("a mark is kept", kx_body_mark(body, fd, "line\n", 5) == 0);
  CHECK("no byte goes out where the mark cannot be written",
        kx_body_read(body, got, 4) < 0 && errno == EBADF);
  close(fd);
  kx_body_free(body);
}

/* A file read to each place in a page: the same bytes, and one piece is shorter by a line where
   they would all be copied slowly. */
static void test_places(const char *image, size_t size) {
  static char expected[ROOM], got[ROOM], pages[65536 + 2 * 4096];
  char *page = pages + (4096 - (size_t)(uintptr_t)pages % 4096);
  size_t place, which, length = kx_base64_encode(expected, image, size);
  kx_piece piece = {KX_PATH, path, 0, NULL};

  write_file(image, size);
  for (place = 0; place < 4096; place += 16) {
    kx_body *body = kx_body_new(&piece, 1, &which);
    size_t done = 0, pieces[4] = {0, 0, 0, 0}, count = 0;
    ssize_t n;
    while (body && count < 4 && (n = kx_body_read(body, page + place, 65536)) > 0) {
      memcpy(got + done, page + place, (size_t)n);
      done += (size_t)n;
      pieces[count++] = (size_t)n;
    }
    CHECK("a body is the same bytes at any place", done == length && !memcmp(got, expected, done));
    CHECK("the first piece is where copies are fast",
          pieces[0] == (place > 0 && place < 64 ? 65536 - 256 : 65536));
    CHECK("the others are", pieces[1] == 65536);
    kx_body_free(body);
  }
}

int main(void) {
  static char image[150000];
  static const size_t sizes[] = {0, 1, 2, 3, 4, 5, 6, 7, 12287, 12288, 12289, 24577, 30000};
  size_t i;
  int fd = mkstemp(path);

  if (fd < 0) return 1;
  close(fd);
  for (i = 0; i < sizeof image; i++) image[i] = (char)(i * 31 + i / 256);
  for (i = 0; i < sizeof sizes / sizeof *sizes; i++) test_sizes(image, sizes[i]);
  test_changes(image);
  test_mark();
  test_places(image, sizeof image);
  unlink(path);
  return report();
}
