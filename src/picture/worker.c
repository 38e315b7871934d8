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

struct kx_worker {
  pthread_mutex_t lock; /* of all below */
  pthread_cond_t wake;
  kx_fit_job *waiting, *ended, *current;
  int cancelled; /* the current task is wanted no more */
  int leaving;   /* the worker is wanted no more: the thread frees it */
  int tell[2];   /* a pipe: the thread writes a byte for each task that has ended */
};

kx_fit_job *kx_fit_job_new(uint64_t id, const kx_fit *fit, const kx_piece *picture) {
  kx_fit_job *task = (kx_fit_job *)calloc(1, sizeof *task);

  if (!task) return NULL;
  task->id = id;
  task->fit = *fit;
  task->size = picture->size;
  task->out = kx_sink_memory(RESULT_MAX);
  task->stamped = picture->stamp != NULL;
  if (task->stamped) task->stamp = *picture->stamp;
  if (picture->kind == KX_PATH) {
    task->path = strdup(picture->text);
  } else {
    task->bytes = (char *)malloc(picture->size + 1);
    if (task->bytes) memcpy(task->bytes, picture->text, picture->size);
  }
  if (task->out && (task->path || task->bytes)) return task;
  kx_fit_job_free(task);
  return NULL;
}

void kx_fit_job_free(kx_fit_job *task) {
  if (!task) return;
  free(task->path);
  free(task->bytes);
  kx_sink_free(task->out);
  free(task);
}

static void free_tasks(kx_fit_job *task) {
  while (task) {
    kx_fit_job *next = task->next;
    kx_fit_job_free(task);
    task = next;
  }
}

static void append(kx_fit_job **list, kx_fit_job *task) {
  while (*list) list = &(*list)->next;
  task->next = NULL;
  *list = task;
}

/* Takes the first task out of the list, or the one of that id; returns it, or NULL. */
static kx_fit_job *take(kx_fit_job **list, uint64_t id) {
  kx_fit_job *task;

  while (*list && id && (*list)->id != id) list = &(*list)->next;
  task = *list;
  if (task) *list = task->next;
  return task;
}

/* Opens the task's picture as it was checked; returns 0 or an errno. */
static int open_picture(const kx_fit_job *task, kx_source *source) {
  int error = 0;

  if (task->path) error = kx_source_open(source, task->path);
  else kx_source_memory(source, task->bytes, task->size);
  if (error || !task->stamped || kx_stamp_equal(&task->stamp, &source->stamp)) return error;
  kx_source_close(source);
  return ESTALE;
}

static void run(kx_fit_job *task) {
  kx_source source;
  int error = open_picture(task, &source);

  if (!error) {
    (void)kx_fit_picture(&task->fit, &source, task->out, &task->error);
    if (kx_source_changed(&source)) error = ESTALE; /* whatever was made of it */
    kx_source_close(&source);
  }
  if (error) kx_error_file(&task->error, error, task->path);
}

static void destroy(kx_worker *worker) {
  free_tasks(worker->waiting);
  free_tasks(worker->ended);
  if (worker->tell[0] >= 0) close(worker->tell[0]);
  if (worker->tell[1] >= 0) close(worker->tell[1]);
  pthread_cond_destroy(&worker->wake);
  pthread_mutex_destroy(&worker->lock);
  free(worker);
}

/* The thread. */
static void *work(void *data) {
  kx_worker *worker = (kx_worker *)data;

  pthread_mutex_lock(&worker->lock);
  while (!worker->leaving) {
    kx_fit_job *task = worker->current = take(&worker->waiting, 0);
    if (!task) {
      pthread_cond_wait(&worker->wake, &worker->lock);
      continue;
    }
    worker->cancelled = 0;
    pthread_mutex_unlock(&worker->lock);
    run(task);
    pthread_mutex_lock(&worker->lock);
    worker->current = NULL;
    if (worker->cancelled) {
      kx_fit_job_free(task);
    } else {
      append(&worker->ended, task);
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
  pthread_t thread;
  sigset_t all, before;
  int error;

  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  error = pthread_create(&thread, NULL, work, worker);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (!error) pthread_detach(thread);
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

void kx_worker_add(kx_worker *worker, kx_fit_job *task) {
  pthread_mutex_lock(&worker->lock);
  append(&worker->waiting, task);
  pthread_cond_signal(&worker->wake);
  pthread_mutex_unlock(&worker->lock);
}

kx_fit_job *kx_worker_next(kx_worker *worker) {
  char bytes[64];
  kx_fit_job *task;

  pthread_mutex_lock(&worker->lock);
  task = take(&worker->ended, 0);
  if (!worker->ended) {
    while (read(worker->tell[0], bytes, sizeof bytes) > 0) continue;
  }
  pthread_mutex_unlock(&worker->lock);
  return task;
}

void kx_worker_cancel(kx_worker *worker, uint64_t id) {
  kx_fit_job *task;

  pthread_mutex_lock(&worker->lock);
  task = take(&worker->waiting, id);
  if (!task) task = take(&worker->ended, id);
  if (!task) worker->cancelled = 1; /* then it is the current one */
  pthread_mutex_unlock(&worker->lock);
  kx_fit_job_free(task);
}
