#include "config.h"

#include "picture/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_MAX ((size_t)64 * 1024 * 1024)
#define DIGEST_BUFFER ((size_t)64 * 1024)

struct kx_worker {
  pthread_mutex_t lock; /* of all below */
  pthread_cond_t wake;
  kx_work *waiting, *ended, *current;
  int cancelled; /* the current task is not wanted any more */
  int leaving;   /* the worker is not wanted any more: the thread frees it */
  int tell[2];   /* a pipe: the thread writes a byte for each task that has ended */
};

static kx_work *new_work(uint64_t id, kx_work_kind kind, const kx_work_input *input) {
  kx_work *work = (kx_work *)calloc(1, sizeof *work);

  if (!work) return NULL;
  work->id = id;
  work->kind = kind;
  work->stamped = input->stamp != NULL;
  if (work->stamped) work->stamp = *input->stamp;
  if (input->path) {
    work->path = strdup(input->path);
  } else {
    work->size = input->size;
    work->bytes = (char *)malloc(input->size + 1);
    if (work->bytes) memcpy(work->bytes, input->bytes, input->size);
  }
  if (work->path || work->bytes) return work;
  kx_work_free(work);
  return NULL;
}

kx_work *kx_work_fit(uint64_t id, const kx_fit *fit, const kx_work_input *picture) {
  kx_work *work = new_work(id, KX_WORK_FIT, picture);

  if (!work) return NULL;
  work->fit = *fit;
  work->out = kx_sink_memory(RESULT_MAX);
  if (work->out) return work;
  kx_work_free(work);
  return NULL;
}

kx_work *kx_work_digest(uint64_t id, const kx_work_input *file) {
  return new_work(id, KX_WORK_DIGEST, file);
}

kx_work *kx_work_region(uint64_t id, kx_region *region, const kx_work_input *picture) {
  kx_work *work = new_work(id, KX_WORK_REGION, picture);

  if (!work) {
    kx_region_free(region);
    return NULL;
  }
  work->region = region;
  work->out = kx_sink_memory(RESULT_MAX);
  if (work->out) return work;
  kx_work_free(work);
  return NULL;
}

void kx_work_free(kx_work *work) {
  if (!work) return;
  kx_region_free(work->region);
  free(work->path);
  free(work->bytes);
  kx_sink_free(work->out);
  free(work);
}

static void free_list(kx_work *work) {
  while (work) {
    kx_work *next = work->next;
    kx_work_free(work);
    work = next;
  }
}

static void append(kx_work **list, kx_work *work) {
  while (*list) list = &(*list)->next;
  work->next = NULL;
  *list = work;
}

/* Takes the first task out of the list, or the one of that id; returns it, or NULL. */
static kx_work *take(kx_work **list, uint64_t id) {
  kx_work *work;

  while (*list && id && (*list)->id != id) list = &(*list)->next;
  work = *list;
  if (work) *list = work->next;
  return work;
}

/* Returns 1 while the result of the current task is still wanted. */
static int wanted(kx_worker *worker) {
  int is;

  pthread_mutex_lock(&worker->lock);
  is = !worker->cancelled && !worker->leaving;
  pthread_mutex_unlock(&worker->lock);
  return is;
}

/* Opens the task's input as it was checked; returns 0 or an errno. */
static int open_input(const kx_work *work, kx_source *source) {
  int error = 0;

  if (work->path) error = kx_source_open(source, work->path);
  else kx_source_memory(source, work->bytes, work->size);
  if (error || !work->stamped || kx_stamp_equal(&work->stamp, &source->stamp)) return error;
  kx_source_close(source);
  return ESTALE;
}

static int run_fit(kx_worker *worker, kx_work *work, const kx_source *source) {
  (void)worker;
  (void)kx_fit_picture(&work->fit, source, work->out, &work->error);
  return 0;
}

/* Returns whether a region's job is still wanted. */
static int region_wanted(void *context) { return wanted((kx_worker *)context); }

static int run_region(kx_worker *worker, kx_work *work, const kx_source *source) {
  work->region->wanted.ask = region_wanted;
  work->region->wanted.context = worker;
  (void)kx_region_run(work->region, source, work->out, &work->error);
  return 0;
}

static int run_digest(kx_worker *worker, kx_work *work, const kx_source *source) {
  kx_digest *digest = kx_digest_new(KX_SHA256);
  unsigned char *buffer = (unsigned char *)malloc(DIGEST_BUFFER);
  uint64_t offset = 0;
  ssize_t n = 0;
  int error = digest && buffer ? 0 : ENOMEM;

  while (!error && wanted(worker) &&
         (n = kx_source_read(source, offset, buffer, DIGEST_BUFFER)) > 0) {
    kx_digest_add(digest, buffer, (size_t)n);
    offset += (uint64_t)n;
  }
  if (n < 0) error = errno;
  if (!error) (void)kx_digest_value(digest, work->digest);
  free(buffer);
  kx_digest_free(digest);
  return error;
}

