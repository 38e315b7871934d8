/* What an edit costs at least: libcurl, pread, AVX2 base64, and nothing else. No check, no errors,
   no JSON, no timeouts.

     lower_bound URL PICTURE EDITS IN_FLIGHT POLL_INTERVAL [CA_FILE] */
#include "config.h"

#include "net/base64.h"

#include <curl/curl.h>
#ifdef CAREFUL
#include <openssl/evp.h>
#endif

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BEFORE "{\"prompt\":\"bench\",\"input_image\":\""
#define BEHIND "\",\"output_format\":\"jpeg\"}"
#define CHUNK 12288 /* bytes coded at once */

typedef enum { SUBMIT, POLL, DOWNLOAD } request;

typedef struct edit {
  CURL *easy;
  request stage;
  double due; /* of the next poll, or 0 */
  size_t at;  /* of the body's text before and behind */
  off_t offset;
  char url[512];
  char *answer;
  size_t size, room;
} edit;

static struct {
  const char *url, *picture, *ca_file;
  int fd, left, multiple;
  off_t size;
  double interval;
  CURLM *multi;
  struct curl_slist *headers;
} all;

static double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static size_t copy(edit *e, const char *text, size_t size, char *buffer, size_t room) {
  size_t n = size - e->at < room ? size - e->at : room;

  memcpy(buffer, text + e->at, n);
  e->at += n;
  return n;
}

static size_t on_read(char *buffer, size_t size, size_t count, void *data) {
  edit *e = (edit *)data;
  size_t done = 0;

  size *= count;
  if (e->at < sizeof BEFORE - 1) done = copy(e, BEFORE, sizeof BEFORE - 1, buffer, size);
  while (e->offset < all.size && size - done >= 4) {
    unsigned char bytes[CHUNK];
    size_t want = (size - done) / 4 * 3;
    ssize_t n = pread(all.fd, bytes, want > CHUNK ? CHUNK : want, e->offset);
    if (n <= 0) abort();
    done += kx_base64_encode(buffer + done, bytes, (size_t)n);
    e->offset += n;
    if (e->offset == all.size) e->at = 0;
  }
  if (e->offset == all.size) {
    done += copy(e, BEHIND, sizeof BEHIND - 1, buffer + done, size - done);
  }
  return done;
}

static size_t on_write(char *bytes, size_t size, size_t count, void *data) {
  edit *e = (edit *)data;

  size *= count;
  if (e->size + size + 1 > e->room) {
    e->room = 2 * (e->size + size) + 1024;
    e->answer = (char *)realloc(e->answer, e->room);
    if (!e->answer) abort();
  }
  memcpy(e->answer + e->size, bytes, size);
  e->size += size;
  e->answer[e->size] = '\0';
  return size;
}

/* Copies a string out of the answer; returns 0 when it has none of that name. */
static int field(edit *e, const char *name, char *to, size_t room) {
  char *from = strstr(e->answer, name), *end;

  if (!from) return 0;
  from += strlen(name);
  end = strchr(from, '"');
  if (!end || (size_t)(end - from) >= room) abort();
  memcpy(to, from, (size_t)(end - from));
  to[end - from] = '\0';
  return 1;
}

static void begin(edit *e, request stage) {
  CURL *easy = e->easy;

  e->stage = stage;
  e->size = 0;
  curl_easy_reset(easy);
  if (stage == SUBMIT) {
    e->at = 0;
    e->offset = 0;
    snprintf(e->url, sizeof e->url, "%s/v1/flux-kontext-pro", all.url);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE,
                     (curl_off_t)(sizeof BEFORE - 1 + KX_BASE64_LENGTH((size_t)all.size) +
                                  sizeof BEHIND - 1));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, on_read);
    curl_easy_setopt(easy, CURLOPT_READDATA, e);
    curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, 65536L);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, all.headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
#ifdef CAREFUL
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
#endif
  }
  curl_easy_setopt(easy, CURLOPT_URL, e->url);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_PRIVATE, e);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, e);
  if (all.ca_file) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, all.ca_file);
    curl_easy_setopt(easy, CURLOPT_CAPATH, (char *)NULL);
  }
  if (all.multiple) curl_multi_add_handle(all.multi, easy);
}

