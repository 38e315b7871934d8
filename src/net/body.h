/* An upload's bytes: pieces of text, and images coded in base64. The length is known beforehand,
   the bytes are made as they are read, and they can be read only once. */
#ifndef KX_BODY_H
#define KX_BODY_H

#include "file/source.h"

typedef enum { KX_TEXT, KX_BYTES, KX_PATH } kx_piece_kind;

/* A piece: text to send as it is, an image's bytes, or an image's path. */
typedef struct kx_piece {
  kx_piece_kind kind;
  const char *text;
  size_t size;
  const kx_stamp *stamp; /* a path's: what the file was when it was checked, or NULL */
} kx_piece;

typedef struct kx_body kx_body;

/* Makes a body: texts are copied, KX_BYTES stay the giver's, files are opened. On failure returns
   NULL with errno (ESTALE: a file is no longer as its stamp says) and in `which` the piece. */
kx_body *kx_body_new(const kx_piece *pieces, size_t count, size_t *which);

void kx_body_free(kx_body *body);

/* Makes the body write `line` to `fd`, synced, before its first byte is read: afterwards the other
   side may have received something. Keeps a duplicate of `fd`; returns 0 or an errno. */
int kx_body_mark(kx_body *body, int fd, const char *line, size_t size);

/* Returns how many bytes the whole body has. */
uint64_t kx_body_length(const kx_body *body);

/* Puts the next bytes into `buffer`, at most `size`; returns how many (0 only at the end or for
   size 0), or -1 with errno: ESTALE when a file has changed since it was opened. */
ssize_t kx_body_read(kx_body *body, char *buffer, size_t size);

#endif
