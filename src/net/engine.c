#include "config.h"

#include "net/engine.h"

#include "clock.h"
#include "net/curl_error.h"
#include "net/owner.h"
#include "net/poller.h"
#include "net/tls_warmup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK INT64_C(10000000)     /* 10 ms: how often a host without a descriptor ticks */
#define PATIENCE INT64_C(10000000) /* 10 ms: how long what is begun may keep the next waiting */
#define CONNECTIONS 32L /* over that, 24 uploads included, none is kept for the next poll */

/* Ready sockets that are served before a transfer is judged late: the bytes in them, some
   megabytes, have arrived in time. Bounded, because an answer may be endless: libcurl takes up to
   100 pieces from a socket at once, and 256 such reads of an endless chunk extension took 6 s. */
#define LATE_READS 256
#define FEW_LATE_READS 16            /* enough of them where each takes long, */
#define LATE_SPENT INT64_C(50000000) /* 50 ms together */

typedef struct list {
  kx_transfer *first, **end;
} list;

struct kx_engine {
  CURLM *multi;
  kx_poller *poller;
  kx_settings settings;
  char *strings[4]; /* the settings' */
  kx_owner owner;
  uint64_t last_id;
  list waiting, active, ended, held;
  list working;      /* what the worker has: made before, since its end must not be lost */
  kx_worker *worker; /* NULL before its first task */
  int64_t curl_due, host_due, check_due; /* curl's timer; the host's alarm; the next time-out */
  int64_t begun;                         /* when the last transfer was */
  int64_t stepped;                       /* when the last step ended */
  int more;                              /* the last step left work behind */
  int settling;                          /* nothing is begun and nothing judged late */
  int late_reads;                        /* sockets that were served since something seemed late */
  int64_t late_spent;                    /* the time that this took */
  int *sockets;                          /* open ones: a forked child has to close them */
  size_t socket_count, socket_room;
};

static void list_clear(list *l) {
  l->first = NULL;
  l->end = &l->first;
}

static void list_append(list *l, kx_transfer *t) {
  t->next = NULL;
  *l->end = t;
  l->end = &t->next;
}

/* Takes the transfer out of the list; returns it, or NULL when it is not in there. */
static kx_transfer *list_remove(list *l, uint64_t id) {
  kx_transfer **at = &l->first, *t;

  while (*at && (*at)->id != id) at = &(*at)->next;
  t = *at;
  if (!t) return NULL;
  *at = t->next;
  if (l->end == &t->next) l->end = at;
  return t;
}

static void list_free(list *l) {
  while (l->first) {
    kx_transfer *t = l->first;
    l->first = t->next;
    kx_transfer_free(t);
  }
  list_clear(l);
}

/* curl's CURLOPT_OPENSOCKETFUNCTION: close-on-exec, and remembered. */
static curl_socket_t on_open(void *data, curlsocktype purpose, struct curl_sockaddr *address) {
  kx_engine *e = (kx_engine *)data;
  int type = address->socktype, fd;

  (void)purpose;
#ifdef SOCK_CLOEXEC
  type |= SOCK_CLOEXEC;
#endif
  if (e->socket_count == e->socket_room) {
    size_t room = e->socket_room ? 2 * e->socket_room : 16;
    int *sockets = (int *)realloc(e->sockets, room * sizeof *sockets);
    if (!sockets) return CURL_SOCKET_BAD;
    e->sockets = sockets;
    e->socket_room = room;
  }
  fd = socket(address->family, type, address->protocol);
  if (fd < 0) return CURL_SOCKET_BAD;
#ifndef SOCK_CLOEXEC
  (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
#endif
  e->sockets[e->socket_count++] = fd;
  return fd;
}

/* curl's CURLOPT_CLOSESOCKETFUNCTION. */
static int on_close(void *data, curl_socket_t fd) {
  kx_engine *e = (kx_engine *)data;
  size_t i;

  for (i = 0; i < e->socket_count; i++) {
    if (e->sockets[i] != fd) continue;
    e->sockets[i] = e->sockets[--e->socket_count];
    break;
  }
  (void)kx_poller_watch(e->poller, fd, 0);
  return close(fd);
}

/* curl's CURLMOPT_SOCKETFUNCTION. A socket that cannot be watched ends its transfer, at the next
   look at the time-outs: if libcurl 7.88 learns of it here, it ends all and reads freed memory. */
static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *of_socket) {
  static const unsigned masks[] = {0, KX_READ, KX_WRITE, KX_READ | KX_WRITE};
  kx_engine *e = (kx_engine *)data;
  char *transfer = NULL;

  (void)of_socket;
  if (kx_poller_watch(e->poller, fd, what == CURL_POLL_REMOVE ? 0 : masks[what & 3]) != 0) {
    curl_easy_getinfo(easy, CURLINFO_PRIVATE, &transfer);
    if (transfer) ((kx_transfer *)(void *)transfer)->unwatched = 1;
    e->check_due = 0;
  }
  return 0;
}

