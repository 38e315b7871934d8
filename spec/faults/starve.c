/* Linked into core.so with the linker's --wrap, so that exactly what our own objects call may fail:
   the n-th allocation, or it and all after it. Besides malloc's family these are the calls into
   other libraries that fail when those find no memory. Counts what is held, too. Or else the n-th
   system call fails, or moves half of its bytes.

   luaopen_kontext_starve → {begin(n, onwards, errno's name or "short", of system calls),
   stop() → calls, failed; failures() → so far; held() → blocks} */
#include "config.h"

#include "lua/compat.h"

#include <curl/curl.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <zlib.h>

KX_EXPORT int luaopen_kontext_starve(lua_State *L);

static long calls, failed, held; /* by every thread: only touched atomically */
static long fail_at, last;       /* the failing calls' numbers; fail_at is 0 for none */
static int system_error;         /* 0: it is allocations that fail; -1: half of the bytes */

/* Counts a call of that kind; returns 1, with errno, where it is to fail. */
static int fails_as(int of_system) {
  long first = __atomic_load_n(&fail_at, __ATOMIC_SEQ_CST), n;

  if (!first || of_system != (system_error != 0)) return 0;
  n = __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST);
  if (n < first || n > __atomic_load_n(&last, __ATOMIC_SEQ_CST)) return 0;
  __atomic_add_fetch(&failed, 1, __ATOMIC_SEQ_CST);
  errno = of_system ? system_error : ENOMEM;
  return 1;
}

static int fails(void) { return fails_as(0); }

static void *took(void *block) {
  if (block) __atomic_add_fetch(&held, 1, __ATOMIC_SEQ_CST);
  return block;
}

static void gave(const void *block) {
  if (block) __atomic_sub_fetch(&held, 1, __ATOMIC_SEQ_CST);
}

#define DECLARE(result, name, types) \
  result __real_##name types;        \
  result __wrap_##name types

/* A call that returns `value` when it fails. */
#define MAY_FAIL(result, name, types, arguments, value)       \
  DECLARE(result, name, types);                               \
  result __wrap_##name types {                                \
    return fails() ? (value) : __real_##name arguments;       \
  }

/* A call that makes something, and the one that frees it. */
#define MAKES(type, name, types, arguments)                                 \
  DECLARE(type *, name, types);                                             \
  type *__wrap_##name types {                                               \
    return fails() ? NULL : (type *)took(__real_##name arguments);          \
  }

#define FREES(type, name)               \
  DECLARE(void, name, (type * one));    \
  void __wrap_##name(type *one) {       \
    gave(one);                          \
    __real_##name(one);                 \
  }

MAKES(void, malloc, (size_t n), (n))
MAKES(void, calloc, (size_t n, size_t m), (n, m))
MAKES(char, strdup, (const char *text), (text))
MAKES(char, strndup, (const char *text, size_t n), (text, n))
FREES(void, free)

DECLARE(void *, realloc, (void *block, size_t n));
void *__wrap_realloc(void *block, size_t n) {
  void *moved = fails() ? NULL : __real_realloc(block, n);
  if (moved && !block) took(moved);
  return moved;
}

MAKES(CURL, curl_easy_init, (void), ())
FREES(CURL, curl_easy_cleanup)
MAKES(CURLM, curl_multi_init, (void), ())
MAKES(CURLU, curl_url, (void), ())
FREES(CURLU, curl_url_cleanup)
MAKES(DIR, opendir, (const char *path), (path))
MAKES(DIR, fdopendir, (int fd), (fd))
MAKES(char, realpath, (const char *path, char *resolved), (path, resolved))

DECLARE(CURLMcode, curl_multi_cleanup, (CURLM *multi));
CURLMcode __wrap_curl_multi_cleanup(CURLM *multi) {
  gave(multi);
  return __real_curl_multi_cleanup(multi);
}

