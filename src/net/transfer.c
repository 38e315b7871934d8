#include "config.h"

#include "net/transfer.h"

#include "clock.h"
#include "net/curl_error.h"
#include "picture/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define UPLOAD_BUFFER 65536L            /* one call of step stays under 0.1 ms */
#define DOWNLOAD_BUFFER 32768L          /* a picture comes in half as many pieces as by default */
#define HEADERS_MAX ((size_t)64 * 1024) /* of one answer, 1xx and trailers included */
#define ERROR_BODY_MAX ((size_t)256 * 1024) /* of an answer that is an error */

#ifndef KX_LIBCURL /* a build may ask for what an older libcurl gets */
#define KX_LIBCURL LIBCURL_VERSION_NUM
#endif

/* How much of each is kept: a longer value is cut, because reading it may take long; a URL is
   dropped, because a part of it would be another URL. */
static const struct header_row {
  const char *name;
  size_t most;
  int whole;
} header_rows[KX_HEADERS] = {{"content-encoding", 64, 0},
                             {"content-length", 32, 0},
                             {"content-md5", 128, 0},
                             {"content-range", 64, 0},
                             {"content-type", 128, 0},
                             {"date", 64, 0},
                             {"etag", 256, 1},
                             {"location", 8192, 1},
                             {"retry-after", 64, 0},
                             {"transfer-encoding", 64, 0}};

const char *kx_header_name(kx_header header) { return header_rows[header].name; }

/* Notes why a callback is about to end the transfer: curl's code will only say that it did. */
static void fail(kx_transfer *t, const char *kind, const char *code, const char *detail) {
  kx_error_own(&t->error, kind, code, detail);
  t->failed_by_us = 1;
}

static void touch(kx_transfer *t) {
  t->active = kx_now();
  t->moved++;
}

/* curl's CURLOPT_READFUNCTION. */
static size_t on_read(char *buffer, size_t size, size_t count, void *data) {
  kx_transfer *t = (kx_transfer *)data;
  ssize_t n = kx_body_read(t->body, buffer, size * count);

  touch(t);
  if (n < 0) {
    kx_error_file(&t->error, errno, "the input image");
    t->failed_by_us = 1;
    return CURL_READFUNC_ABORT;
  }
  t->body_read += (uint64_t)n;
  return (size_t)n;
}

/* Prepares the sink for what a good answer's headers announce. */
static void prepare_sink(kx_transfer *t) {
  curl_off_t length = -1;

  curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  if (length > 0) {
    t->announced = kx_sink_size(t->sink) + (uint64_t)length;
    kx_sink_expect(t->sink, t->announced);
  }
  /* MD5 costs more than all else of a download: only where there is something to compare with. */
  if ((t->digest || t->values[KX_CONTENT_MD5]) && kx_sink_size(t->sink) == 0) {
    (void)kx_sink_digest(t->sink, KX_MD5);
  }
}

/* Decides at an answer's first byte whether it goes on with what the sink has; returns 0 to go on.
   */
static int place_answer(kx_transfer *t) {
  char wanted[32];

  curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
  if (t->status == 206 && t->resumed_at > 0) {
    const char *range = t->values[KX_CONTENT_RANGE];
    int length = snprintf(wanted, sizeof wanted, "bytes %" PRIu64 "-", t->resumed_at);
    if (!range || strncasecmp(range, wanted, (size_t)length) != 0) {
      fail(t, "protocol", "CURLE_RANGE_ERROR", "the server sent another range than was asked for");
      return -1;
    }
  } else if (t->status >= 200 && t->status < 300 && kx_sink_size(t->sink) > 0) {
    t->resumed_at = 0; /* the whole again */
    if (kx_sink_restart(t->sink) != 0) {
      kx_error_file(&t->error, errno, "the output file");
      t->failed_by_us = 1;
      return -1;
    }
  }
  if (t->status >= 200 && t->status < 300) prepare_sink(t);
  return 0;
}

