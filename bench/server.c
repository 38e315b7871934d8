/* The service as a bench needs it: as cheap as can be, and it looks at every byte. It knows the
   pictures that may come, and compares what arrives with their base64 as it arrives.

     server [-c CERT -k KEY] [-t SECONDS] RESULT PICTURE…

   prints its URL, and ends when its standard input does. GET /_ledger tells what it saw since the
   last time; ?t=SECONDS sets how long an edit takes from then on. */
#include "config.h"

#include "net/base64.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>

#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TASKS (1 << 16)
#define PICTURES 8
#define HEAD_MAX 16384
#define FIELD "\"input_image\":"

typedef struct text {
  char *bytes;
  size_t size;
} text;

/* How far a body is. Pictures that it may still be are bits of `may_be`. */
typedef enum { BEFORE, WITHIN, BEHIND } whereabouts;

typedef struct connection {
  int fd, writing;
  SSL *ssl;
  char head[HEAD_MAX + 1];
  size_t head_size;
  uint64_t left; /* of the body */
  int is_submit;
  whereabouts place;
  size_t matched; /* of FIELD, then of the picture's base64 */
  unsigned may_be;
  int escaped;
  char answer[1024];
  size_t answer_size, sent;
  const text *picture; /* follows the answer */
} connection;

typedef struct task {
  double ready;
  int noticed;
} task;

static struct {
  text result, coded[PICTURES];
  int pictures, epoll, count;
  char url[64], md5[32];
  double takes;
  task tasks[TASKS];
  SSL_CTX *tls;
  unsigned long connections, submits, exact, polls, downloads, noticed;
  double delay;
} all;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static double now(void) {
  struct timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static text read_file(const char *path) {
  text t = {NULL, 0};
  FILE *file = fopen(path, "rb");
  long size;

  if (!file || fseek(file, 0, SEEK_END) != 0 || (size = ftell(file)) < 0) die(path);
  rewind(file);
  t.size = (size_t)size;
  t.bytes = (char *)malloc(t.size + 1);
  if (!t.bytes || fread(t.bytes, 1, t.size, file) != t.size) die(path);
  fclose(file);
  return t;
}

static void load_picture(const char *path) {
  text raw = read_file(path), *coded = &all.coded[all.pictures++];

  coded->bytes = (char *)malloc(KX_BASE64_LENGTH(raw.size) + 1);
  if (!coded->bytes) die(path);
  coded->size = kx_base64_encode(coded->bytes, raw.bytes, raw.size);
  coded->bytes[coded->size++] = '"'; /* where the picture ends, so does the string */
  free(raw.bytes);
}

static void load_result(const char *path) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned size;

  all.result = read_file(path);
  EVP_Digest(all.result.bytes, all.result.size, digest, &size, EVP_md5(), NULL);
  all.md5[kx_base64_encode(all.md5, digest, size)] = '\0';
}

/* Compares one character that a JSON writer may have escaped. */
static void match_slowly(connection *c, char byte) {
  int i;

  if (byte == '\\' && !c->escaped) {
    c->escaped = 1; /* some write / as \/ */
    return;
  }
  c->escaped = 0;
  for (i = 0; i < all.pictures; i++) {
    const text *coded = &all.coded[i];
    if (!(c->may_be & 1u << i)) continue;
    if (c->matched >= coded->size || coded->bytes[c->matched] != byte) c->may_be &= ~(1u << i);
    else if (c->matched + 1 == coded->size) c->place = BEHIND;
  }
  c->matched++;
}

/* Compares a piece of the picture; returns how many bytes were looked at. */
static size_t match_picture(connection *c, const char *bytes, size_t size) {
  int i;

  for (i = 0; i < all.pictures; i++) {
    const text *coded = &all.coded[i];
    if (c->may_be != 1u << i || c->matched + 1 >= coded->size || c->escaped) continue;
    if (size > coded->size - 1 - c->matched) size = coded->size - 1 - c->matched;
    if (memcmp(bytes, coded->bytes + c->matched, size)) break;
    c->matched += size;
    return size;
  }
  match_slowly(c, *bytes);
  return 1;
}

/* Looks for the picture's field, and then at its every byte. */
static void look_at_body(connection *c, const char *bytes, size_t size) {
  while (size > 0 && c->place != BEHIND) {
    size_t n = 1;
    if (c->place == WITHIN) {
      n = match_picture(c, bytes, size);
    } else if (c->matched == sizeof FIELD - 1) {
      if (*bytes == '"') c->place = WITHIN, c->matched = 0, c->may_be = (1u << all.pictures) - 1;
      else if (*bytes != ' ') c->matched = 0;
    } else {
      c->matched = *bytes == FIELD[c->matched] ? c->matched + 1 : *bytes == FIELD[0];
    }
    bytes += n, size -= n;
  }
}

