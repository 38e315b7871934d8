#include "config.h"

#include "net/tls_warmup.h"

#if defined(__linux__)

#include "net/poller.h"

#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define TURNS 4 /* until TLS has sent its greeting, which nobody answers */

/* Listens under an abstract name that nobody has; returns the descriptor, or -1. */
static int listen_somewhere(char name[8]) {
  struct sockaddr_un address;
  socklen_t size = sizeof address;
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

  memset(&address, 0, sizeof address);
  address.sun_family = AF_UNIX;
  if (fd >= 0 && bind(fd, (struct sockaddr *)(void *)&address, sizeof address.sun_family) == 0 &&
      listen(fd, 1) == 0 && getsockname(fd, (struct sockaddr *)(void *)&address, &size) == 0 &&
      size < offsetof(struct sockaddr_un, sun_path) + 8) {
    memcpy(name, address.sun_path + 1, 7);
    return fd;
  }
  if (fd >= 0) close(fd);
  return -1;
}

/* Makes a transfer that goes to the listener; returns NULL when it cannot. */
static kx_transfer *make_transfer(const kx_settings *settings, const char *name) {
  kx_piece piece = {KX_TEXT, "{}", 2, NULL};
  kx_request request;
  kx_transfer *t;
  size_t which;

  memset(&request, 0, sizeof request);
  request.url = "https://127.0.0.1/";
  request.deadline = KX_NEVER;
  request.no_proxy = 1;
  request.body = kx_body_new(&piece, 1, &which);
  request.sink = kx_sink_memory(1024);
  if (!request.body) {
    kx_sink_free(request.sink);
    return NULL;
  }
  t = kx_transfer_new(&request, settings);
  if (t && !kx_transfer_prepare(t) &&
      !curl_easy_setopt(t->easy, CURLOPT_ABSTRACT_UNIX_SOCKET, name)) {
    return t;
  }
  kx_transfer_free(t);
  return NULL;
}

void kx_tls_warmup(CURLM *multi, const kx_settings *settings) {
  char name[8] = "";
  int listener = listen_somewhere(name), turn, running, left;
  kx_transfer *t = listener < 0 ? NULL : make_transfer(settings, name);

  if (t && curl_multi_add_handle(multi, t->easy) == CURLM_OK) {
    for (turn = 0; turn < TURNS; turn++) (void)curl_multi_perform(multi, &running);
    while (curl_multi_info_read(multi, &left)) continue;
    (void)curl_multi_remove_handle(multi, t->easy);
  }
  kx_transfer_free(t);
  if (listener >= 0) close(listener);
}

#else

void kx_tls_warmup(CURLM *multi, const kx_settings *settings) { (void)multi, (void)settings; }

#endif
