/* A preloaded library that lets the n-th call of chosen functions fail, be cut short, hang, or be
   the last thing that the process does. Only calls made by one object count (core.so by default),
   so that neither Lua's nor libc's own are spoiled.

   KX_INJECT=NAMES:N:ACTION   NAMES: functions or groups (file, alloc, net), with commas between
                              N: the n-th of their calls, 0 only counts; N+: it and all after it
                              ACTION: an errno's name, short, kill (before the call), died (after
                              it), torn (half of a write, then dead), hang,
                              swap (before the call, two names for one another)
   KX_INJECT_SWAP=A:B         the names that are swapped
   KX_INJECT_FROM=NAME        part of the calling object's file name
   KX_INJECT_COUNT=PATH       a file whose first 8 bytes count the calls, whatever happens

   kx_inject_anew() reads all that again, counts from 0, and returns what was counted so far. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum action { PASS, FAIL, SHORT, KILL, DIED, TORN, HANG, SWAP };

static struct {
  char names[256];
  const char *from;
  uint64_t nth;
  int onwards, error;
  enum action action;
  uint64_t *count;
  uintptr_t begin, end; /* of the calling object's code */
  int ready;
} plan;

static const struct {
  const char *name;
  int number;
} errors[] = {{"EIO", EIO},       {"ENOSPC", ENOSPC}, {"EINTR", EINTR},   {"ENOMEM", ENOMEM},
              {"EMFILE", EMFILE}, {"EROFS", EROFS},   {"EACCES", EACCES}, {"EAGAIN", EAGAIN},
              {"EDQUOT", EDQUOT}, {"ECONNRESET", ECONNRESET}};

static const struct {
  const char *name;
  enum action action;
} actions[] = {{"short", SHORT}, {"kill", KILL}, {"died", DIED}, {"torn", TORN}, {"hang", HANG},
               {"swap", SWAP}};

static uint64_t own_count;

/* Reads the plan from the environment, once. */
static void read_plan(void) {
  const char *text = getenv("KX_INJECT"), *path = getenv("KX_INJECT_COUNT");
  char *number, *action;
  size_t i;

  plan.ready = 1;
  plan.count = &own_count;
  plan.from = getenv("KX_INJECT_FROM");
  if (!plan.from) plan.from = "core.so";
  if (!text || strlen(text) >= sizeof plan.names - 2) return;
  plan.names[0] = ',';
  strcpy(plan.names + 1, text);
  number = strchr(plan.names, ':');
  if (!number) return;
  *number++ = '\0';
  strcat(plan.names, ",");
  number = strchr(text, ':') + 1;
  plan.nth = strtoull(number, &action, 10);
  plan.onwards = *action == '+';
  action += plan.onwards + 1;
  for (i = 0; i < sizeof errors / sizeof *errors; i++) {
    if (strcmp(action, errors[i].name) != 0) continue;
    plan.action = FAIL;
    plan.error = errors[i].number;
  }
  for (i = 0; i < sizeof actions / sizeof *actions; i++) {
    if (strcmp(action, actions[i].name) == 0) plan.action = actions[i].action;
  }
  if (path) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    void *shared = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, 8) == 0)
      shared = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd >= 0) close(fd);
    if (shared != MAP_FAILED) plan.count = (uint64_t *)shared;
  }
}

__attribute__((constructor)) static void start(void) { read_plan(); }

long kx_inject_anew(void);
long kx_inject_anew(void) {
  long count = (long)own_count;

  memset(&plan, 0, sizeof plan);
  own_count = 0;
  read_plan();
  return count;
}

/* Swaps the two names of KX_INJECT_SWAP. */
static void swap(void) {
  const char *names = getenv("KX_INJECT_SWAP"), *colon = names ? strchr(names, ':') : NULL;
  char first[4096] = "";

  if (!colon || (size_t)(colon - names) >= sizeof first) abort();
  memcpy(first, names, (size_t)(colon - names));
  if (renameat2(AT_FDCWD, first, AT_FDCWD, colon + 1, RENAME_EXCHANGE) != 0) abort();
}

/* Notes where the code of the object that is asked for lies. */
static int find_object(struct dl_phdr_info *info, size_t size, void *data) {
  int i;

  (void)size, (void)data;
  if (!info->dlpi_name || !strstr(info->dlpi_name, plan.from)) return 0;
  for (i = 0; i < info->dlpi_phnum; i++) {
    const ElfW(Phdr) *part = &info->dlpi_phdr[i];
    if (part->p_type != PT_LOAD || !(part->p_flags & PF_X)) continue;
    plan.begin = info->dlpi_addr + part->p_vaddr;
    plan.end = plan.begin + part->p_memsz;
    return 1;
  }
  return 0;
}

/* Returns 1 when `name`, or its group, stands in the plan. */
static int named(const char *group, const char *name) {
  char word[40] = ",";
  strcat(strcat(word, name), ",");
  if (strstr(plan.names, word)) return 1;
  strcat(strcat(strcpy(word, ","), group), ",");
  return strstr(plan.names, word) != NULL;
}

/* Decides what becomes of a call from `caller`. */
static enum action decide(const char *group, const char *name, const void *caller) {
  uint64_t n;

  if (!plan.ready || !plan.names[0] || !named(group, name)) return PASS;
  if (!plan.end) dl_iterate_phdr(find_object, NULL);
  if ((uintptr_t)caller < plan.begin || (uintptr_t)caller >= plan.end) return PASS;
  n = __atomic_add_fetch(plan.count, 1, __ATOMIC_RELAXED);
  if (plan.nth == 0 || (plan.onwards ? n < plan.nth : n != plan.nth)) return PASS;
  if (plan.action == KILL) raise(SIGKILL);
  while (plan.action == HANG) pause();
  if (plan.action == SWAP) swap();
  if (plan.action == FAIL) errno = plan.error;
  return plan.action;
}