/* curl's CURLMOPT_TIMERFUNCTION: only noted, because curl may not be called from here. */
static int on_timer(CURLM *multi, long ms, void *data) {
  (void)multi;
  ((kx_engine *)data)->curl_due = ms < 0 ? KX_NEVER : kx_now() + (int64_t)ms * 1000000;
  return 0;
}

/* Makes a setting's text the engine's own; returns 0 without memory. */
static int own(kx_engine *e, int i, const char **text) {
  if (!*text) return 1;
  e->strings[i] = strdup(*text);
  *text = e->strings[i];
  return *text != NULL;
}

kx_engine *kx_engine_new(const kx_settings *settings) {
  kx_engine *e = (kx_engine *)calloc(1, sizeof *e);
  kx_settings *s;
  int error = ENOMEM;

  if (!e) return NULL;
  e->settings = *settings;
  s = &e->settings;
  e->settings.sockets = e;
  e->settings.open_socket = on_open;
  e->settings.close_socket = on_close;
  kx_owner_set(&e->owner);
  e->stepped = kx_now();
  e->curl_due = e->host_due = e->check_due = KX_NEVER;
  list_clear(&e->waiting);
  list_clear(&e->active);
  list_clear(&e->ended);
  list_clear(&e->held);
  list_clear(&e->working);
  e->poller = kx_poller_new();
  if (!e->poller) {
    error = errno;
  } else if (own(e, 0, &s->user_agent) && own(e, 1, &s->proxy) && own(e, 2, &s->ca_file) &&
             own(e, 3, &s->ca_path)) {
    e->multi = curl_multi_init();
  }
  if (e->multi && !curl_multi_setopt(e->multi, CURLMOPT_SOCKETFUNCTION, on_socket) &&
      !curl_multi_setopt(e->multi, CURLMOPT_SOCKETDATA, e) &&
      !curl_multi_setopt(e->multi, CURLMOPT_TIMERFUNCTION, on_timer) &&
      !curl_multi_setopt(e->multi, CURLMOPT_TIMERDATA, e) &&
      !curl_multi_setopt(e->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS)) {
    if (e->settings.tls) kx_tls_warmup(e->multi, &e->settings);
    return e;
  }
  kx_engine_free(e);
  errno = error;
  return NULL;
}

int kx_engine_forked(const kx_engine *e) { return kx_owner_is_other(&e->owner); }

void kx_engine_free(kx_engine *e) {
  kx_transfer *t;
  size_t i;

  if (!e) return;
  if (kx_engine_forked(e)) {
    /* The connections are the parent's: a TLS farewell from here would end them. */
    for (i = 0; i < e->socket_count; i++) close(e->sockets[i]);
    kx_worker_close(e->worker);
    kx_poller_free(e->poller);
    return;
  }
  kx_worker_free(e->worker);
  for (t = e->active.first; t; t = t->next) curl_multi_remove_handle(e->multi, t->easy);
  list_free(&e->waiting);
  list_free(&e->active);
  list_free(&e->ended);
  list_free(&e->held);
  list_free(&e->working);
  if (e->multi) curl_multi_cleanup(e->multi);
  kx_poller_free(e->poller);
  for (i = 0; i < sizeof e->strings / sizeof *e->strings; i++) free(e->strings[i]);
  free(e->sockets);
  kx_owner_free(&e->owner);
  free(e);
}

/* Returns when work of the engine's own or the host's alarm is due. */
static int64_t own_due(const kx_engine *e) {
  int64_t due = e->host_due;

  if (e->waiting.first || e->ended.first || e->more) return 0;
  if (e->curl_due < due) due = e->curl_due;
  return e->active.first && e->check_due < due ? e->check_due : due;
}

uint64_t kx_engine_next_id(const kx_engine *e) { return e->last_id + 1; }

uint64_t kx_engine_start(kx_engine *e, const kx_request *request, int hold) {
  kx_transfer *t = kx_transfer_new(request, &e->settings);

  if (!t) return 0;
  t->id = ++e->last_id;
  t->hold = hold;
  list_append(&e->waiting, t);
  return t->id;
}

/* Starts the worker where there is none; returns 0 or an errno. */
static int need_worker(kx_engine *e) {
  int error;

  if (e->worker) return 0;
  e->worker = kx_worker_new();
  error = !e->worker ? errno : kx_poller_watch(e->poller, kx_worker_fd(e->worker), KX_READ);
  if (error) {
    kx_worker_free(e->worker);
    e->worker = NULL;
  }
  return error;
}

