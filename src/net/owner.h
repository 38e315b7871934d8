/* Which process an object belongs to: a forked child has to leave its parent's connections alone. */
#ifndef KX_OWNER_H
#define KX_OWNER_H

#include <sys/types.h>

typedef struct kx_owner {
  pid_t process;
  unsigned char *page; /* which the kernel clears in a child, or NULL where it does not */
} kx_owner;

/* Makes the calling process the owner. */
void kx_owner_set(kx_owner *owner);

/* Whether another process calls: one that was forked from the owner. */
int kx_owner_is_other(const kx_owner *owner);

void kx_owner_free(kx_owner *owner);

#endif
