#include "config.h"

#include "net/poller.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NS_PER_S INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

#if KX_EPOLL

#include <sys/epoll.h>
#include <sys/timerfd.h>

struct kx_poller {
  int epoll, timer;
  int shown;              /* somebody may watch the descriptor */
  int64_t alarm, armed;   /* when something is due; when the timer fires */
  unsigned char *watched; /* by descriptor: for what, as far as is known */
  int room;
};

/* Makes room for a descriptor's mask; returns 0 or ENOMEM. */
static int make_room(kx_poller *poller, int fd) {
  int room = poller->room ? poller->room : 64;
  unsigned char *watched;

  if (fd < poller->room) return 0;
  while (room <= fd) room *= 2;
  watched = (unsigned char *)realloc(poller->watched, (size_t)room);
  if (!watched) return ENOMEM;
  memset(watched + poller->room, 0, (size_t)(room - poller->room));
  poller->watched = watched;
  poller->room = room;
  return 0;
}

kx_poller *kx_poller_new(void) {
  struct epoll_event event = {0};
  kx_poller *poller = (kx_poller *)calloc(1, sizeof *poller);

  if (!poller) return NULL;
  poller->alarm = poller->armed = KX_NEVER;
  poller->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
  poller->epoll = epoll_create1(EPOLL_CLOEXEC);
  event.events = EPOLLIN;
  event.data.fd = poller->timer;
  /* Room at once: where a socket cannot be watched, libcurl gives up all that it has. */
  if (poller->timer >= 0 && poller->epoll >= 0 && make_room(poller, poller->epoll) == 0 &&
      epoll_ctl(poller->epoll, EPOLL_CTL_ADD, poller->timer, &event) == 0) {
    return poller;
  }
  kx_poller_free(poller);
  return NULL;
}

void kx_poller_free(kx_poller *poller) {
  int error = errno;

  if (!poller) return;
  if (poller->epoll >= 0) close(poller->epoll);
  if (poller->timer >= 0) close(poller->timer);
  free(poller->watched);
  free(poller);
  errno = error;
}

/* Sets the timer. A later alarm leaves it alone: one early wake-up costs less than a system call a
   step. */
static void arm(kx_poller *poller) {
  struct itimerspec spec = {{0, 0}, {0, 0}};
  int64_t when = poller->alarm;

  if (when >= poller->armed) return;
  if (when < 1) when = 1; /* zero would disarm it */
  spec.it_value.tv_sec = (time_t)(when / NS_PER_S);
  spec.it_value.tv_nsec = (long)(when % NS_PER_S);
  if (timerfd_settime(poller->timer, TFD_TIMER_ABSTIME, &spec, NULL) == 0) poller->armed = when;
}

int kx_poller_fd(kx_poller *poller) {
  poller->shown = 1;
  arm(poller);
  return poller->epoll;
}

