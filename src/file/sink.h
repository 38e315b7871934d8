/* Where an answer goes: memory with a cap, or a file made whole or not at all. */
#ifndef KX_SINK_H
#define KX_SINK_H

#include "file/digest.h"
#include "file/place.h"
#include "file/source.h"

#include <sys/types.h>

typedef struct kx_sink kx_sink;

/* Returns a sink that keeps at most `cap` bytes in memory, or NULL. */
kx_sink *kx_sink_memory(size_t cap);

/* What a finished file may replace: any file, whose permissions it takes over; or only an empty
   file of kx_place_reserve, so that kx_sink_finish may return EEXIST. */
typedef enum { KX_REPLACE, KX_NO_REPLACE } kx_sink_way;

/* Returns a sink that becomes the file `path` when it is finished, with the permissions `mode`.
   Until then the bytes, `cap` at the most, are in a file of the same folder that has no name, or a
   hidden one where the file system needs names. NULL with errno: ENOTSUP or EISDIR where something
   else than a regular file or a link stands there; EEXIST for KX_NO_REPLACE where a file with bytes
   stands. */
kx_sink *kx_sink_file(const char *path, uint64_t cap, mode_t mode, kx_sink_way way);

/* Checks whether kx_sink_file and kx_sink_finish could put a file at `path`, and leaves nothing
   there; returns 0 or an errno. */
int kx_sink_probe(const char *path, kx_sink_way way);

/* The same for KX_REPLACE at a place that is open already, and stays so. */
kx_sink *kx_sink_place(const kx_place *place, uint64_t cap, mode_t mode);

/* Lets the sink digest what it takes; returns 0, or ENOMEM. */
int kx_sink_digest(kx_sink *sink, kx_digest_kind kind);

/* Takes bytes; returns 0 or an errno: EFBIG beyond the cap. */
int kx_sink_write(kx_sink *sink, const void *bytes, size_t size);

/* Takes all that another sink has; returns 0 or an errno. */
int kx_sink_copy(kx_sink *sink, const kx_sink *from);

/* Forgets all bytes; returns 0 or an errno. */
int kx_sink_restart(kx_sink *sink);

/* Announces how many bytes will come, so that memory need not grow. */
void kx_sink_expect(kx_sink *sink, uint64_t size);

/* Returns how many bytes were taken. */
uint64_t kx_sink_size(const kx_sink *sink);

/* Writes the digest; returns its size, 0 where there is none. */
size_t kx_sink_digest_value(const kx_sink *sink, unsigned char to[KX_DIGEST_MAX]);

/* Makes a source of the bytes taken so far; it is valid as long as the sink. */
void kx_sink_source(const kx_sink *sink, kx_source *source);

/* Returns a descriptor of a file's sink for the caller to close, or -1 with errno. */
int kx_sink_dup(const kx_sink *sink);

/* Puts a file in its place, whole and synced with its directory; returns 0, or an errno: then the
   file that stood there is as it was. Nothing to do for memory. */
int kx_sink_finish(kx_sink *sink);

/* Frees the sink, and drops a file that is not finished. */
void kx_sink_free(kx_sink *sink);

#endif
