/* One thread that makes pictures fit, apart from everything else: it knows neither Lua nor curl. */
#ifndef KX_WORKER_H
#define KX_WORKER_H

#include "net/body.h"
#include "picture/fit.h"

/* A picture to be fitted, and what came of it. */
typedef struct kx_fit_job {
  uint64_t id;
  kx_fit fit;
  char *path, *bytes; /* one of them, the task's own */
  size_t size;        /* of the bytes */
  kx_stamp stamp;     /* of the file when it was checked */
  int stamped;        /* it was */
  kx_sink *out;
  kx_error error;
  struct kx_fit_job *next;
} kx_fit_job;

typedef struct kx_worker kx_worker;

/* Returns a task with copies of what it is given, or NULL. */
kx_fit_job *kx_fit_job_new(uint64_t id, const kx_fit *fit, const kx_piece *picture);

void kx_fit_job_free(kx_fit_job *task);

/* Returns a worker whose thread runs, or NULL with errno. */
kx_worker *kx_worker_new(void);

/* Returns at once; what the thread is at it ends by itself, and then the worker is gone. */
void kx_worker_free(kx_worker *worker);

/* In a forked child, where the thread is not: closes the descriptors only. */
void kx_worker_close(kx_worker *worker);

/* Returns the descriptor that is readable when a task has ended. */
int kx_worker_fd(const kx_worker *worker);

/* Queues a task, which becomes the worker's. */
void kx_worker_add(kx_worker *worker, kx_fit_job *task);

/* Returns a task that has ended, for the caller to free, or NULL. */
kx_fit_job *kx_worker_next(kx_worker *worker);

/* Forgets the task of that id, wherever it is. */
void kx_worker_cancel(kx_worker *worker, uint64_t id);

#endif