int kx_poller_watch(kx_poller *poller, int fd, unsigned what) {
  struct epoll_event event = {0};
  int known;

  if (make_room(poller, fd) != 0) return what ? ENOMEM : 0;
  known = poller->watched[fd] != 0;
  poller->watched[fd] = (unsigned char)what;
  if (what == 0) {
    /* A socket that was closed meanwhile has left the set by itself. */
    if (known) (void)epoll_ctl(poller->epoll, EPOLL_CTL_DEL, fd, &event);
    return 0;
  }
  if (what & KX_READ) event.events |= EPOLLIN;
  if (what & KX_WRITE) event.events |= EPOLLOUT;
  event.data.fd = fd;
  if (known && epoll_ctl(poller->epoll, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
  if (epoll_ctl(poller->epoll, EPOLL_CTL_ADD, fd, &event) == 0) return 0;
  poller->watched[fd] = 0;
  return errno;
}

void kx_poller_alarm(kx_poller *poller, int64_t when) {
  poller->alarm = when;
  if (poller->shown) arm(poller);
}

int kx_poller_next(kx_poller *poller, int *fd, unsigned *what) {
  struct epoll_event event;

  /* One at a time: epoll hands out ready sockets in turn only when none is taken and left. */
  while (epoll_wait(poller->epoll, &event, 1, 0) == 1) {
    if (event.data.fd == poller->timer) {
      uint64_t times;
      if (read(poller->timer, &times, sizeof times) > 0) poller->armed = KX_NEVER;
      continue;
    }
    *fd = event.data.fd;
    *what = 0;
    if (event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) *what |= KX_READ;
    if (event.events & (EPOLLOUT | EPOLLERR)) *what |= KX_WRITE;
    return 1;
  }
  return 0;
}

void kx_poller_wait(kx_poller *poller, int64_t when) {
  struct pollfd one;
  struct timespec limit = {0, 0};
  int64_t left;

  one.fd = poller->epoll;
  one.events = POLLIN;
  one.revents = 0;
  if (poller->alarm < when) when = poller->alarm;
  left = when == KX_NEVER ? 0 : when - kx_now();
  if (left <= 0 && when != KX_NEVER) return;
  limit.tv_sec = (time_t)(left / NS_PER_S);
  limit.tv_nsec = (long)(left % NS_PER_S);
  /* EINTR is a reason to return, too. */
  (void)ppoll(&one, 1, when == KX_NEVER ? NULL : &limit, NULL);
}

#else

/* Returns what poll(2) takes for a wait until `when`: whole milliseconds, rounded up. */
static int milliseconds_until(int64_t when) {
  int64_t ms;

  if (when == KX_NEVER) return -1;
  when -= kx_now();
  if (when <= 0) return 0;
  ms = (when - 1) / NS_PER_MS + 1;
  return ms > INT_MAX ? INT_MAX : (int)ms;
}

struct kx_poller {
  struct pollfd *sockets;
  size_t count, room, turn;
  int64_t alarm;
};

kx_poller *kx_poller_new(void) {
  kx_poller *poller = (kx_poller *)calloc(1, sizeof *poller);

  if (poller) poller->alarm = KX_NEVER;
  return poller;
}

void kx_poller_free(kx_poller *poller) {
  if (!poller) return;
  free(poller->sockets);
  free(poller);
}

int kx_poller_fd(kx_poller *poller) {
  (void)poller;
  return -1;
}

int kx_poller_watch(kx_poller *poller, int fd, unsigned what) {
  size_t i = 0;

  while (i < poller->count && poller->sockets[i].fd != fd) i++;
  if (what == 0) {
    if (i < poller->count) poller->sockets[i] = poller->sockets[--poller->count];
    return 0;
  }
  if (i == poller->room) {
    size_t room = poller->room ? 2 * poller->room : 16;
    struct pollfd *sockets =
        (struct pollfd *)realloc(poller->sockets, room * sizeof *poller->sockets);
    if (!sockets) return ENOMEM;
    poller->sockets = sockets;
    poller->room = room;
  }
  if (i == poller->count) poller->count++;
  poller->sockets[i].fd = fd;
  poller->sockets[i].revents = 0;
  poller->sockets[i].events =
      (short)((what & KX_READ ? POLLIN : 0) | (what & KX_WRITE ? POLLOUT : 0));
  return 0;
}

void kx_poller_alarm(kx_poller *poller, int64_t when) { poller->alarm = when; }

int kx_poller_next(kx_poller *poller, int *fd, unsigned *what) {
  size_t i;

  if (poller->count == 0 || poll(poller->sockets, (nfds_t)poller->count, 0) <= 0) return 0;
  for (i = 0; i < poller->count; i++) {
    const struct pollfd *one = &poller->sockets[(poller->turn + i) % poller->count];
    if (!one->revents) continue;
    *fd = one->fd;
    *what = 0;
    if (one->revents & ~POLLOUT) *what |= KX_READ;
    if (one->revents & (POLLOUT | POLLERR)) *what |= KX_WRITE;
    poller->turn = (poller->turn + i + 1) % poller->count;
    return 1;
  }
  return 0;
}

void kx_poller_wait(kx_poller *poller, int64_t when) {
  if (poller->alarm < when) when = poller->alarm;
  (void)poll(poller->sockets, (nfds_t)poller->count, milliseconds_until(when));
}

#endif
