/* A journal's file: lines appended whole and synced, read at the start, replaced by a shorter one;
   held against other processes by a lock. */
#ifndef KX_JOURNAL_FILE_H
#define KX_JOURNAL_FILE_H

#include "file/sink.h"

typedef struct kx_journal_file kx_journal_file;

/* Opens the file, or with `create` makes it (0600), and locks it; NULL with errno: EWOULDBLOCK when
   another process holds it, ENOLCK when the file system has no locks. */
kx_journal_file *kx_journal_file_open(const char *path, int create);

/* Unlocks and closes; NULL is fine. */
void kx_journal_file_close(kx_journal_file *log);

/* Reads at most `size` bytes from `offset` on into a memory sink; returns 0 or an errno. */
int kx_journal_file_read(const kx_journal_file *log, uint64_t offset, size_t size, kx_sink *sink);

/* Returns 1 while the name that was opened is still the open file's, and the file has all that was
   appended; 0 when it was removed, renamed, replaced or emptied: another process would
   not find what was appended. */
int kx_journal_file_in_place(kx_journal_file *log);

/* Returns the file's descriptor, which stays the log's. */
int kx_journal_file_fd(const kx_journal_file *log);

/* Appends bytes, all or none, synced when `sync`; returns 0 or an errno. */
int kx_journal_file_append(kx_journal_file *log, const void *bytes, size_t size, int sync);

/* Returns how many bytes the file had after the last append. */
uint64_t kx_journal_file_size(const kx_journal_file *log);

/* Adds bytes to the file that will replace this one, which is begun with the first of them; returns
   0, or an errno: then all of it is gone. */
int kx_journal_file_draft(kx_journal_file *log, const void *bytes, size_t size);

/* Forgets that file. */
void kx_journal_file_drop_draft(kx_journal_file *log);

/* Puts a new file, of the draft's bytes and these, with its owner and permissions in its place,
   synced and locked; `head` is written over its first bytes. Returns 0, or an errno: then the log
   goes on with whichever file has the name. */
int kx_journal_file_replace(kx_journal_file *log, const char *head, size_t head_size,
                            const void *bytes, size_t size);

#endif
