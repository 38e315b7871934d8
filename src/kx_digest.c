#include "kx_config.h"

#include "kx_digest.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

struct kx_digest {
  EVP_MD_CTX *context, *copy;
  const EVP_MD *algorithm;
  int broken;
};

kx_digest *kx_digest_new(kx_digest_kind kind) {
  kx_digest *digest = (kx_digest *)calloc(1, sizeof *digest);

  if (!digest) return NULL;
  digest->context = EVP_MD_CTX_new();
  digest->copy = EVP_MD_CTX_new();
  digest->algorithm = kind == KX_MD5 ? EVP_md5() : EVP_sha256();
  if (digest->context && digest->copy) {
    kx_digest_restart(digest);
    if (!digest->broken) return digest;
  }
  kx_digest_free(digest);
  return NULL;
}

void kx_digest_free(kx_digest *digest) {
  if (!digest) return;
  EVP_MD_CTX_free(digest->context);
  EVP_MD_CTX_free(digest->copy);
  free(digest);
}

void kx_digest_restart(kx_digest *digest) {
  digest->broken = EVP_DigestInit_ex(digest->context, digest->algorithm, NULL) != 1;
}

void kx_digest_add(kx_digest *digest, const void *bytes, size_t size) {
  if (EVP_DigestUpdate(digest->context, bytes, size) != 1) digest->broken = 1;
}

size_t kx_digest_value(const kx_digest *digest, unsigned char to[KX_DIGEST_MAX]) {
  unsigned size = 0;

  if (digest->broken || EVP_MD_CTX_copy_ex(digest->copy, digest->context) != 1) return 0;
  return EVP_DigestFinal_ex(digest->copy, to, &size) == 1 ? size : 0;
}

int kx_hmac_sha256(const void *key, size_t key_size, const void *bytes, size_t size,
                   unsigned char to[KX_DIGEST_MAX]) {
  unsigned length = 0;

  if (key_size > INT_MAX) return 0;
  return HMAC(EVP_sha256(), key, (int)key_size, (const unsigned char *)bytes, size, to, &length) !=
         NULL;
}

int kx_equal(const void *a, const void *b, size_t size) { return CRYPTO_memcmp(a, b, size) == 0; }
