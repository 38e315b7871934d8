/* What went wrong, for programs and for people: CURLcode and errno → kind and name, one table. */
#ifndef KX_ERROR_H
#define KX_ERROR_H

#include <curl/curl.h>

/* How a transfer ended: a kind of design's closed list, libcurl's or the system's name for it, and
   what happened in words. All three are NULL or empty after success. */
typedef struct kx_error {
  const char *kind, *code;
  char detail[CURL_ERROR_SIZE];
} kx_error;

/* Fills `error` from libcurl's code; `detail` (may be empty) is what libcurl said of it. */
void kx_error_curl(kx_error *error, CURLcode code, const char *detail);

/* Fills `error` from errno, as kind "file", of the file that `what` names. */
void kx_error_file(kx_error *error, int number, const char *what);

/* Fills `error` from our own findings. */
void kx_error_own(kx_error *error, const char *kind, const char *code, const char *detail);

/* Returns "ENOENT" and the like, "EUNKNOWN" for what the table lacks. */
const char *kx_errno_name(int number);

#endif
