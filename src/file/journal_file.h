/* A journal's file: lines appended whole and synced, read at the start, replaced by a shorter one;
   held against other processes by a lock. */
#ifndef KX_LOG_H
#define KX_LOG_H

#include "file/sink.h"

typedef struct kx_log kx_log;

/* Opens or creates the file (0600) and locks it; NULL with errno: EWOULDBLOCK when another process
   holds it. */
kx_log *kx_log_open(const char *path);

/* Unlocks and closes; NULL is fine. */
void kx_log_close(kx_log *log);

/* Reads the whole file into a memory sink; returns 0 or an errno: EFBIG beyond the sink's cap. */
int kx_log_read(const kx_log *log, kx_sink *sink);

/* Returns the file's descriptor, which stays the log's. */
int kx_log_fd(const kx_log *log);

/* Appends bytes, all or none, synced when `sync`; returns 0 or an errno. */
int kx_log_append(kx_log *log, const void *bytes, size_t size, int sync);

/* Puts a new file with these bytes in its place, synced and locked; returns 0, or an errno: then
   the log goes on with whichever file has the name. */
int kx_log_replace(kx_log *log, const void *bytes, size_t size);

#endif
