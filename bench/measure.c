/* measure COMMAND…: runs it and tells on standard output, behind all that it printed, what it used:
   "wall user sys rss" in seconds and KiB. Ends with its status. */
#include "config.h"

#include <stdio.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double seconds(struct timeval tv) { return (double)tv.tv_sec + (double)tv.tv_usec * 1e-6; }

int main(int argc, char **argv) {
  struct timespec from, to;
  struct rusage used;
  int status;
  pid_t pid;

  if (argc < 2) return 2;
  clock_gettime(CLOCK_MONOTONIC, &from);
  pid = vfork();
  if (pid == 0) {
    execvp(argv[1], argv + 1);
    _exit(127);
  }
  if (pid < 0 || wait4(pid, &status, 0, &used) != pid) return 1;
  clock_gettime(CLOCK_MONOTONIC, &to);
  printf("\n%.6f %.6f %.6f %ld\n",
         (double)(to.tv_sec - from.tv_sec) + (double)(to.tv_nsec - from.tv_nsec) * 1e-9,
         seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