#ifdef CAREFUL
/* Compares the picture with the MD5 that came with it. */
static void compare(const edit *e) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  char coded[KX_BASE64_LENGTH(EVP_MAX_MD_SIZE)];
  struct curl_header *told;
  unsigned size;

  EVP_Digest(e->answer, e->size, digest, &size, EVP_md5(), NULL);
  if (curl_easy_header(e->easy, "content-md5", 0, CURLH_HEADER, -1, &told) != CURLHE_OK) abort();
  if (strncmp(told->value, coded, kx_base64_encode(coded, digest, size)) != 0) abort();
}
#endif

/* Goes on with an edit whose request has ended; returns 0 when the last has. */
static int go_on(edit *e) {
  if (e->stage == SUBMIT) {
    if (!field(e, "\"polling_url\":\"", e->url, sizeof e->url)) abort();
    e->due = now() + all.interval;
    if (all.interval == 0) e->due = 0, begin(e, POLL);
  } else if (e->stage == POLL && field(e, "\"sample\":\"", e->url, sizeof e->url)) {
    begin(e, DOWNLOAD);
  } else if (e->stage == POLL) {
    e->due = now() + all.interval;
  } else {
#ifdef CAREFUL
    compare(e);
#endif
    if (all.left-- <= 0) return 0;
    begin(e, SUBMIT);
  }
  return 1;
}

/* One after the other, by libcurl's simplest means. */
static void run_single(void) {
  edit e;

  memset(&e, 0, sizeof e);
  e.easy = curl_easy_init();
  all.left--;
  begin(&e, SUBMIT);
  do {
    if (e.due > 0) {
      usleep((useconds_t)(all.interval * 1e6));
      e.due = 0;
      begin(&e, POLL);
    }
    if (curl_easy_perform(e.easy) != CURLE_OK) abort();
  } while (go_on(&e));
  curl_easy_cleanup(e.easy);
}

static void run_multiple(int in_flight) {
  edit *edits = (edit *)calloc((size_t)in_flight, sizeof *edits);
  int i, running, queued, open = 0;

  all.multi = curl_multi_init();
  for (i = 0; i < in_flight && all.left > 0; i++, all.left--, open++) {
    edits[i].easy = curl_easy_init();
    begin(&edits[i], SUBMIT);
  }
  while (open > 0) {
    CURLMsg *message;
    double next = now() + 1;
    for (i = 0; i < in_flight; i++) {
      if (edits[i].due > 0 && edits[i].due <= now()) edits[i].due = 0, begin(&edits[i], POLL);
      if (edits[i].due > 0 && edits[i].due < next) next = edits[i].due;
    }
    curl_multi_perform(all.multi, &running);
    while ((message = curl_multi_info_read(all.multi, &queued))) {
      char *data;
      if (message->data.result != CURLE_OK) abort();
      curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &data);
      curl_multi_remove_handle(all.multi, message->easy_handle);
      open -= !go_on((edit *)(void *)data);
      next = 0;
    }
    if (next > now()) curl_multi_poll(all.multi, NULL, 0, (int)((next - now()) * 1e3 + 1), NULL);
  }
}

int main(int argc, char **argv) {
  struct stat st;

  if (argc < 6) return 2;
  all.url = argv[1];
  all.left = atoi(argv[3]);
  all.multiple = atoi(argv[4]) > 1;
  all.interval = atof(argv[5]);
  all.ca_file = argc > 6 ? argv[6] : NULL;
  curl_global_init(CURL_GLOBAL_DEFAULT);
  if (all.left == 0) return 0; /* what a process costs that does nothing */
  all.fd = open(argv[2], O_RDONLY | O_CLOEXEC);
  if (all.fd < 0 || fstat(all.fd, &st) != 0) return 1;
  all.size = st.st_size;
  all.headers = curl_slist_append(NULL, "Content-Type: application/json");
  all.headers = curl_slist_append(all.headers, "x-key: bench");
  all.headers = curl_slist_append(all.headers, "Expect:");
  if (all.multiple) run_multiple(atoi(argv[4]));
  else run_single();
  return 0;
}