DECLARE(int, closedir, (DIR *directory));
int __wrap_closedir(DIR *directory) {
  gave(directory);
  return __real_closedir(directory);
}

MAY_FAIL(struct curl_slist *, curl_slist_append, (struct curl_slist *l, const char *t), (l, t),
         NULL)
MAY_FAIL(CURLMcode, curl_multi_add_handle, (CURLM *m, CURL *e), (m, e), CURLM_OUT_OF_MEMORY)
MAY_FAIL(CURLUcode, curl_url_set, (CURLU *u, CURLUPart p, const char *t, unsigned f), (u, p, t, f),
         CURLUE_OUT_OF_MEMORY)
MAY_FAIL(CURLUcode, curl_url_get, (CURLU *u, CURLUPart p, char **t, unsigned f), (u, p, t, f),
         CURLUE_OUT_OF_MEMORY)
MAY_FAIL(unsigned char *, HMAC, (const EVP_MD *m, const void *k, int ks, const unsigned char *d,
         size_t n, unsigned char *to, unsigned *size), (m, k, ks, d, n, to, size), NULL)
MAY_FAIL(int, deflateInit_, (z_stream *z, int level, const char *version, int size),
         (z, level, version, size), Z_MEM_ERROR)
MAY_FAIL(int, inflateInit_, (z_stream *z, const char *version, int size), (z, version, size),
         Z_MEM_ERROR)
MAY_FAIL(int, pthread_create, (pthread_t *t, const pthread_attr_t *a, void *(*f)(void *), void *d),
         (t, a, f, d), EAGAIN)

/* What is set is a long, an offset or a pointer: one register each, where this runs. */
#undef curl_easy_setopt
#undef curl_multi_setopt
DECLARE(CURLcode, curl_easy_setopt, (CURL * easy, CURLoption option, ...));
CURLcode __wrap_curl_easy_setopt(CURL *easy, CURLoption option, ...) {
  va_list rest;
  void *value;
  va_start(rest, option);
  value = va_arg(rest, void *);
  va_end(rest);
  return fails() ? CURLE_OUT_OF_MEMORY : __real_curl_easy_setopt(easy, option, value);
}

DECLARE(CURLMcode, curl_multi_setopt, (CURLM * multi, CURLMoption option, ...));
CURLMcode __wrap_curl_multi_setopt(CURLM *multi, CURLMoption option, ...) {
  va_list rest;
  void *value;
  va_start(rest, option);
  value = va_arg(rest, void *);
  va_end(rest);
  return fails() ? CURLM_OUT_OF_MEMORY : __real_curl_multi_setopt(multi, option, value);
}

/* A system call; "short" is none that fails. */
#define SYSTEM(result, name, types, arguments)                                             \
  DECLARE(result, name, types);                                                            \
  result __wrap_##name types {                                                             \
    return system_error >= 0 && fails_as(1) ? (result)-1 : __real_##name arguments;        \
  }

int __real_fstat64(int fd, struct stat *to);

/* Returns 1 for a file: a pipe of ours neither breaks nor takes half of a byte. */
static int is_file(int fd) {
  struct stat st;
  return __real_fstat64(fd, &st) == 0 && S_ISREG(st.st_mode);
}

/* One that moves bytes. */
#define MOVES(name, types, arguments)                         \
  DECLARE(ssize_t, name, types);                              \
  ssize_t __wrap_##name types {                               \
    if (is_file(fd) && fails_as(1)) {                         \
      if (system_error >= 0) return -1;                       \
      if (size > 1) size /= 2;                                \
    }                                                         \
    return __real_##name arguments;                           \
  }

/* One with an argument that not all calls have. */
#define MAY_TAKE(name, types, named, arguments)                              \
  DECLARE(int, name, types);                                                 \
  int __wrap_##name types {                                                  \
    va_list rest;                                                            \
    long more;                                                               \
    va_start(rest, named);                                                   \
    more = va_arg(rest, long);                                               \
    va_end(rest);                                                            \
    return system_error >= 0 && fails_as(1) ? -1 : __real_##name arguments;  \
  }