/* Queues a task of the next id (NULL: there was no memory for it); returns the id, or 0 with errno.
   */
static uint64_t queue_work(kx_engine *e, kx_work *work) {
  int error = work ? need_worker(e) : ENOMEM;
  kx_transfer *t = error ? NULL : kx_transfer_worker(work->id);

  if (!t) {
    kx_work_free(work);
    errno = error ? error : ENOMEM;
    return 0;
  }
  list_append(&e->working, t);
  kx_worker_add(e->worker, work);
  return ++e->last_id;
}

uint64_t kx_engine_fit(kx_engine *e, const kx_fit *fit, const kx_work_input *picture) {
  return queue_work(e, kx_work_fit(e->last_id + 1, fit, picture));
}

uint64_t kx_engine_region(kx_engine *e, kx_region *region, const kx_work_input *picture) {
  return queue_work(e, kx_work_region(e->last_id + 1, region, picture));
}

uint64_t kx_engine_digest(kx_engine *e, const kx_work_input *file) {
  return queue_work(e, kx_work_digest(e->last_id + 1, file));
}

kx_transfer *kx_engine_held(kx_engine *e, uint64_t id) {
  kx_transfer *t = e->held.first;

  while (t && t->id != id) t = t->next;
  return t;
}

kx_sink *kx_engine_take(kx_engine *e, uint64_t id) {
  kx_transfer *t = list_remove(&e->held, id);
  kx_sink *sink;

  if (!t) return NULL;
  sink = t->sink;
  t->sink = NULL;
  kx_transfer_free(t);
  return sink;
}

void kx_engine_cancel(kx_engine *e, uint64_t id) {
  kx_transfer *t = list_remove(&e->active, id);

  if (t) curl_multi_remove_handle(e->multi, t->easy);
  else t = list_remove(&e->waiting, id);
  if (!t) t = list_remove(&e->ended, id);
  if (!t) t = list_remove(&e->held, id);
  if (!t) {
    t = list_remove(&e->working, id);
    if (t) kx_worker_cancel(e->worker, id);
  }
  kx_transfer_free(t);
}

/* Ends an active transfer with curl's code for it. */
static void end_transfer(kx_engine *e, kx_transfer *t, CURLcode code) {
  list_remove(&e->active, t->id);
  if (t->easy) curl_multi_remove_handle(e->multi, t->easy);
  kx_transfer_end(t, code);
  list_append(&e->ended, t);
}

/* Returns how much of the time between two steps counts towards a stall: a host that was stopped or
   busy did not watch its sockets. So a stall takes some steps to be detected. */
static int64_t watched_at_most(const kx_engine *e) { return e->settings.stall_ns / 4 + 1; }

/* Plans a check of the transfer's time-out, and the steps that a stall takes in a host that only
   waits. */
static void look_again(kx_engine *e, const kx_transfer *t, int64_t now) {
  int64_t due = kx_transfer_due(t);

  if (e->settings.stall_ns > 0 && now + watched_at_most(e) < due) due = now + watched_at_most(e);
  if (due < e->check_due) e->check_due = due;
}

/* Subtracts the time in which the host did not watch the sockets from the transfers' stalls. */
static void forgive_absence(kx_engine *e, int64_t now) {
  int64_t unwatched = now - e->stepped - watched_at_most(e);
  kx_transfer *t;

  if (e->settings.stall_ns == 0 || unwatched <= 0) return;
  for (t = e->active.first; t; t = t->next) {
    if (t->active == KX_NEVER) continue;
    t->active = t->active + unwatched < now ? t->active + unwatched : now;
  }
}

/* Begins one waiting transfer: one by one, for 24 at once made a call of 2.2 ms. */
static void begin_transfer(kx_engine *e) {
  kx_transfer *t = list_remove(&e->waiting, e->waiting.first->id);
  int failed = kx_transfer_prepare(t);

  e->begun = kx_now();
  list_append(&e->active, t);
  if (!failed && curl_multi_add_handle(e->multi, t->easy) != CURLM_OK) {
    kx_error_curl(&t->error, CURLE_OUT_OF_MEMORY, "");
    curl_easy_cleanup(t->easy);
    t->easy = NULL;
    failed = 1;
  }
  if (failed) {
    t->failed_by_us = 1;
    end_transfer(e, t, CURLE_FAILED_INIT);
    return;
  }
  look_again(e, t, e->begun);
}

/* Ends transfers that are past their deadline or stall. `check_due` may be early: activity delays a
   stall. */
