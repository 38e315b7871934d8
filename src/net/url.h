/* A URL as libcurl's parser reads it, so that the host that is judged is the one connected to. */
#ifndef KX_URL_H
#define KX_URL_H

#include <curl/curl.h>

#define KX_URL_MAX 8192 /* a signed URL has some 300 bytes */

typedef struct kx_url {
  char scheme[16], host[256], port[8]; /* the port also where it is the scheme's own */
  char url[KX_URL_MAX];                /* the whole, as a transfer takes it */
  int user;                            /* it names a user */
} kx_url;

/* Parses `text` of `size` bytes, relative to `base` where that is not NULL. Returns CURLUE_OK, or
   libcurl's code, CURLUE_MALFORMED_INPUT also for a text with a NUL byte, for what is longer than
   any good URL, and for a URL that would be another when it is read again. */
CURLUcode kx_url_read(kx_url *url, const char *text, size_t size, const char *base);

#endif
