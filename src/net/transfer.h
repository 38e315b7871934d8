/* One HTTP exchange: curl's options, curl's callbacks into our buffers, and the result. */
#ifndef KX_TRANSFER_H
#define KX_TRANSFER_H

#include "error.h"
#include "file/sink.h"
#include "net/body.h"

#include <curl/curl.h>

/* The headers of an answer that are kept. */
typedef enum {
  KX_CONTENT_ENCODING,
  KX_CONTENT_LENGTH,
  KX_CONTENT_MD5,
  KX_CONTENT_RANGE,
  KX_CONTENT_TYPE,
  KX_DATE,
  KX_ETAG,
  KX_LOCATION,
  KX_RETRY_AFTER,
  KX_TRANSFER_ENCODING,
  KX_HEADERS
} kx_header;

/* What all transfers of an engine have in common; strings may be NULL. */
typedef struct kx_settings {
  long connect_timeout_ms;
  int64_t stall_ns;
  const char *user_agent, *proxy;
  const char *ca_file, *ca_path; /* neither: libcurl's own */
  int quick_exit, no_signal;
  int tls;       /* transfers will need it */
  void *sockets; /* for the callbacks of sockets */
  curl_opensocket_callback open_socket;
  curl_closesocket_callback close_socket;
} kx_settings;

typedef struct kx_request {
  const char *url;
  const char *const *headers; /* "name: value" */
  size_t header_count;
  int64_t deadline; /* on the monotonic clock, in nanoseconds; KX_NEVER for none */
  int allow_http;   /* http is allowed beside https */
  int no_proxy;     /* no proxy, whatever the environment says */
  int digest;       /* the answer's MD5 is wanted, not only where the answer tells one */
  kx_body *body;    /* an upload's; NULL for a GET */
  kx_sink *sink;    /* where a good answer goes */
} kx_request;

typedef struct kx_transfer {
  uint64_t id;
  CURL *easy;
  struct curl_slist *headers;
  const kx_settings *settings;
  char *url;
  kx_body *body;
  kx_sink *sink, *error_body; /* a good answer's bytes; any other's, for what they say */
  int64_t deadline, active;
  uint64_t resumed_at; /* bytes that the sink had from an earlier transfer */
  uint64_t announced;  /* bytes that the sink will have, as a good answer's headers tell; or 0 */
  uint64_t body_read, moved;
  size_t header_bytes;
  char *values[KX_HEADERS];
  long status;      /* HTTP; 0 before the answer */
  int length_known; /* the answer said where it ends: a part of it is not taken for the whole */
  kx_error error;
  struct kx_work *work; /* no HTTP at all: a task of the worker, once it has ended */
  int unwatched;        /* the poller could not take its socket */
  int failed_by_us;     /* `error` says why a callback ended the transfer */
  int allow_http, no_proxy, digest, hold;
  char curl_message[CURL_ERROR_SIZE];
  struct kx_transfer *next;
} kx_transfer;

/* Makes a transfer that owns the request's body and sink, also when it fails: then NULL. */
kx_transfer *kx_transfer_new(const kx_request *request, const kx_settings *settings);

/* Makes what stands for a task of the worker, without HTTP and without a result yet; NULL without
   memory. */
kx_transfer *kx_transfer_worker(uint64_t id);

/* Frees the transfer, which is in no multi handle any more; NULL is fine. */
void kx_transfer_free(kx_transfer *transfer);

/* Makes the easy handle with all its options; returns 0, or -1 with the transfer's error filled. */
int kx_transfer_prepare(kx_transfer *transfer);

/* Settles `status`, `error` and counters when curl has ended with `code`; frees the easy handle. */
void kx_transfer_end(kx_transfer *transfer, CURLcode code);

/* Returns when the transfer is to be ended for its deadline or a stall. */
int64_t kx_transfer_due(const kx_transfer *transfer);

/* Returns how many bytes of the body went to the socket, and in `total` how many there are: of a
   GET those of the answer, 0 where they are not known. */
uint64_t kx_transfer_sent(const kx_transfer *transfer, uint64_t *total);

/* Returns a kept header's name in lower case. */
const char *kx_header_name(kx_header header);

#endif
