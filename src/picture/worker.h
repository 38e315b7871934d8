/* One thread for work on files that takes longer than a host may wait: pictures that are made to
   fit, digests. It knows neither Lua nor the network. */
#ifndef KX_WORKER_H
#define KX_WORKER_H

#include "file/digest.h"
#include "picture/fit.h"
#include "region/region.h"

typedef enum kx_work_kind { KX_WORK_FIT, KX_WORK_DIGEST, KX_WORK_REGION } kx_work_kind;

/* What a task reads: a file, or bytes. */
typedef struct kx_work_input {
  const char *path; /* NULL: the bytes */
  const void *bytes;
  size_t size;           /* of the bytes */
  const kx_stamp *stamp; /* what the file was when it was checked, or NULL */
} kx_work_input;

/* A task and its result. */
typedef struct kx_work {
  uint64_t id;
  kx_work_kind kind;
  char *path, *bytes;                  /* one of them, the task's own */
  size_t size;                         /* of the bytes */
  kx_stamp stamp;                      /* of the file when it was checked */
  int stamped;                         /* `stamp` is set */
  kx_fit fit;                          /* FIT */
  kx_sink *out;                        /* FIT: the encoded picture; REGION: see there */
  kx_region *region;                   /* REGION: the job and what came of it, the task's own */
  unsigned char digest[KX_DIGEST_MAX]; /* DIGEST: SHA-256 */
  kx_error error;
  struct kx_work *next;
} kx_work;

typedef struct kx_worker kx_worker;

/* Return a task with copies of what it is given, or NULL without memory. */
kx_work *kx_work_fit(uint64_t id, const kx_fit *fit, const kx_work_input *picture);
kx_work *kx_work_digest(uint64_t id, const kx_work_input *file);

/* The same for a job on a region, which becomes the task's, also where there is none. */
kx_work *kx_work_region(uint64_t id, kx_region *region, const kx_work_input *picture);

void kx_work_free(kx_work *work);

/* Returns a worker whose thread runs, or NULL with errno. */
kx_worker *kx_worker_new(void);

/* Returns at once; the thread ends its current task by itself, and then frees the worker. */
void kx_worker_free(kx_worker *worker);

/* In a forked child, where the thread is not: closes the descriptors only. */
void kx_worker_close(kx_worker *worker);

/* Returns the descriptor that is readable when a task has ended. */
int kx_worker_fd(const kx_worker *worker);

/* Queues a task, which becomes the worker's. */
void kx_worker_add(kx_worker *worker, kx_work *work);

/* Returns a task that has ended, for the caller to free, or NULL. */
kx_work *kx_worker_next(kx_worker *worker);

/* Forgets the task of that id, wherever it is. */
void kx_worker_cancel(kx_worker *worker, uint64_t id);

#endif
