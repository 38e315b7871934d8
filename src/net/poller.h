/* One descriptor and one alarm for all sockets: epoll and timerfd, elsewhere poll(2).
   Knows neither curl nor Lua. */
#ifndef KX_POLLER_H
#define KX_POLLER_H

#include "clock.h"

#include <stdint.h>

enum { KX_READ = 1, KX_WRITE = 2 };

typedef struct kx_poller kx_poller;

/* Returns a poller that watches nothing, or NULL with errno. */
kx_poller *kx_poller_new(void);

/* Closes the poller's own descriptors only; NULL is fine. */
void kx_poller_free(kx_poller *poller);

/* Returns the descriptor that is readable when something is to be done, or -1 where there is none.
   Only from then on is the alarm heard by others than kx_poller_wait. */
int kx_poller_fd(kx_poller *poller);

/* Watches `fd` for KX_READ and KX_WRITE in place of what it was watched for; 0 ends it. Returns 0
   or an errno. */
int kx_poller_watch(kx_poller *poller, int fd, unsigned what);

/* Makes the descriptor readable at `when` (it may become so earlier, once), and ends a wait then.
   */
void kx_poller_alarm(kx_poller *poller, int64_t when);

/* Finds one ready socket without waiting, in turn when there are more; returns 1, or 0 for none. */
int kx_poller_next(kx_poller *poller, int *fd, unsigned *what);

/* Blocks until a socket is ready, the alarm is due, `when` has come or a signal arrives. */
void kx_poller_wait(kx_poller *poller, int64_t when);

#endif
