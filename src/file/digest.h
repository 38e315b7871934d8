/* Digests by OpenSSL: MD5 for Content-MD5, SHA-256 for names and journals, HMAC for webhooks. */
#ifndef KX_DIGEST_H
#define KX_DIGEST_H

#include "file/source.h"

#include <stddef.h>

#define KX_DIGEST_MAX 32

typedef enum { KX_MD5, KX_SHA256 } kx_digest_kind;

typedef struct kx_digest kx_digest;

/* Returns a running digest, or NULL without memory. */
kx_digest *kx_digest_new(kx_digest_kind kind);
void kx_digest_free(kx_digest *digest);
void kx_digest_add(kx_digest *digest, const void *bytes, size_t size);

/* Starts over, as if nothing had been added. */
void kx_digest_restart(kx_digest *digest);

/* Writes the digest of what was added so far into `to`; returns its size. */
size_t kx_digest_value(const kx_digest *digest, unsigned char to[KX_DIGEST_MAX]);

/* Writes the digest of these bytes into `to`; returns its size. Needs no memory. */
size_t kx_digest_of(kx_digest_kind kind, const void *bytes, size_t size,
                    unsigned char to[KX_DIGEST_MAX]);

/* Writes the digest of all that the source has, piece by piece; returns its size, or 0 with errno.
   */
size_t kx_digest_source(kx_digest_kind kind, const kx_source *source,
                        unsigned char to[KX_DIGEST_MAX]);

/* Writes HMAC-SHA-256 into `to`; returns 1, or 0 on failure. */
int kx_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
                   unsigned char to[KX_DIGEST_MAX]);

/* Returns 1 when both are equal, in a time that does not depend on where they differ. */
int kx_equal(const void *a, const void *b, size_t size);

#endif