/* curl's CURLOPT_WRITEFUNCTION. */
static size_t on_write(char *bytes, size_t size, size_t count, void *data) {
  kx_transfer *t = (kx_transfer *)data;
  kx_sink *sink;
  int error;

  touch(t);
  size *= count;
  if (t->status == 0 && place_answer(t) != 0) return 0;
  sink = t->status >= 200 && t->status < 300 ? t->sink : t->error_body;
  error = kx_sink_write(sink, bytes, size);
  if (error == 0) return size;
  if (error == EFBIG) {
    fail(t, "protocol", "CURLE_FILESIZE_EXCEEDED",
         "the answer is larger than any that is expected");
  } else if (error == ENOMEM) {
    fail(t, "internal", "ENOMEM", "there is not enough memory for the answer");
  } else {
    kx_error_file(&t->error, error, "the output file");
    t->failed_by_us = 1;
  }
  return 0;
}

/* Keeps a header's value when it is one of those that are kept. */
static void keep_header(kx_transfer *t, const char *line, size_t size) {
  const char *colon = (const char *)memchr(line, ':', size);
  const char *value, *c, *end = line + size;
  size_t length;
  int i;

  if (!colon) return;
  for (i = 0; i < KX_HEADERS; i++) {
    length = strlen(header_rows[i].name);
    if (length == (size_t)(colon - line) && !strncasecmp(line, header_rows[i].name, length)) break;
  }
  if (i == KX_HEADERS) return;
  for (value = colon + 1; value < end && (*value == ' ' || *value == '\t');) value++;
  while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) end--;
  for (c = value; c < end; c++) {
    if (((unsigned char)*c < ' ' && *c != '\t') || *c == 127) return; /* a lone CR, a NUL */
  }
  length = (size_t)(end - value);
  if (length > header_rows[i].most && header_rows[i].whole) return;
  if (length > header_rows[i].most) length = header_rows[i].most;
  free(t->values[i]);
  t->values[i] = strndup(value, length);
}

static void forget_headers(kx_transfer *t) {
  int i;

  for (i = 0; i < KX_HEADERS; i++) {
    free(t->values[i]);
    t->values[i] = NULL;
  }
}

/* curl's CURLOPT_HEADERFUNCTION. */
static size_t on_header(char *bytes, size_t size, size_t count, void *data) {
  kx_transfer *t = (kx_transfer *)data;

  touch(t);
  size *= count;
  t->header_bytes += size;
  if (t->header_bytes > HEADERS_MAX) {
    fail(t, "protocol", "CURLE_WEIRD_SERVER_REPLY", "the answer's headers are endless");
    return 0;
  }
  if (size > 5 && !memcmp(bytes, "HTTP/", 5)) forget_headers(t); /* after a 1xx comes another */
  else keep_header(t, bytes, size);
  return size;
}

/* curl's CURLOPT_PREREQFUNCTION: connected, and the stall clock runs from here. */
static int on_request(void *data, char *to, char *from, int to_port, int from_port) {
  (void)to, (void)from, (void)to_port, (void)from_port;
  touch((kx_transfer *)data);
  return CURL_PREREQFUNC_OK;
}

kx_transfer *kx_transfer_new(const kx_request *request, const kx_settings *settings) {
  kx_transfer *t = (kx_transfer *)calloc(1, sizeof *t);
  size_t i;

  if (!t) {
    kx_body_free(request->body);
    kx_sink_free(request->sink);
    return NULL;
  }
  t->settings = settings;
  t->body = request->body;
  t->sink = request->sink;
  t->deadline = request->deadline;
  t->allow_http = request->allow_http;
  t->no_proxy = request->no_proxy;
  t->digest = request->digest;
  t->active = KX_NEVER;
  t->resumed_at = t->sink ? kx_sink_size(t->sink) : 0;
  t->error_body = kx_sink_memory(ERROR_BODY_MAX);
  t->url = strdup(request->url);
  if (!t->sink || !t->error_body || !t->url) goto fail;
  for (i = 0; i < request->header_count; i++) {
    struct curl_slist *headers = curl_slist_append(t->headers, request->headers[i]);
    if (!headers) goto fail;
    t->headers = headers;
  }
  return t;
fail:
  kx_transfer_free(t);
  return NULL;
}

