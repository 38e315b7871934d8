#include "config.h"

#include "net/body.h"

#include "net/base64.h"
#include "file/place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHUNK ((size_t)48 * 1024) /* bytes of an image coded at once: a multiple of three */
#define PAGE 4096
#define LINE 64 /* of the processor's cache */

typedef struct body_part {
  char *text; /* NULL for an image */
  kx_source source;
  uint64_t length; /* in the body */
} body_part;

/* The journal's line that the body goes out. */
typedef struct kx_mark {
  char *line; /* NULL when there is none, or none any more */
  size_t size;
  int fd;
} kx_mark;

struct kx_body {
  body_part *parts;
  size_t count, index; /* the part being read */
  uint64_t offset;     /* how much of it was read: characters of text, bytes of an image */
  uint64_t length;
  char quad[4]; /* coded characters that found no room */
  size_t quad_size, quad_read;
  kx_mark mark;
};

/* Opens or copies one piece; returns 0 or an errno. */
static int make_part(body_part *part, const kx_piece *piece) {
  int error;

  part->source.fd = -1;
  switch (piece->kind) {
    case KX_TEXT:
      part->text = (char *)malloc(piece->size + 1);
      if (!part->text) return ENOMEM;
      memcpy(part->text, piece->text, piece->size);
      part->length = piece->size;
      return 0;
    case KX_BYTES: kx_source_memory(&part->source, piece->text, piece->size); break;
    case KX_PATH:
      error = kx_source_open(&part->source, piece->text);
      if (error) return error;
      if (piece->stamp && !kx_stamp_equal(piece->stamp, &part->source.stamp)) return ESTALE;
      break;
  }
  if (part->source.size > UINT64_MAX / 4) return EFBIG;
  part->length = KX_BASE64_LENGTH(part->source.size);
  return 0;
}

kx_body *kx_body_new(const kx_piece *pieces, size_t count, size_t *which) {
  kx_body *body = (kx_body *)calloc(1, sizeof *body);
  int error = ENOMEM;

  *which = 0;
  if (!body) return NULL;
  body->mark.fd = -1;
  body->parts = (body_part *)calloc(count ? count : 1, sizeof *body->parts);
  if (!body->parts) goto fail;
  for (; body->count < count; body->length += body->parts[body->count++].length) {
    *which = body->count;
    error = make_part(&body->parts[body->count], &pieces[body->count]);
    if (error) {
      kx_source_close(&body->parts[body->count].source);
      goto fail;
    }
  }
  return body;
fail:
  kx_body_free(body);
  errno = error;
  return NULL;
}

void kx_body_free(kx_body *body) {
  size_t i;

  if (!body) return;
  for (i = 0; i < body->count; i++) {
    free(body->parts[i].text);
    kx_source_close(&body->parts[i].source);
  }
  if (body->mark.fd >= 0) close(body->mark.fd);
  free(body->mark.line);
  free(body->parts);
  free(body);
}

int kx_body_mark(kx_body *body, int fd, const char *line, size_t size) {
  body->mark.line = (char *)malloc(size + 1);
  if (!body->mark.line) return ENOMEM;
  memcpy(body->mark.line, line, size);
  body->mark.size = size;
  body->mark.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
  return body->mark.fd < 0 ? errno : 0;
}

/* Writes the mark, once; returns 0 or an errno. */
static int write_mark(kx_body *body) {
  int error = kx_append(body->mark.fd, body->mark.line, body->mark.size);

  if (!error) error = kx_sync(body->mark.fd);
  free(body->mark.line);
  body->mark.line = NULL;
  return error;
}

uint64_t kx_body_length(const kx_body *body) { return body->length; }

/* Copies text that is left in the part; returns how much. */
static size_t read_text(kx_body *body, const body_part *part, char *buffer, size_t size) {
  if (size > part->length - body->offset) size = (size_t)(part->length - body->offset);
  memcpy(buffer, part->text + body->offset, size);
  body->offset += size;
  return size;
}

/* Returns 1 where a file's page is copied slowly: AMD's Zen takes four times as long when a byte's
   place in its page moves up by less than a line. */
static int copies_slowly(const char *to, uint64_t offset) {
  size_t up = ((size_t)(uintptr_t)to - (size_t)offset) % PAGE;

  return up > 0 && up < LINE;
}

/* Codes bytes that are left in the image; returns how many characters it wrote, or -1 with errno.
   */
static ssize_t read_image(kx_body *body, const body_part *part, char *buffer, size_t size) {
  size_t want = size / 4 * 3;
  unsigned char few[3], *bytes = few;
  int last;
  ssize_t got;

  if (want > CHUNK) want = CHUNK;
  /* A cache line lower; this changes the file's later offsets too. */
  if (want == CHUNK && copies_slowly(buffer + want / 3, body->offset)) want -= (size_t)3 * LINE;
  /* The end of the characters' own room: coding overtakes its input only where both end. */
  if (want > 0) bytes = (unsigned char *)buffer + want / 3;
  else want = sizeof few; /* what does not fit goes through quad */
  if (want > part->source.size - body->offset) want = (size_t)(part->source.size - body->offset);
  last = body->offset + want == part->source.size;
  got = kx_source_read(&part->source, body->offset, bytes, want);
  if (got < 0) return -1;
  /* The end is handed out only when the file is as it was: a body cut short is not a submit. */
  if ((size_t)got < want || (last && kx_source_changed(&part->source))) {
    errno = ESTALE;
    return -1;
  }
  body->offset += want;
  if (bytes != few) return (ssize_t)kx_base64_encode(buffer, bytes, want);
  body->quad_size = kx_base64_encode(body->quad, bytes, want);
  body->quad_read = 0;
  return 0;
}

ssize_t kx_body_read(kx_body *body, char *buffer, size_t size) {
  size_t done = 0;
  int error = body->mark.line ? write_mark(body) : 0;

  if (error) {
    errno = error;
    return -1;
  }
  while (done < size) {
    const body_part *part = &body->parts[body->index];
    if (body->quad_read < body->quad_size) {
      buffer[done++] = body->quad[body->quad_read++];
    } else if (body->index == body->count) {
      break;
    } else if (part->text && body->offset < part->length) {
      done += read_text(body, part, buffer + done, size - done);
    } else if (!part->text && body->offset < part->source.size) {
      if (done > 0 && size - done <= (size_t)4 * LINE) break; /* the next call has more room */
      ssize_t n = read_image(body, part, buffer + done, size - done);
      if (n < 0) return -1;
      done += (size_t)n;
    } else {
      body->index++;
      body->offset = 0;
    }
  }
  return (ssize_t)done;
}