/* The real function of that name, looked up once for each place that asks. */
#define REAL(result, name, types)                                                           \
  static result(*real) types;                                                               \
  if (!real) *(void **)&real = dlsym(RTLD_NEXT, #name)

/* A function that either fails with `failed` or is called; then the process may end. */
#define WRAP(group, result, name, types, arguments, failed)                                 \
  result name types {                                                                       \
    enum action act = decide(group, #name, __builtin_return_address(0));                    \
    result value;                                                                           \
    REAL(result, name, types);                                                              \
    if (act == FAIL) return failed;                                                         \
    value = real arguments;                                                                 \
    if (act == DIED || act == TORN) raise(SIGKILL);                                         \
    return value;                                                                           \
  }

WRAP("file", int, fsync, (int fd), (fd), -1)
WRAP("file", int, fdatasync, (int fd), (fd), -1)
WRAP("file", int, rename, (const char *a, const char *b), (a, b), -1)
WRAP("file", int, renameat, (int d, const char *a, int e, const char *b), (d, a, e, b), -1)
WRAP("file", int, unlinkat, (int d, const char *a, int f), (d, a, f), -1)
WRAP("file", int, ftruncate, (int fd, off_t n), (fd, n), -1)
WRAP("file", int, ftruncate64, (int fd, off64_t n), (fd, n), -1)
WRAP("file", int, flock, (int fd, int what), (fd, what), -1)
WRAP("file", int, fstat, (int fd, struct stat *st), (fd, st), -1)
WRAP("file", int, fstat64, (int fd, struct stat64 *st), (fd, st), -1)
WRAP("file", int, fstatat, (int d, const char *p, struct stat *st, int f), (d, p, st, f), -1)
WRAP("file", int, fstatat64, (int d, const char *p, struct stat64 *st, int f), (d, p, st, f), -1)
WRAP("file", off_t, lseek, (int fd, off_t n, int w), (fd, n, w), -1)
WRAP("file", off64_t, lseek64, (int fd, off64_t n, int w), (fd, n, w), -1)
WRAP("net", int, connect, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n), -1)
WRAP("net", int, socket, (int d, int t, int p), (d, t, p), -1)
WRAP("net", int, getaddrinfo,
     (const char *n, const char *s, const struct addrinfo *h, struct addrinfo **r), (n, s, h, r),
     EAI_AGAIN)

/* Files are opened with a mode that only some calls pass: O_TMPFILE holds O_DIRECTORY, which makes
   no file. */
#define makes_file(flags) ((flags) & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)))

#define WRAP_OPEN(name, types, arguments)                                                   \
  int name types {                                                                          \
    enum action act = decide("file", #name, __builtin_return_address(0));                   \
    mode_t mode;                                                                            \
    va_list rest;                                                                           \
    int value;                                                                              \
    *(void **)&real_##name = real_##name ? *(void **)&real_##name : dlsym(RTLD_NEXT, #name); \
    va_start(rest, flags);                                                                  \
    mode = makes_file(flags) ? va_arg(rest, mode_t) : 0;                                    \
    va_end(rest);                                                                           \
    if (act == FAIL) return -1;                                                             \
    value = real_##name arguments;                                                          \
    if (act == DIED || act == TORN) raise(SIGKILL);                                         \
    return value;                                                                           \
  }

static int (*real_open)(const char *, int, ...);
static int (*real_open64)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_openat64)(int, const char *, int, ...);
WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode))
WRAP_OPEN(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))
WRAP_OPEN(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode))

/* What moves bytes may also move half of them. */
#define WRAP_BYTES(group, name, types, arguments)                                           \
  ssize_t name types {                                                                      \
    enum action act = decide(group, #name, __builtin_return_address(0));                    \
    ssize_t value;                                                                          \
    REAL(ssize_t, name, types);                                                             \
    if (act == FAIL) return -1;                                                             \
    if ((act == SHORT || act == TORN) && size > 1) size /= 2;                               \
    value = real arguments;                                                                 \
    if (act == DIED || act == TORN) raise(SIGKILL);                                         \
    return value;                                                                           \
  }

WRAP_BYTES("file", write, (int fd, const void *p, size_t size), (fd, p, size))
WRAP_BYTES("file", pread, (int fd, void *p, size_t size, off_t at), (fd, p, size, at))
WRAP_BYTES("file", pread64, (int fd, void *p, size_t size, off64_t at), (fd, p, size, at))
WRAP_BYTES("net", send, (int fd, const void *p, size_t size, int f), (fd, p, size, f))
WRAP_BYTES("net", recv, (int fd, void *p, size_t size, int f), (fd, p, size, f))

/* glibc's own entries: dlsym allocates, and would call these again. */
extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);

#define FAILS(name) (decide("alloc", #name, __builtin_return_address(0)) == FAIL)

void *malloc(size_t n) { return FAILS(malloc) ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t m) { return FAILS(calloc) ? NULL : __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return FAILS(realloc) ? NULL : __libc_realloc(p, n); }

static char *copy(const char *text, size_t n) {
  char *to = (char *)__libc_malloc(n + 1);
  if (!to) return NULL;
  memcpy(to, text, n);
  to[n] = '\0';
  return to;
}

#undef strdup
#undef strndup
char *strdup(const char *text) { return FAILS(strdup) ? NULL : copy(text, strlen(text)); }
char *strndup(const char *text, size_t n) {
  return FAILS(strndup) ? NULL : copy(text, strnlen(text, n));
}
