#include "config.h"

#include "wire.h"

#include "net/poller.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int ends[2]; /* ours, curl's */

static curl_socket_t open_pair(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
  (void)data, (void)purpose, (void)address;
  return dup(ends[1]);
}

static int close_end(void *data, curl_socket_t fd) {
  (void)data;
  return close(fd);
}

/* Stands in for the system's, for libcurl 7.88 connects what it was told is connected already; and
   so nothing here reaches a network. */
KX_EXPORT int connect(int fd, const struct sockaddr *address, socklen_t size) {
  (void)fd, (void)address, (void)size;
  return 0;
}

kx_transfer *wire_new(const char *url, const char *proxy, kx_sink *sink) {
  static char through[64];
  static kx_settings settings;
  kx_request request;
  kx_transfer *t;

  memset(&settings, 0, sizeof settings);
  memset(&request, 0, sizeof request);
  settings.connect_timeout_ms = 10000;
  settings.open_socket = open_pair;
  settings.close_socket = close_end;
  if (proxy) settings.proxy = strncpy(through, proxy, sizeof through - 1);
  request.url = url;
  request.deadline = KX_NEVER;
  request.allow_http = 1;
  request.no_proxy = !proxy;
  request.sink = sink;
  t = kx_transfer_new(&request, &settings);
  if (!t) abort();
  return t;
}

void wire_perform(kx_transfer *t, const void *answer, size_t size, char *heard, size_t room) {
  ssize_t n;

  if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) abort();
  n = send(ends[0], answer, size, MSG_DONTWAIT); /* what does not fit is not said */
  shutdown(ends[0], SHUT_WR);
  if (kx_transfer_prepare(t) != 0) abort();
  kx_transfer_end(t, curl_easy_perform(t->easy));
  n = recv(ends[0], heard, room - 1, MSG_DONTWAIT);
  heard[n > 0 ? n : 0] = '\0';
  close(ends[0]);
  close(ends[1]);
}
