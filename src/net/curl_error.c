#include "config.h"

#include "net/curl_error.h"

typedef struct curl_row {
  CURLcode code;
  const char *kind, *name;
} curl_row;

/* A code that is not in the table is "internal": it is about options or other protocols than HTTP.
   */
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

static const curl_row *find_curl(CURLcode code) {
  static const curl_row unknown = {CURLE_OK, "internal", "CURLE_OTHER"};
  size_t i;

  for (i = 0; i < sizeof curl_rows / sizeof *curl_rows; i++) {
    if (curl_rows[i].code == code) return &curl_rows[i];
  }
  return &unknown;
}

void kx_error_curl(kx_error *error, CURLcode code, const char *detail) {
  const curl_row *row = find_curl(code);

  kx_error_own(error, row->kind, row->name, *detail ? detail : curl_easy_strerror(code));
}
