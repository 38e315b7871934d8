/* Any bytes as the answer to a download, through libcurl into the callbacks: what is kept stays
   under its caps, a header is one that was sent, and what an earlier answer brought is gone on with
   only where the new one says that it does. The first byte chooses what is asked. */
#include "config.h"

#include "wire.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CAP ((size_t)65536)
#define KEPT ((size_t)64 * 1024) /* of headers */
#define NOTE ((size_t)256 * 1024)

static const char earlier[] = "five!";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Returns whether `value` stands in the answer behind the header's name. */
static int was_sent(const char *answer, size_t size, const char *name, const char *value) {
  size_t named = strlen(name), length = strlen(value), i, at;

  for (i = 0; i + named < size; i++) {
    if (strncasecmp(answer + i, name, named) != 0 || answer[i + named] != ':') continue;
    for (at = i + named + 1; at < size && (answer[at] == ' ' || answer[at] == '\t'); at++) continue;
    if (length <= size - at && !memcmp(answer + at, value, length)) return 1;
  }
  return 0;
}

static int is_one_line(const char *text) {
  for (; *text; text++) {
    if (((unsigned char)*text < ' ' && *text != '\t') || *text == 127) return 0;
  }
  return 1;
}

static void check_headers(const kx_transfer *t, const char *answer, size_t size) {
  size_t kept = 0;
  int i;

  for (i = 0; i < KX_HEADERS; i++) {
    const char *value = t->values[i];
    if (!value) continue;
    kept += strlen(value);
    assert(is_one_line(value));
    assert(was_sent(answer, size, kx_header_name((kx_header)i), value));
  }
  assert(kept <= KEPT);
}

/* What the sink holds must begin with what it had, or with what came instead of it. */
static void check_sink(const kx_transfer *t, int resumed) {
  kx_source source;
  const char *range = t->values[KX_CONTENT_RANGE];
  int is_there;

  kx_sink_source(t->sink, &source);
  is_there = source.size >= 5 && !memcmp(source.memory, earlier, 5);
  assert(source.size <= CAP && kx_sink_size(t->error_body) <= NOTE);
  if (!resumed) {
    assert(t->status / 100 == 2 || source.size == 0);
  } else if (t->status == 206) {
    assert(is_there);
    assert(source.size == 5 || t->error.kind || (range && !strncasecmp(range, "bytes 5-", 8)));
  } else if (t->status / 100 != 2) {
    assert(is_there && source.size == 5);
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  kx_sink *sink = kx_sink_memory(CAP);
  kx_transfer *t;
  char heard[4096];
  int resumed = size > 0 && (bytes[0] & 1), digest = size > 0 && (bytes[0] & 2);
  const char *answer = (const char *)bytes + (size > 0);

  size -= size > 0;
  if (resumed && kx_sink_write(sink, earlier, 5) != 0) abort();
  t = wire_new("http://127.0.0.1:1/picture", NULL, sink);
  t->digest = digest;
  wire_perform(t, answer, size, heard, sizeof heard);
  assert(!strncmp(heard, "GET /picture HTTP/1.1\r\n", 23));
  assert(resumed == (strstr(heard, "\r\nRange: bytes=5-\r\n") != NULL));
  assert(!t->easy && (t->status == 0 || (t->status >= 100 && t->status <= 999)));
  assert(t->error.kind ? *t->error.detail != '\0' : t->status > 0);
  assert(is_one_line(t->error.detail));
  check_headers(t, answer, size);
  check_sink(t, resumed);
  kx_transfer_free(t);
  return 0;
}