static void check_deadlines(kx_engine *e, int64_t now) {
  kx_transfer *t, *next;

  e->check_due = KX_NEVER;
  e->late_reads = 0;
  e->late_spent = 0;
  for (t = e->active.first; t; t = next) {
    int64_t due = kx_transfer_due(t);
    next = t->next;
    if (t->unwatched) {
      kx_error_own(&t->error, "network", "CURLE_ABORTED_BY_CALLBACK", "its socket is not watched");
      t->failed_by_us = 1;
      end_transfer(e, t, CURLE_ABORTED_BY_CALLBACK);
    } else if (due <= now) {
      kx_error_own(&t->error, "timeout", "CURLE_OPERATION_TIMEDOUT",
                   due == t->deadline ? "the time for it ran out" : "no byte moved any more");
      t->failed_by_us = 1;
      end_transfer(e, t, CURLE_OPERATION_TIMEDOUT);
    } else {
      look_again(e, t, now);
    }
  }
}

/* Moves what curl has finished to the ended. */
static void collect_finished(kx_engine *e) {
  CURLMsg *message;
  int left;

  while ((message = curl_multi_info_read(e->multi, &left))) {
    char *data = NULL;
    if (message->msg != CURLMSG_DONE) continue;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &data);
    end_transfer(e, (kx_transfer *)(void *)data, message->data.result);
  }
}

/* Moves the worker's tasks that have ended to the ended. */
static void collect_work(kx_engine *e) {
  kx_work *work;

  while ((work = kx_worker_next(e->worker))) {
    kx_transfer *t = list_remove(&e->working, work->id);
    t->work = work;
    t->error = work->error;
    list_append(&e->ended, t);
  }
}

/* Does one thing that is due; returns 0 when there is none. What has begun goes first: 24 uploads
   that begin together all end with the last. */
static int step_once(kx_engine *e, int64_t now) {
  static const int masks[] = {0, CURL_CSELECT_IN, CURL_CSELECT_OUT,
                              CURL_CSELECT_IN | CURL_CSELECT_OUT};
  int fd, running, late = !e->settling && e->check_due <= now;
  int may_begin = !e->settling && e->waiting.first;
  unsigned what;

  if (late && (e->late_reads >= LATE_READS ||
               (e->late_reads >= FEW_LATE_READS && e->late_spent >= LATE_SPENT))) {
    check_deadlines(e, now);
    late = 0;
  }
  if (e->curl_due <= now) {
    e->curl_due = KX_NEVER;
    curl_multi_socket_action(e->multi, CURL_SOCKET_TIMEOUT, 0, &running);
  } else if (may_begin && now - e->begun > PATIENCE) {
    begin_transfer(e);
  } else if (!kx_poller_next(e->poller, &fd, &what)) {
    if (late) check_deadlines(e, now);
    else if (may_begin) begin_transfer(e);
    else return 0;
  } else if (e->worker && fd == kx_worker_fd(e->worker)) {
    collect_work(e);
  } else {
    curl_multi_socket_action(e->multi, fd, masks[what], &running);
    if (late) {
      e->late_reads++;
      e->late_spent += kx_now() - now;
    }
  }
  collect_finished(e);
  return 1;
}

void kx_engine_step(kx_engine *e, int64_t budget) {
  int64_t now = kx_now(), end = now + budget;

  if (e->host_due <= now) e->host_due = KX_NEVER;
  forgive_absence(e, now);
  e->more = 1;
  while (e->more && now < end) {
    e->more = step_once(e, now);
    now = kx_now();
  }
  e->stepped = now;
  kx_poller_alarm(e->poller, own_due(e));
}

void kx_engine_settle(kx_engine *e, int64_t budget) {
  e->settling = 1;
  kx_engine_step(e, budget);
  e->settling = 0;
  e->more = 1; /* what was left aside is looked at by the next step */
  kx_poller_alarm(e->poller, own_due(e));
}

kx_transfer *kx_engine_ended(kx_engine *e) { return e->ended.first; }

void kx_engine_drop_ended(kx_engine *e) {
  kx_transfer *t = list_remove(&e->ended, e->ended.first->id);

  if (t->hold) list_append(&e->held, t);
  else kx_transfer_free(t);
}

kx_transfer *kx_engine_active(kx_engine *e) { return e->active.first; }

void kx_engine_alarm(kx_engine *e, int64_t when) {
  e->host_due = when;
  kx_poller_alarm(e->poller, own_due(e));
}

int64_t kx_engine_due(const kx_engine *e) {
  int64_t due = own_due(e), tick;

  if (KX_EPOLL || (!e->active.first && !e->worker)) return due;
  tick = kx_now() + TICK; /* the host sees no sockets */
  return tick < due ? tick : due;
}

int kx_engine_fd(kx_engine *e) { return kx_poller_fd(e->poller); }

void kx_engine_wait(kx_engine *e, int64_t when) {
  int64_t due = own_due(e);

  kx_poller_wait(e->poller, due < when ? due : when);
}
