/* A poller tells what is ready, in turn, and wakes when it must: with one descriptor and without.
   */
#include "config.h"

#include "check.h"
#include "net/poller.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MS INT64_C(1000000)

/* Returns 1 when the poller's descriptor is readable within `ms`; without one, as far as
   `expected`. */
static int readable(kx_poller *poller, int ms, int expected) {
  struct pollfd one;

  one.fd = kx_poller_fd(poller);
  one.events = POLLIN;
  return one.fd < 0 ? expected : poll(&one, 1, ms);
}

/* Waits until `ms` from now at the most; returns how many ms that took. */
static int64_t waits(kx_poller *poller, int ms) {
  int64_t begun = kx_now();

  kx_poller_wait(poller, begun + ms * MS);
  return (kx_now() - begun) / MS;
}

static void test_sockets(kx_poller *poller) {
  int a[2], b[2], fd = -1, i, turns[2] = {0, 0};
  unsigned what = 0;
  char byte;

  if (socketpair(AF_UNIX, SOCK_STREAM, 0, a) != 0) return;
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, b) != 0) return;
  CHECK("nothing is ready of nothing", !kx_poller_next(poller, &fd, &what));
  CHECK("a socket is watched", kx_poller_watch(poller, a[0], KX_READ) == 0);
  CHECK("it is not ready before something comes", !kx_poller_next(poller, &fd, &what));
  CHECK("and the descriptor is quiet", !readable(poller, 0, 0));
  CHECK("a wait ends when its time is over", waits(poller, 20) >= 20);
  CHECK("something comes", write(a[1], "x", 1) == 1);
  CHECK("the descriptor tells", readable(poller, 100, 1));
  CHECK("a wait ends at once", waits(poller, 1000) < 500);
  CHECK("the socket is ready to read",
        kx_poller_next(poller, &fd, &what) && fd == a[0] && what == KX_READ);
  CHECK("and stays so until it is read", kx_poller_next(poller, &fd, &what) && fd == a[0]);
  CHECK("which is watched for more", kx_poller_watch(poller, a[0], KX_READ | KX_WRITE) == 0);
  CHECK("both are told",
        kx_poller_next(poller, &fd, &what) && fd == a[0] && what == (KX_READ | KX_WRITE));
  CHECK("it is read", read(a[0], &byte, 1) == 1);
  CHECK("then only the other is told",
        kx_poller_next(poller, &fd, &what) && fd == a[0] && what == KX_WRITE);

  CHECK("a second is watched", kx_poller_watch(poller, b[0], KX_WRITE) == 0);
  for (i = 0; i < 20; i++) {
    if (kx_poller_next(poller, &fd, &what)) turns[fd == b[0]]++;
  }
  CHECK("both have their turns", turns[0] >= 5 && turns[1] >= 5);

  CHECK("one is let go", kx_poller_watch(poller, a[0], 0) == 0);
  CHECK("twice does no harm", kx_poller_watch(poller, a[0], 0) == 0);
  for (i = 0; i < 20; i++) CHECK("it is told no more", !kx_poller_next(poller, &fd, &what) ||
                                 fd == b[0]);
  CHECK("the other is watched for reading", kx_poller_watch(poller, b[0], KX_READ) == 0);
  close(b[1]);
  CHECK("the end of a connection is something to read",
        kx_poller_next(poller, &fd, &what) && fd == b[0] && (what & KX_READ));
  kx_poller_watch(poller, b[0], 0);
  close(b[0]);
  CHECK("a socket may be let go after it was closed", kx_poller_watch(poller, b[0], 0) == 0);
  close(a[0]);
  close(a[1]);
  CHECK("all are gone", !kx_poller_next(poller, &fd, &what));
}

static void test_alarm(kx_poller *poller) {
  int fd;
  unsigned what;
  int64_t took;

  kx_poller_alarm(poller, kx_now() + 30 * MS);
  CHECK("an alarm is not early", !readable(poller, 5, 0));
  CHECK("it makes the descriptor readable", readable(poller, 1000, 1));
  CHECK("an alarm is no socket", !kx_poller_next(poller, &fd, &what));
  kx_poller_alarm(poller, KX_NEVER);
  CHECK("and is over when it was seen and set anew", !readable(poller, 10, 0));
  kx_poller_alarm(poller, kx_now() + 20 * MS);
  took = waits(poller, 1000);
  CHECK("a wait ends with the alarm", took >= 19 && took < 500);
  (void)kx_poller_next(poller, &fd, &what);
  kx_poller_alarm(poller, kx_now() + 5000 * MS);
  kx_poller_alarm(poller, kx_now() + 10 * MS);
  CHECK("an earlier alarm takes a later one's place", readable(poller, 1000, 1));
  (void)kx_poller_next(poller, &fd, &what);
  kx_poller_alarm(poller, 0);
  CHECK("an alarm of long ago is due now", readable(poller, 100, 1));
  (void)kx_poller_next(poller, &fd, &what);
  kx_poller_alarm(poller, KX_NEVER);
  CHECK("an alarm of never is none", !readable(poller, 10, 0));
}

int main(void) {
  kx_poller *poller = kx_poller_new();
  int64_t now = kx_now();

  if (!poller) return 1;
  CHECK("the clock goes on", kx_now() >= now);
#ifdef KX_PORTABLE
  CHECK("the portable poller has no descriptor", kx_poller_fd(poller) == -1);
#endif
  test_sockets(poller);
  test_alarm(poller);
  kx_poller_free(poller);
  kx_poller_free(NULL);
  return report();
}