/* Does the task; the result is in it, or its error. */
static void run(kx_worker *worker, kx_work *work) {
  static int (*const runs[])(kx_worker *, kx_work *, const kx_source *) = {run_fit, run_digest,
                                                                           run_region};
  kx_source source;
  int error = open_input(work, &source);

  if (!error) {
    error = runs[work->kind](worker, work, &source);
    /* Checked whatever the result is; a result that is a file was checked before. */
    if (!(work->region && work->region->to) && kx_source_changed(&source)) error = ESTALE;
    kx_source_close(&source);
  }
  if (error) kx_error_file(&work->error, error, work->path ? work->path : "the picture");
}

static void destroy(kx_worker *worker) {
  free_list(worker->waiting);
  free_list(worker->ended);
  if (worker->tell[0] >= 0) close(worker->tell[0]);
  if (worker->tell[1] >= 0) close(worker->tell[1]);
  pthread_cond_destroy(&worker->wake);
  pthread_mutex_destroy(&worker->lock);
  free(worker);
}

/* The thread. */
static void *thread(void *data) {
  kx_worker *worker = (kx_worker *)data;

  pthread_mutex_lock(&worker->lock);
  while (!worker->leaving) {
    kx_work *work = worker->current = take(&worker->waiting, 0);
    if (!work) {
      pthread_cond_wait(&worker->wake, &worker->lock);
      continue;
    }
    worker->cancelled = 0;
    pthread_mutex_unlock(&worker->lock);
    run(worker, work);
    pthread_mutex_lock(&worker->lock);
    worker->current = NULL;
    if (worker->cancelled) {
      kx_work_free(work);
    } else {
      append(&worker->ended, work);
      /* A full pipe is readable already. */
      while (write(worker->tell[1], "", 1) < 0 && errno == EINTR) continue;
    }
  }
  pthread_mutex_unlock(&worker->lock);
  destroy(worker);
  return NULL;
}

/* Makes the pipe's ends close-on-exec and never blocking; returns 0 or an errno. */
static int open_pipe(int ends[2]) {
#if defined(__linux__) /* a child that is started between two calls would inherit it */
  if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0) return 0;
  ends[0] = ends[1] = -1;
  return errno;
#else
  int i;

  if (pipe(ends) != 0) {
    ends[0] = ends[1] = -1;
    return errno;
  }
  for (i = 0; i < 2; i++) {
    if (fcntl(ends[i], F_SETFD, FD_CLOEXEC) != 0 || fcntl(ends[i], F_SETFL, O_NONBLOCK) != 0) {
      return errno;
    }
  }
  return 0;
#endif
}

/* Starts the thread, in which no signal of the host is handled; returns 0 or an errno. */
static int start_thread(kx_worker *worker) {
  pthread_t id;
  sigset_t all, before;
  int error;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&id, NULL, thread, worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!error) pthread_detach(id);
  return error;
}

kx_worker *kx_worker_new(void) {
  kx_worker *worker = (kx_worker *)calloc(1, sizeof *worker);
  int error;

  if (!worker) return NULL;
  pthread_mutex_init(&worker->lock, NULL);
  pthread_cond_init(&worker->wake, NULL);
  error = open_pipe(worker->tell);
  if (!error) error = start_thread(worker);
  if (!error) return worker;
  destroy(worker);
  errno = error;
  return NULL;
}

void kx_worker_free(kx_worker *worker) {
  if (!worker) return;
  pthread_mutex_lock(&worker->lock);
  worker->leaving = 1;
  pthread_cond_signal(&worker->wake);
  pthread_mutex_unlock(&worker->lock);
}

void kx_worker_close(kx_worker *worker) {
  if (!worker) return;
  close(worker->tell[0]);
  close(worker->tell[1]);
}

int kx_worker_fd(const kx_worker *worker) { return worker->tell[0]; }

void kx_worker_add(kx_worker *worker, kx_work *work) {
  pthread_mutex_lock(&worker->lock);
  append(&worker->waiting, work);
  pthread_cond_signal(&worker->wake);
  pthread_mutex_unlock(&worker->lock);
}

kx_work *kx_worker_next(kx_worker *worker) {
  char bytes[64];
  kx_work *work;

  pthread_mutex_lock(&worker->lock);
  work = take(&worker->ended, 0);
  if (!worker->ended) {
    while (read(worker->tell[0], bytes, sizeof bytes) > 0) continue;
  }
  pthread_mutex_unlock(&worker->lock);
  return work;
}

void kx_worker_cancel(kx_worker *worker, uint64_t id) {
  kx_work *work;

  pthread_mutex_lock(&worker->lock);
  work = take(&worker->waiting, id);
  if (!work) work = take(&worker->ended, id);
  if (!work) worker->cancelled = 1; /* then it is the current one */
  pthread_mutex_unlock(&worker->lock);
  kx_work_free(work);
}