/* Writes an answer; `picture` follows it. */
static void answer(connection *c, const char *status, const char *body, const text *picture) {
  c->answer_size = (size_t)snprintf(
      c->answer, sizeof c->answer,
      "HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %lu\r\n%s%s%s\r\n%s", status,
      picture ? "image/jpeg" : "application/json",
      (unsigned long)(picture ? picture->size : strlen(body)), picture ? "Content-MD5: " : "",
      picture ? all.md5 : "", picture ? "\r\n" : "", picture ? "" : body);
  c->sent = 0;
  c->picture = picture;
}

static void answer_submit(connection *c) {
  char body[256];
  int id = all.count++ % TASKS;

  all.submits++;
  if (c->place == BEHIND && c->may_be) all.exact++;
  all.tasks[id].ready = now() + all.takes;
  all.tasks[id].noticed = 0;
  snprintf(body, sizeof body,
           "{\"id\":\"%d\",\"polling_url\":\"%s/v1/get_result?id=%d\",\"cost\":4.0}", id, all.url,
           id);
  answer(c, "200 OK", body, NULL);
}

static void answer_poll(connection *c, const char *query) {
  char body[256];
  int id = atoi(query) & (TASKS - 1);
  double late = now() - all.tasks[id].ready;

  all.polls++;
  if (late < 0) {
    answer(c, "200 OK", "{\"id\":\"1\",\"status\":\"Pending\",\"result\":null}", NULL);
    return;
  }
  if (!all.tasks[id].noticed++) all.noticed++, all.delay += late;
  snprintf(body, sizeof body,
           "{\"id\":\"%d\",\"status\":\"Ready\",\"result\":{\"sample\":\"%s/sample/%d.jpg\"}}", id,
           all.url, id);
  answer(c, "200 OK", body, NULL);
}

static void answer_ledger(connection *c, const char *query) {
  char body[256];
  const char *takes = strstr(query, "t=");

  snprintf(body, sizeof body,
           "{\"connections\":%lu,\"submits\":%lu,\"exact\":%lu,\"polls\":%lu,\"downloads\":%lu,"
           "\"delay\":%.6f}",
           all.connections, all.submits, all.exact, all.polls, all.downloads,
           all.noticed ? all.delay / (double)all.noticed : 0.0);
  all.connections = all.submits = all.exact = all.polls = all.downloads = all.noticed = 0;
  all.delay = 0;
  if (takes) all.takes = atof(takes + 2);
  answer(c, "200 OK", body, NULL);
}

/* Answers a request that is there as a whole. */
static void answer_request(connection *c) {
  const char *path = strchr(c->head, ' ') + 1;

  if (c->is_submit) answer_submit(c);
  else if (!strncmp(path, "/v1/get_result?id=", 18)) answer_poll(c, path + 18);
  else if (!strncmp(path, "/sample/", 8)) all.downloads++, answer(c, "200 OK", "", &all.result);
  else if (!strncmp(path, "/_ledger", 8)) answer_ledger(c, path);
  else answer(c, "404 Not Found", "{\"detail\":\"Not Found\"}", NULL);
  c->head_size = 0;
}

static const char *header(const char *head, const char *name) {
  const char *line = head;
  size_t size = strlen(name);

  while ((line = strstr(line, "\r\n")) && line[2] != '\r') {
    line += 2;
    if (!strncasecmp(line, name, size) && line[size] == ':') return line + size + 1;
  }
  return NULL;
}

/* Takes what a request's head says; returns 0 when it is unusable. */
static int begin_request(connection *c) {
  const char *length = header(c->head, "content-length");

  if (!strchr(c->head, ' ') || header(c->head, "transfer-encoding")) return 0;
  c->is_submit = !strncmp(c->head, "POST ", 5);
  c->left = length ? strtoull(length, NULL, 10) : 0;
  c->place = BEFORE;
  c->matched = 0;
  c->escaped = 0;
  c->may_be = 0;
  if (header(c->head, "expect")) {
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (c->ssl) return SSL_write(c->ssl, go_on, sizeof go_on - 1) > 0;
    return send(c->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL) > 0;
  }
  return 1;
}

/* Takes bytes that came; returns 0 when the connection is of no more use. */
static int take(connection *c, const char *bytes, size_t size) {
  if (c->left == 0) { /* of a head */
    const char *end;
    size_t room = HEAD_MAX - c->head_size, before = c->head_size, used;
    if (room > size) room = size;
    memcpy(c->head + c->head_size, bytes, room);
    c->head_size += room;
    c->head[c->head_size] = '\0';
    end = strstr(c->head, "\r\n\r\n");
    if (!end) return c->head_size < HEAD_MAX;
    if (!begin_request(c)) return 0;
    used = (size_t)(end - c->head) + 4 - before;
    bytes += used, size -= used;
  }
  if (size > c->left) return 0; /* nobody here sends a request before the answer to the last */
  if (c->is_submit) look_at_body(c, bytes, size);
  c->left -= size;
  if (c->left == 0) answer_request(c);
  return 1;
}

