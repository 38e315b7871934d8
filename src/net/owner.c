#include "config.h"

#include "net/owner.h"

#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE 1 /* of the page: the kernel rounds up */

/* A page that each fork clears is checked without a system call, and an edit checks 22 times. It
   detects a raw clone too, which pthread_atfork does not. */
void kx_owner_set(kx_owner *owner) {
  owner->process = getpid();
  owner->page = NULL;
#if defined(MADV_WIPEONFORK) && defined(MAP_ANONYMOUS)
  void *page = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (madvise(page, SIZE, MADV_WIPEONFORK) != 0) {
    (void)munmap(page, SIZE);
    return;
  }
  owner->page = (unsigned char *)page;
  *owner->page = 1;
#endif
}

int kx_owner_is_other(const kx_owner *owner) {
  return owner->page ? *owner->page == 0 : owner->process != getpid();
}

void kx_owner_free(kx_owner *owner) {
  if (owner->page) (void)munmap(owner->page, SIZE);
  owner->page = NULL;
}
