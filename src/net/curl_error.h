/* What libcurl's codes mean: their kind and name in one table. */
#ifndef KX_CURL_ERROR_H
#define KX_CURL_ERROR_H

#include "error.h"

#include <curl/curl.h>

/* Fills `error` from libcurl's code; `detail` (may be empty) is libcurl's own message. */
void kx_error_curl(kx_error *error, CURLcode code, const char *detail);

#endif