/* The bytes moved, 0 at the end, -1 for later, -2 for trouble. */
static ssize_t move(connection *c, char *in, const char *out, size_t size) {
  ssize_t n;
  int wants;

  if (!c->ssl) {
    n = in ? recv(c->fd, in, size, 0) : send(c->fd, out, size, MSG_NOSIGNAL);
    return n >= 0 ? n : errno == EAGAIN ? -1 : -2;
  }
  n = in ? SSL_read(c->ssl, in, (int)size) : SSL_write(c->ssl, out, (int)size);
  if (n > 0) return n;
  wants = SSL_get_error(c->ssl, (int)n);
  return wants == SSL_ERROR_ZERO_RETURN ? 0
         : wants == SSL_ERROR_WANT_READ || wants == SSL_ERROR_WANT_WRITE ? -1
                                                                         : -2;
}

/* Writes what is left of an answer; returns 0 when the connection is of no more use. */
static int flush(connection *c) {
  for (;;) {
    size_t body = c->picture ? c->picture->size : 0;
    int in_head = c->sent < c->answer_size;
    const char *from = in_head ? c->answer + c->sent
                       : body  ? c->picture->bytes + (c->sent - c->answer_size)
                               : NULL;
    size_t left = in_head ? c->answer_size - c->sent : c->answer_size + body - c->sent;
    ssize_t n;
    if (left == 0) {
      c->answer_size = 0;
      return 1;
    }
    n = move(c, NULL, from, left);
    if (n == -1) return 1;
    if (n <= 0) return 0;
    c->sent += (size_t)n;
  }
}

static void watch(connection *c, int operation) {
  struct epoll_event event;

  event.events = c->answer_size ? EPOLLOUT : EPOLLIN;
  event.data.ptr = c;
  if (epoll_ctl(all.epoll, operation, c->fd, &event) != 0) die("epoll_ctl");
  c->writing = c->answer_size != 0;
}

static void serve(connection *c) {
  static char buffer[256 * 1024];
  int good = 1;

  if (!c->answer_size) {
    ssize_t n;
    while ((n = move(c, buffer, NULL, sizeof buffer)) > 0) {
      good = take(c, buffer, (size_t)n);
      if (!good || c->answer_size || (!c->ssl && (size_t)n < sizeof buffer)) break;
    }
    if (n == 0 || n == -2) good = 0;
  }
  if (good && c->answer_size) good = flush(c);
  if (!good) {
    SSL_free(c->ssl);
    close(c->fd);
    free(c);
  } else if (c->writing != (c->answer_size != 0)) {
    watch(c, EPOLL_CTL_MOD);
  }
}

static void accept_one(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  connection *c = (connection *)calloc(1, sizeof *c);

  if (fd < 0 || !c) {
    free(c);
    return;
  }
  all.connections++;
  c->fd = fd;
  if (all.tls) {
    c->ssl = SSL_new(all.tls);
    SSL_set_fd(c->ssl, fd);
    SSL_set_accept_state(c->ssl);
  }
  watch(c, EPOLL_CTL_ADD);
}

static int listen_somewhere(void) {
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (fd < 0 || bind(fd, (struct sockaddr *)(void *)&address, size) != 0 || listen(fd, 512) != 0 ||
      getsockname(fd, (struct sockaddr *)(void *)&address, &size) != 0) {
    die("listen");
  }
  snprintf(all.url, sizeof all.url, "http%s://%s:%d", all.tls ? "s" : "",
           all.tls ? "localhost" : "127.0.0.1", ntohs(address.sin_port));
  return fd;
}

static void configure(int argc, char **argv) {
  const char *certificate = NULL, *key = NULL;
  int option;

  while ((option = getopt(argc, argv, "c:k:t:")) != -1) {
    if (option == 'c') certificate = optarg;
    else if (option == 'k') key = optarg;
    else if (option == 't') all.takes = atof(optarg);
    else exit(2);
  }
  if (optind + 1 >= argc || argc - optind - 1 > PICTURES) exit(2);
  load_result(argv[optind]);
  while (++optind < argc) load_picture(argv[optind]);
  if (!certificate) return;
  all.tls = SSL_CTX_new(TLS_server_method());
  SSL_CTX_set_mode(all.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate_chain_file(all.tls, certificate) != 1 ||
      SSL_CTX_use_PrivateKey_file(all.tls, key, SSL_FILETYPE_PEM) != 1) {
    die(certificate);
  }
}

int main(int argc, char **argv) {
  struct epoll_event event;
  int listener;

  signal(SIGPIPE, SIG_IGN);
  configure(argc, argv);
  listener = listen_somewhere();
  all.epoll = epoll_create1(EPOLL_CLOEXEC);
  event.events = EPOLLIN;
  event.data.ptr = &listener;
  epoll_ctl(all.epoll, EPOLL_CTL_ADD, listener, &event);
  event.data.ptr = NULL;
  epoll_ctl(all.epoll, EPOLL_CTL_ADD, STDIN_FILENO, &event);
  puts(all.url);
  fflush(stdout);
  while (epoll_wait(all.epoll, &event, 1, -1) >= 0 || errno == EINTR) {
    if (event.data.ptr == &listener) accept_one(listener);
    else if (event.data.ptr) serve((connection *)event.data.ptr);
    else if (getchar() == EOF) return 0;
  }
  return 1;
}
