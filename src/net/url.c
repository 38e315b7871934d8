#include "config.h"

#include "net/url.h"

#include <string.h>

/* Copies one part; returns libcurl's code, CURLUE_MALFORMED_INPUT where there is no room for it. */
static CURLUcode copy_part(CURLU *parsed, CURLUPart part, unsigned flags, char *to, size_t room) {
  char *value = NULL;
  CURLUcode code = curl_url_get(parsed, part, &value, flags);

  if (code != CURLUE_OK) return code;
  if (strlen(value) < room) memcpy(to, value, strlen(value) + 1);
  else code = CURLUE_MALFORMED_INPUT;
  curl_free(value);
  return code;
}

/* Copies all parts; returns libcurl's code. */
static CURLUcode copy_parts(CURLU *parsed, kx_url *url) {
  const struct {
    CURLUPart part;
    unsigned flags;
    char *to;
    size_t room;
  } rows[] = {{CURLUPART_SCHEME, 0, url->scheme, sizeof url->scheme},
              {CURLUPART_HOST, 0, url->host, sizeof url->host},
              {CURLUPART_PORT, CURLU_DEFAULT_PORT, url->port, sizeof url->port},
              {CURLUPART_URL, 0, url->url, sizeof url->url}};
  CURLUcode code = CURLUE_OK;
  char *user = NULL;
  size_t i;

  for (i = 0; !code && i < sizeof rows / sizeof *rows; i++) {
    code = copy_part(parsed, rows[i].part, rows[i].flags, rows[i].to, rows[i].room);
  }
  if (code) return code;
  code = curl_url_get(parsed, CURLUPART_USER, &user, 0);
  url->user = code == CURLUE_OK;
  curl_free(user);
  return code == CURLUE_NO_USER ? CURLUE_OK : code;
}

CURLUcode kx_url_read(kx_url *url, const char *text, size_t size, const char *base) {
  /* A signed URL stays as it came; the dots of a relative URL are resolved against its base. */
  const unsigned flags = CURLU_NON_SUPPORT_SCHEME | (base ? 0 : CURLU_PATH_AS_IS);
  CURLUcode code = CURLUE_OK;
  char *again = NULL;
  CURLU *parsed;

  if (strlen(text) != size || size >= KX_URL_MAX) return CURLUE_MALFORMED_INPUT;
  parsed = curl_url();
  if (!parsed) return CURLUE_OUT_OF_MEMORY;
  if (base) code = curl_url_set(parsed, CURLUPART_URL, base, CURLU_NON_SUPPORT_SCHEME);
  if (!code) code = curl_url_set(parsed, CURLUPART_URL, text, flags);
  if (!code) code = copy_parts(parsed, url);
  /* A transfer parses it again: "0%36" parsed once is "06", which parsed again is 0.0.0.6. */
  if (!code) code = curl_url_set(parsed, CURLUPART_URL, url->url, flags | CURLU_PATH_AS_IS);
  if (!code) code = curl_url_get(parsed, CURLUPART_URL, &again, 0);
  if (!code && strcmp(again, url->url) != 0) code = CURLUE_MALFORMED_INPUT;
  curl_free(again);
  curl_url_cleanup(parsed);
  return code;
}
