#include "config.h"

#include "net/error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

typedef struct curl_row {
  CURLcode code;
  const char *kind, *name;
} curl_row;

/* What the table lacks is "internal": codes of options and of other protocols than HTTP. */
#define ROW(code, kind) \
  { code, kind, #code }
static const curl_row curl_rows[] = {
    ROW(CURLE_UNSUPPORTED_PROTOCOL, "invalid"),
    ROW(CURLE_URL_MALFORMAT, "invalid"),
    ROW(CURLE_LOGIN_DENIED, "invalid"),
    ROW(CURLE_COULDNT_RESOLVE_PROXY, "network"),
    ROW(CURLE_COULDNT_RESOLVE_HOST, "network"),
    ROW(CURLE_COULDNT_CONNECT, "network"),
    ROW(CURLE_INTERFACE_FAILED, "network"),
    ROW(CURLE_GOT_NOTHING, "network"),
    ROW(CURLE_SEND_ERROR, "network"),
    ROW(CURLE_SEND_FAIL_REWIND, "network"),
    ROW(CURLE_RECV_ERROR, "network"),
    ROW(CURLE_PARTIAL_FILE, "network"),
    ROW(CURLE_HTTP2, "network"),
    ROW(CURLE_HTTP2_STREAM, "network"),
    ROW(CURLE_HTTP3, "network"),
    ROW(CURLE_QUIC_CONNECT_ERROR, "network"),
    ROW(CURLE_PROXY, "network"),
    ROW(CURLE_NO_CONNECTION_AVAILABLE, "network"),
    ROW(CURLE_OPERATION_TIMEDOUT, "timeout"),
    ROW(CURLE_SSL_CONNECT_ERROR, "tls"),
    ROW(CURLE_PEER_FAILED_VERIFICATION, "tls"),
    ROW(CURLE_SSL_CACERT_BADFILE, "tls"),
    ROW(CURLE_SSL_CERTPROBLEM, "tls"),
    ROW(CURLE_SSL_CIPHER, "tls"),
    ROW(CURLE_SSL_ENGINE_INITFAILED, "tls"),
    ROW(CURLE_SSL_ENGINE_NOTFOUND, "tls"),
    ROW(CURLE_SSL_ENGINE_SETFAILED, "tls"),
    ROW(CURLE_SSL_ISSUER_ERROR, "tls"),
    ROW(CURLE_SSL_CRL_BADFILE, "tls"),
    ROW(CURLE_SSL_INVALIDCERTSTATUS, "tls"),
    ROW(CURLE_SSL_PINNEDPUBKEYNOTMATCH, "tls"),
    ROW(CURLE_SSL_SHUTDOWN_FAILED, "tls"),
    ROW(CURLE_SSL_CLIENTCERT, "tls"),
    ROW(CURLE_USE_SSL_FAILED, "tls"),
    ROW(CURLE_WEIRD_SERVER_REPLY, "protocol"),
    ROW(CURLE_BAD_CONTENT_ENCODING, "protocol"),
    ROW(CURLE_CHUNK_FAILED, "protocol"),
    ROW(CURLE_RANGE_ERROR, "protocol"),
    ROW(CURLE_FILESIZE_EXCEEDED, "protocol"),
    ROW(CURLE_OUT_OF_MEMORY, "internal"),
    ROW(CURLE_READ_ERROR, "internal"),
    ROW(CURLE_WRITE_ERROR, "internal"),
    ROW(CURLE_ABORTED_BY_CALLBACK, "internal"),
    ROW(CURLE_FAILED_INIT, "internal"),
    ROW(CURLE_NOT_BUILT_IN, "internal"),
    ROW(CURLE_UNKNOWN_OPTION, "internal"),
    ROW(CURLE_BAD_FUNCTION_ARGUMENT, "internal"),
};
#undef ROW

typedef struct errno_row {
  int number;
  const char *name;
} errno_row;

#define ROW(number) \
  { number, #number }
static const errno_row errno_rows[] = {
    ROW(EACCES),       ROW(EAGAIN), ROW(EBADF), ROW(EBUSY),   ROW(EDQUOT), ROW(EEXIST),
    ROW(EFBIG),        ROW(EINTR),  ROW(EIO),   ROW(EISDIR),  ROW(ELOOP),  ROW(EMFILE),
    ROW(ENAMETOOLONG), ROW(ENFILE), ROW(ENODEV), ROW(ENOENT), ROW(ENOMEM), ROW(ENOSPC),
    ROW(ENOTDIR),      ROW(ENOTSUP), ROW(ENXIO), ROW(EPERM),  ROW(EROFS),  ROW(ESTALE),
    ROW(ETXTBSY),      ROW(EINVAL),  ROW(EXDEV), ROW(ENOTEMPTY), ROW(EOVERFLOW), ROW(ENOLCK),
};
#undef ROW

#define COUNT(table) (sizeof(table) / sizeof *(table))

static const curl_row *find_curl(CURLcode code) {
  static const curl_row unknown = {CURLE_OK, "internal", "CURLE_OTHER"};
  size_t i;

  for (i = 0; i < COUNT(curl_rows); i++) {
    if (curl_rows[i].code == code) return &curl_rows[i];
  }
  return &unknown;
}

const char *kx_errno_name(int number) {
  size_t i;

  for (i = 0; i < COUNT(errno_rows); i++) {
    if (errno_rows[i].number == number) return errno_rows[i].name;
  }
  return "EUNKNOWN";
}

/* Makes the detail one line: a certificate or a file's name may bring what moves a terminal. */
static void tame(kx_error *error) {
  char *c;

  for (c = error->detail; *c; c++) {
    if ((unsigned char)*c < ' ' || *c == 127) *c = '?';
  }
}

void kx_error_own(kx_error *error, const char *kind, const char *code, const char *detail) {
  error->kind = kind;
  error->code = code;
  snprintf(error->detail, sizeof error->detail, "%s", detail);
  tame(error);
}

void kx_error_curl(kx_error *error, CURLcode code, const char *detail) {
  const curl_row *row = find_curl(code);

  kx_error_own(error, row->kind, row->name, *detail ? detail : curl_easy_strerror(code));
}

#define WHAT_MAX (CURL_ERROR_SIZE - 80) /* a long path leaves room for what is wrong with it */

void kx_error_file(kx_error *error, int number, const char *what) {
  error->kind = "file";
  error->code = kx_errno_name(number);
  if (number == ESTALE) {
    snprintf(error->detail, sizeof error->detail, "%s has changed since it was checked", what);
  } else if (number == ENOTSUP) {
    snprintf(error->detail, sizeof error->detail, "%s is not a regular file", what);
  } else {
    snprintf(error->detail, sizeof error->detail, "%.*s: %s", WHAT_MAX, what, strerror(number));
  }
  tame(error);
}
