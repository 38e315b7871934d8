/* A child knows that its parent's engine is not its own, however it was made. */
#include "config.h"

#include "check.h"
#include "net/owner.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

/* Returns what a child says of an owner: 1 that it is another, 0 that it is itself. */
static int child_says(const kx_owner *owner, pid_t child) {
  int status = -1;
  if (child == 0) _exit(kx_owner_is_other(owner) ? 1 : 0);
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 1;
}

int main(void) {
  kx_owner owner, without_page, childs;
  int status = -1;
  pid_t child;

  kx_owner_set(&owner);
  CHECK("the maker is the owner", !kx_owner_is_other(&owner));
  CHECK("a forked child is not", child_says(&owner, fork()));
#ifdef __linux__
  CHECK("nor is one of a raw clone",
        child_says(&owner, (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)));
#endif
  CHECK("the maker still is", !kx_owner_is_other(&owner));

  child = fork();
  if (child == 0) {
    kx_owner_set(&childs);
    _exit(kx_owner_is_other(&childs) || !kx_owner_is_other(&owner));
  }
  CHECK("a child owns what it makes itself",
        waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);

  kx_owner_set(&without_page);
  kx_owner_free(&without_page);
  CHECK("without a page the maker is the owner", !kx_owner_is_other(&without_page));
  CHECK("and a child is not", child_says(&without_page, fork()));

  kx_owner_free(&owner);
  return report();
}