MAY_TAKE(open64, (const char *path, int flags, ...), flags, (path, flags, more))
MAY_TAKE(openat64, (int at, const char *path, int flags, ...), flags, (at, path, flags, more))
MAY_TAKE(fcntl64, (int fd, int what, ...), what, (fd, what, more))
MOVES(write, (int fd, const void *p, size_t size), (fd, p, size))
MOVES(pread64, (int fd, void *p, size_t size, off_t at), (fd, p, size, at))
SYSTEM(int, fstat64, (int fd, struct stat *to), (fd, to))
SYSTEM(int, fstatat64, (int at, const char *p, struct stat *to, int f), (at, p, to, f))
SYSTEM(int, flock, (int fd, int what), (fd, what))
SYSTEM(int, fsync, (int fd), (fd))
SYSTEM(int, ftruncate64, (int fd, off_t size), (fd, size))
SYSTEM(off_t, lseek64, (int fd, off_t to, int from), (fd, to, from))
SYSTEM(int, renameat, (int a, const char *p, int b, const char *q), (a, p, b, q))
SYSTEM(int, renameat2, (int a, const char *p, int b, const char *q, unsigned how),
       (a, p, b, q, how))
SYSTEM(int, linkat, (int a, const char *p, int b, const char *q, int how), (a, p, b, q, how))
SYSTEM(int, pipe2, (int ends[2], int flags), (ends, flags))
SYSTEM(int, epoll_create1, (int flags), (flags))
SYSTEM(int, epoll_ctl, (int e, int what, int fd, struct epoll_event *event), (e, what, fd, event))
SYSTEM(int, timerfd_create, (int clock, int flags), (clock, flags))
SYSTEM(int, socket, (int family, int type, int protocol), (family, type, protocol))
SYSTEM(int, bind, (int fd, const struct sockaddr *a, socklen_t n), (fd, a, n))
SYSTEM(int, listen, (int fd, int backlog), (fd, backlog))
SYSTEM(int, getsockname, (int fd, struct sockaddr *a, socklen_t *n), (fd, a, n))

static int begin(lua_State *L) {
  static const struct {
    const char *name;
    int number;
  } errors[] = {{"EIO", EIO}, {"EINTR", EINTR}, {"EMFILE", EMFILE}, {"short", -1}};
  const char *error = luaL_optstring(L, 3, "");
  long n = (long)luaL_checknumber(L, 1);
  size_t i;

  system_error = 0;
  for (i = 0; i < sizeof errors / sizeof *errors; i++) {
    if (!strcmp(error, errors[i].name)) system_error = errors[i].number;
  }

  __atomic_store_n(&calls, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&failed, 0, __ATOMIC_SEQ_CST);
  __atomic_store_n(&last, lua_toboolean(L, 2) ? LONG_MAX : n, __ATOMIC_SEQ_CST);
  __atomic_store_n(&fail_at, n, __ATOMIC_SEQ_CST);
  return 0;
}

static int stop(lua_State *L) {
  __atomic_store_n(&fail_at, 0, __ATOMIC_SEQ_CST);
  lua_pushinteger(L, (lua_Integer)__atomic_load_n(&calls, __ATOMIC_SEQ_CST));
  lua_pushinteger(L, (lua_Integer)__atomic_load_n(&failed, __ATOMIC_SEQ_CST));
  return 2;
}

static int count_failures(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)__atomic_load_n(&failed, __ATOMIC_SEQ_CST));
  return 1;
}

static int count_held(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)__atomic_load_n(&held, __ATOMIC_SEQ_CST));
  return 1;
}

int luaopen_kontext_starve(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"begin", begin}, {"stop", stop}, {"failures", count_failures}, {"held", count_held},
      {NULL, NULL}};

  luaL_newlib(L, functions);
  return 1;
}