kx_transfer *kx_transfer_worker(uint64_t id) {
  kx_transfer *t = (kx_transfer *)calloc(1, sizeof *t);

  if (!t) return NULL;
  t->id = id;
  return t;
}

void kx_transfer_free(kx_transfer *t) {
  if (!t) return;
  if (t->easy) curl_easy_cleanup(t->easy);
  curl_slist_free_all(t->headers);
  forget_headers(t);
  kx_body_free(t->body);
  kx_sink_free(t->sink);
  kx_sink_free(t->error_body);
  kx_work_free(t->work);
  free(t->url);
  free(t);
}

/* The options that libcurl names since 7.85, and their numbers before. */
static CURLcode set_protocols(CURL *easy, int allow_http) {
#if KX_LIBCURL >= 0x075500
  return curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, allow_http ? "http,https" : "https");
#else
  return curl_easy_setopt(easy, CURLOPT_PROTOCOLS,
                          allow_http ? CURLPROTO_HTTP | CURLPROTO_HTTPS : CURLPROTO_HTTPS);
#endif
}

#define SET(option, value) failed |= (unsigned)curl_easy_setopt(t->easy, option, value)

/* What all requests share, but for the deadline, which is the engine's: libcurl would look at the
   clock before it reads what has arrived. Returns 0, or libcurl's codes of what it refused. */
static unsigned set_common(kx_transfer *t) {
  const kx_settings *set = t->settings;
  unsigned failed = (unsigned)set_protocols(t->easy, t->allow_http);

  SET(CURLOPT_URL, t->url);
  SET(CURLOPT_HTTPHEADER, t->headers);
  SET(CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE);
  SET(CURLOPT_FOLLOWLOCATION, 0L); /* a custom header, so the key, would follow */
  SET(CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
  SET(CURLOPT_PATH_AS_IS, 1L); /* a signed URL goes out as it came */
  SET(CURLOPT_SSL_VERIFYPEER, 1L);
  SET(CURLOPT_SSL_VERIFYHOST, 2L);
  SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
  SET(CURLOPT_CONNECTTIMEOUT_MS, set->connect_timeout_ms);
  SET(CURLOPT_NOSIGNAL, set->no_signal ? 1L : 0L);
  SET(CURLOPT_PRIVATE, t);
  SET(CURLOPT_ERRORBUFFER, t->curl_message);
  SET(CURLOPT_WRITEFUNCTION, on_write);
  SET(CURLOPT_WRITEDATA, t);
  SET(CURLOPT_HEADERFUNCTION, on_header);
  SET(CURLOPT_HEADERDATA, t);
  SET(CURLOPT_PREREQFUNCTION, on_request);
  SET(CURLOPT_PREREQDATA, t);
  SET(CURLOPT_OPENSOCKETFUNCTION, set->open_socket);
  SET(CURLOPT_OPENSOCKETDATA, set->sockets);
  SET(CURLOPT_CLOSESOCKETFUNCTION, set->close_socket);
  SET(CURLOPT_CLOSESOCKETDATA, set->sockets);
  if (set->user_agent) SET(CURLOPT_USERAGENT, set->user_agent);
  if (t->no_proxy) SET(CURLOPT_PROXY, "");
  else if (set->proxy) SET(CURLOPT_PROXY, set->proxy);
  /* One or the other, never both: a set CAPATH switches off the cache of CAINFO's certificates. */
  if (set->ca_file) {
    SET(CURLOPT_CAINFO, set->ca_file);
    SET(CURLOPT_CAPATH, (char *)NULL);
  } else if (set->ca_path) {
    SET(CURLOPT_CAINFO, (char *)NULL);
    SET(CURLOPT_CAPATH, set->ca_path);
  }
#if KX_LIBCURL >= 0x075700
  /* Without it a cancel waits for the resolver's thread: 10 s were measured. */
  if (set->quick_exit) SET(CURLOPT_QUICK_EXIT, 1L);
#endif
  return failed;
}

/* What makes a request a submit, which is sent at most once. */
static unsigned set_submit(kx_transfer *t) {
  unsigned failed = 0;

  SET(CURLOPT_POST, 1L);
  SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)kx_body_length(t->body));
  SET(CURLOPT_READFUNCTION, on_read); /* no seek function: there is no second pass */
  SET(CURLOPT_READDATA, t);
  SET(CURLOPT_UPLOAD_BUFFERSIZE, UPLOAD_BUFFER);
  SET(CURLOPT_FRESH_CONNECT, 1L); /* libcurl re-sends a POST when a connection it reuses is dead */
  SET(CURLOPT_FORBID_REUSE, 1L);
  /* HTTP/2 uploads cost 1.6 times HTTP/1.1's on 7.88. */
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
  return failed;
}

