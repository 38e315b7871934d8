#include "config.h"

#include "file/digest.h"

#define OPENSSL_SUPPRESS_DEPRECATED /* the general functions first load a provider: 0.5 ms */

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/md5.h>
#include <openssl/sha.h>
#include <stdlib.h>

struct kx_digest {
  kx_digest_kind kind;
  union {
    MD5_CTX md5;
    SHA256_CTX sha256;
  } state;
};

kx_digest *kx_digest_new(kx_digest_kind kind) {
  kx_digest *digest = (kx_digest *)malloc(sizeof *digest);

  if (!digest) return NULL;
  digest->kind = kind;
  kx_digest_restart(digest);
  return digest;
}

void kx_digest_free(kx_digest *digest) { free(digest); }

void kx_digest_restart(kx_digest *digest) {
  if (digest->kind == KX_MD5) MD5_Init(&digest->state.md5);
  else SHA256_Init(&digest->state.sha256);
}

void kx_digest_add(kx_digest *digest, const void *bytes, size_t size) {
  if (digest->kind == KX_MD5) MD5_Update(&digest->state.md5, bytes, size);
  else SHA256_Update(&digest->state.sha256, bytes, size);
}

size_t kx_digest_value(const kx_digest *digest, unsigned char to[KX_DIGEST_MAX]) {
  kx_digest copy = *digest;

  if (copy.kind == KX_MD5) return MD5_Final(to, &copy.state.md5), (size_t)MD5_DIGEST_LENGTH;
  return SHA256_Final(to, &copy.state.sha256), (size_t)SHA256_DIGEST_LENGTH;
}

size_t kx_digest_of(kx_digest_kind kind, const void *bytes, size_t size,
                    unsigned char to[KX_DIGEST_MAX]) {
  kx_digest digest;

  digest.kind = kind;
  kx_digest_restart(&digest);
  kx_digest_add(&digest, bytes, size);
  return kx_digest_value(&digest, to);
}

size_t kx_digest_source(kx_digest_kind kind, const kx_source *source,
                        unsigned char to[KX_DIGEST_MAX]) {
  unsigned char buffer[16384];
  kx_digest digest;
  uint64_t offset = 0;
  ssize_t n;

  digest.kind = kind;
  kx_digest_restart(&digest);
  while ((n = kx_source_read(source, offset, buffer, sizeof buffer)) > 0) {
    kx_digest_add(&digest, buffer, (size_t)n);
    offset += (uint64_t)n;
  }
  return n < 0 ? 0 : kx_digest_value(&digest, to);
}

int kx_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
                   unsigned char to[KX_DIGEST_MAX]) {
  unsigned length = 0;

  if (key_size > INT_MAX) return 0;
  return HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)bytes, size, to, &length) !=
         NULL;
}

int kx_equal(const void *a, const void *b, size_t size) { return CRYPTO_memcmp(a, b, size) == 0; }
