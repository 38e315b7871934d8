/* All transfers of one client: curl's multi handle, one descriptor, ids, deadlines. Knows no jobs
   and no Lua. */
#ifndef KX_ENGINE_H
#define KX_ENGINE_H

#include "net/transfer.h"
#include "picture/worker.h"

typedef struct kx_engine kx_engine;

/* Returns an engine with copies of the strings of `settings`, or NULL with errno. */
kx_engine *kx_engine_new(const kx_settings *settings);

/* Ends all transfers at once without waiting; in a forked child it only closes descriptors. */
void kx_engine_free(kx_engine *engine);

/* Returns 1 in a process that was forked from the engine's: nothing but kx_engine_free may follow.
   */
int kx_engine_forked(const kx_engine *engine);

/* Returns the id that the next request will have. */
uint64_t kx_engine_next_id(const kx_engine *engine);

/* Queues a request whose body and sink become the engine's; returns its id, or 0 without memory.
   With `hold` the ended transfer stays until it is cancelled: its sink can be taken or gone on
   with. */
uint64_t kx_engine_start(kx_engine *engine, const kx_request *request, int hold);

/* Queue a task for the worker, on a file or on bytes that are copied: a picture to be made to fit,
   a SHA-256. It ends like a transfer, whose `work` has the result. Return the id, or 0 with errno.
   */
uint64_t kx_engine_fit(kx_engine *engine, const kx_fit *fit, const kx_work_input *picture);
uint64_t kx_engine_digest(kx_engine *engine, const kx_work_input *file);

/* The same for a job on a region, which becomes the engine's, also on failure. */
uint64_t kx_engine_region(kx_engine *engine, kx_region *region, const kx_work_input *picture);

/* Returns a held transfer that has ended, or NULL. */
kx_transfer *kx_engine_held(kx_engine *engine, uint64_t id);

/* Takes the sink out of a held transfer and forgets the transfer; NULL when there is none. */
kx_sink *kx_engine_take(kx_engine *engine, uint64_t id);

/* Ends a transfer in any state, silently and at once. */
void kx_engine_cancel(kx_engine *engine, uint64_t id);

/* Does what is due, for about `budget` nanoseconds; what is left keeps the descriptor readable. */
void kx_engine_step(kx_engine *engine, int64_t budget);

/* Reads what already lies in the sockets, for about `budget` nanoseconds at most: begins nothing,
   waits for nothing, ends nothing for being late. Before a cancel it finds the answer that has
   come. */
void kx_engine_settle(kx_engine *engine, int64_t budget);

/* Returns the next transfer that has ended and was not dropped yet, or NULL. */
kx_transfer *kx_engine_ended(kx_engine *engine);

/* Ends the report of what kx_engine_ended returned: frees it, or holds it. */
void kx_engine_drop_ended(kx_engine *engine);

/* Returns the transfers under way, as a list. */
kx_transfer *kx_engine_active(kx_engine *engine);

/* Makes the descriptor readable at `when` for the host's own reasons; KX_NEVER for none. */
void kx_engine_alarm(kx_engine *engine, int64_t when);

/* Returns when a step is due at the latest, or KX_NEVER. */
int64_t kx_engine_due(const kx_engine *engine);

/* Returns the descriptor to watch for reading, or -1 where the host has to tick. */
int kx_engine_fd(kx_engine *engine);

/* Blocks until something is to be done or `when` has come. */
void kx_engine_wait(kx_engine *engine, int64_t when);

#endif
