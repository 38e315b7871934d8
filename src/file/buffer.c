#include "config.h"

#include "file/buffer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

unsigned char *kx_buffer_room(kx_buffer *b, size_t n) {
  if (!b->error && n > b->cap - b->size) b->error = EFBIG;
  if (b->error) return NULL;
  if (n > b->room - b->size || !b->bytes) {
    size_t room = b->room < 512 ? 1024 : b->room > b->cap / 2 ? b->cap : b->room * 2;
    unsigned char *bytes;
    if (room < b->size + n) room = b->size + n;
    if (room > b->cap && b->cap >= b->size + n) room = b->cap;
    bytes = (unsigned char *)realloc(b->bytes, room ? room : 1);
    if (!bytes) {
      b->error = ENOMEM;
      return NULL;
    }
    b->bytes = bytes;
    b->room = room;
  }
  return b->bytes + b->size;
}

int kx_buffer_add(kx_buffer *b, const void *bytes, size_t n) {
  unsigned char *to = kx_buffer_room(b, n);

  if (!to) return 0;
  memcpy(to, bytes, n);
  b->size += n;
  return 1;
}

void kx_buffer_free(kx_buffer *b) {
  free(b->bytes);
  b->bytes = NULL;
  b->size = b->room = 0;
  b->error = 0;
}