/* What makes a request a GET, which may go on where an earlier one was broken off. */
static unsigned set_get(kx_transfer *t) {
  unsigned failed = 0;
  char range[32];

  SET(CURLOPT_HTTPGET, 1L);
  SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
  if (t->hold) SET(CURLOPT_BUFFERSIZE, DOWNLOAD_BUFFER);
  if (t->resumed_at > 0) {
    snprintf(range, sizeof range, "%" PRIu64 "-", t->resumed_at);
    SET(CURLOPT_RANGE, range);
  }
  return failed;
}
#undef SET

int kx_transfer_prepare(kx_transfer *t) {
  t->easy = curl_easy_init();
  if (t->easy && !set_common(t) && !(t->body ? set_submit(t) : set_get(t))) return 0;
  kx_error_curl(&t->error, CURLE_FAILED_INIT, "libcurl refused an option, or memory ran out");
  return -1;
}

uint64_t kx_transfer_sent(const kx_transfer *t, uint64_t *total) {
  curl_off_t sent = 0;

  *total = t->body ? kx_body_length(t->body) : t->announced;
  if (!t->body) return 0;
  if (!t->easy) return t->body_read;
  curl_easy_getinfo(t->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
  return sent > 0 ? (uint64_t)sent : 0;
}

/* Returns 1 when the answer ended where it said that it would: by its length, its last chunk or its
   frame; 0 when the end of the connection was its end. */
static int tells_its_length(const kx_transfer *t) {
  curl_off_t length = -1;
  long version = 0;

  curl_easy_getinfo(t->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  curl_easy_getinfo(t->easy, CURLINFO_HTTP_VERSION, &version);
  return length >= 0 || version >= CURL_HTTP_VERSION_2_0 ||
         (t->values[KX_TRANSFER_ENCODING] &&
          !strncasecmp(t->values[KX_TRANSFER_ENCODING], "chunked", 7));
}

void kx_transfer_end(kx_transfer *t, CURLcode code) {
  uint64_t total;

  if (t->easy) {
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &t->status);
    t->body_read = kx_transfer_sent(t, &total);
    t->length_known = tells_its_length(t);
    curl_easy_cleanup(t->easy);
    t->easy = NULL;
  }
  /* libcurl accepts 000, -99 and 1000; and a 1xx precedes an answer. */
  if (t->status < 200 || t->status > 999) {
    t->status = 0;
    if (code == CURLE_OK) code = CURLE_WEIRD_SERVER_REPLY;
  }
  if (t->failed_by_us) return;
  if (code != CURLE_OK) kx_error_curl(&t->error, code, t->curl_message);
}

int64_t kx_transfer_due(const kx_transfer *t) {
  int64_t stall = t->settings->stall_ns;
  uint64_t total;

  if (stall == 0 || t->active == KX_NEVER) return t->deadline;
  /* The service may think about a whole edit for as long as the deadline lets it. */
  if (t->body && kx_transfer_sent(t, &total) >= total) return t->deadline;
  return t->active + stall < t->deadline ? t->active + stall : t->deadline;
}
