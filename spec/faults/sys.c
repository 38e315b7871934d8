/* What the campaigns need of the system and Lua does not give: processes with a pipe to talk
   through, a reset in place of an orderly close, small receive buffers, file descriptors
   counted. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

int luaopen_faults_sys(lua_State *L);

/* Pushes nil, the errno's sentence and its number. */
static int failure(lua_State *L) {
  int error = errno;
  lua_pushnil(L);
  lua_pushstring(L, strerror(error));
  lua_pushinteger(L, error);
  return 3;
}

/* Turns the sequence at `index` into a NULL-ended vector on Lua's stack, which keeps it alive. */
static char **vector(lua_State *L, int index) {
  size_t i, n = (size_t)lua_rawlen(L, index);
  char **v = (char **)lua_newuserdata(L, (n + 1) * sizeof *v);

  for (i = 0; i < n; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    v[i] = (char *)(size_t)luaL_checkstring(L, -1);
    lua_pop(L, 1);
  }
  v[n] = NULL;
  return v;
}

/* Lowers one limit of this process when the table at index 3 names it. */
static void lower(lua_State *L, const char *name, int resource) {
  lua_getfield(L, 3, name);
  if (lua_isnumber(L, -1)) {
    struct rlimit limit;
    limit.rlim_cur = limit.rlim_max = (rlim_t)lua_tonumber(L, -1);
    setrlimit((__rlimit_resource_t)resource, &limit);
  }
  lua_pop(L, 1);
}

/* spawn(argv, {"NAME=value", …} or nil, {nofile=, fsize=, stderr=path}) → pid, fd. The child's
   standard input and output are the other end of `fd`. */
static int spawn(lua_State *L) {
  int ends[2];
  char **argv, **env = NULL;
  const char *errors;
  pid_t pid;

  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 3);
  if (lua_isnil(L, 3)) {
    lua_newtable(L);
    lua_replace(L, 3);
  }
  argv = vector(L, 1);
  if (!lua_isnil(L, 2)) env = vector(L, 2);
  lua_getfield(L, 3, "stderr");
  errors = lua_tostring(L, -1);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) return failure(L);
  pid = fork();
  if (pid < 0) return failure(L);
  if (pid == 0) {
    if (errors) {
      int fd = open(errors, O_WRONLY | O_CREAT | O_APPEND, 0600);
      if (fd >= 0) dup2(fd, 2);
      if (fd > 2) close(fd);
    }
    dup2(ends[1], 0);
    dup2(ends[1], 1);
    for (; env && *env; env++) putenv(*env);
    lower(L, "nofile", RLIMIT_NOFILE);
    lower(L, "fsize", RLIMIT_FSIZE);
    execvp(argv[0], argv);
    _exit(127);
  }
  close(ends[1]);
  lua_pushinteger(L, pid);
  lua_pushinteger(L, ends[0]);
  return 2;
}

/* kill(pid, signal) → true, or nil and why */
static int send_signal(lua_State *L) {
  if (kill((pid_t)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)) != 0) return failure(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* wait(pid, nohang) → "exit" or "signal" and its number; nil while the child runs */
static int wait_child(lua_State *L) {
  int status;
  pid_t pid = (pid_t)luaL_checkinteger(L, 1);
  pid_t got;

  do got = waitpid(pid, &status, lua_toboolean(L, 2) ? WNOHANG : 0);
  while (got < 0 && errno == EINTR);
  if (got < 0) return failure(L);
  if (got == 0) return 0;
  lua_pushstring(L, WIFSIGNALED(status) ? "signal" : "exit");
  lua_pushinteger(L, WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
  return 2;
}

/* linger(fd): the next close sends RST */
static int linger(lua_State *L) {
  struct linger now = {1, 0};
  if (setsockopt((int)luaL_checkinteger(L, 1), SOL_SOCKET, SO_LINGER, &now, sizeof now) != 0)
    return failure(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* receive_buffer(fd, bytes): set on a listener, its connections inherit it */
static int receive_buffer(lua_State *L) {
  int size = (int)luaL_checkinteger(L, 2);
  if (setsockopt((int)luaL_checkinteger(L, 1), SOL_SOCKET, SO_RCVBUF, &size, sizeof size) != 0)
    return failure(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* listen(fd, backlog): changes how many connections may wait; 0 and no accept make a black hole */
static int set_backlog(lua_State *L) {
  if (listen((int)luaL_checkinteger(L, 1), (int)luaL_checkinteger(L, 2)) != 0) return failure(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* unsent(fd) → bytes that the peer has not acknowledged */
static int unsent(lua_State *L) {
  int bytes = 0;
  if (ioctl((int)luaL_checkinteger(L, 1), TIOCOUTQ, &bytes) != 0) return failure(L);
  lua_pushinteger(L, bytes);
  return 1;
}

/* list(path) → names in a directory, without "." and ".." */
static int list(lua_State *L) {
  DIR *directory = opendir(luaL_checkstring(L, 1));
  struct dirent *entry;
  lua_Integer n = 0;

  if (!directory) return failure(L);
  lua_newtable(L);
  while ((entry = readdir(directory)) != NULL) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    lua_pushstring(L, entry->d_name);
    lua_rawseti(L, -2, ++n);
  }
  closedir(directory);
  return 1;
}

/* mkdtemp(prefix) → path of a new directory, mode 0700 */
static int temporary(lua_State *L) {
  char path[512];
  size_t n;
  const char *prefix = luaL_checklstring(L, 1, &n);

  luaL_argcheck(L, n + 7 < sizeof path, 1, "too long");
  memcpy(path, prefix, n);
  memcpy(path + n, "XXXXXX", 7);
  if (!mkdtemp(path)) return failure(L);
  lua_pushstring(L, path);
  return 1;
}

/* stat(path) → {mode, size, kind, inode} of what is there, symbolic links not followed */
static int status(lua_State *L) {
  struct stat st;
  if (lstat(luaL_checkstring(L, 1), &st) != 0) return failure(L);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, st.st_mode & 07777);
  lua_setfield(L, -2, "mode");
  lua_pushinteger(L, (lua_Integer)st.st_size);
  lua_setfield(L, -2, "size");
  lua_pushinteger(L, (lua_Integer)st.st_ino);
  lua_setfield(L, -2, "inode");
  lua_pushstring(L, S_ISREG(st.st_mode)   ? "file"
                    : S_ISDIR(st.st_mode) ? "directory"
                    : S_ISLNK(st.st_mode) ? "link"
                                          : "other");
  lua_setfield(L, -2, "kind");
  return 1;
}

/* exchange(a, b): each gets the other's name, at once; true, or nil and why */
static int exchange(lua_State *L) {
  const char *a = luaL_checkstring(L, 1), *b = luaL_checkstring(L, 2);

  if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) != 0) return failure(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* link(from, to): one more name for what `from` is, be it a link; true, or nil and why */
static int hard_link(lua_State *L) {
  if (link(luaL_checkstring(L, 1), luaL_checkstring(L, 2)) != 0) return failure(L);
  lua_pushboolean(L, 1);
  return 1;
}

/* inject(plan, "a:b") → calls so far: what inject.c, which is preloaded, is to do from now on */
static int inject(lua_State *L) {
  long (*anew)(void);

  *(void **)&anew = dlsym(RTLD_DEFAULT, "kx_inject_anew");
  if (!anew) return luaL_error(L, "inject.so is not preloaded");
  setenv("KX_INJECT", luaL_checkstring(L, 1), 1);
  setenv("KX_INJECT_SWAP", luaL_optstring(L, 2, ""), 1);
  lua_pushinteger(L, anew());
  return 1;
}

/* now() → seconds of the monotonic clock */
static int now(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (lua_Number)t.tv_sec + (lua_Number)t.tv_nsec * 1e-9);
  return 1;
}

/* sleep(seconds): blocks the process */
static int sleep_for(lua_State *L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  struct timespec t;
  t.tv_sec = (time_t)seconds;
  t.tv_nsec = (long)((seconds - (lua_Number)t.tv_sec) * 1e9);
  while (nanosleep(&t, &t) != 0 && errno == EINTR) {
  }
  return 0;
}

/* fork() → pid, 0 in the child; exit(code) leaves it with nothing run that C or Lua left to do */
static int fork_here(lua_State *L) {
  pid_t pid = fork();
  if (pid < 0) return failure(L);
  lua_pushinteger(L, pid);
  return 1;
}

static int exit_now(lua_State *L) {
  _exit((int)luaL_checkinteger(L, 1));
  return 0;
}

/* pid() → this process's id */
static int own_pid(lua_State *L) {
  lua_pushinteger(L, getpid());
  return 1;
}

int luaopen_faults_sys(lua_State *L) {
  static const luaL_Reg functions[] = {{"spawn", spawn},
                                       {"kill", send_signal},
                                       {"wait", wait_child},
                                       {"linger", linger},
                                       {"receive_buffer", receive_buffer},
                                       {"listen", set_backlog},
                                       {"unsent", unsent},
                                       {"list", list},
                                       {"mkdtemp", temporary},
                                       {"stat", status},
                                       {"now", now},
                                       {"sleep", sleep_for},
                                       {"fork", fork_here},
                                       {"exit", exit_now},
                                       {"pid", own_pid},
                                       {"exchange", exchange},
                                       {"link", hard_link},
                                       {"inject", inject},
                                       {NULL, NULL}};
  const luaL_Reg *f;

  lua_newtable(L);
  for (f = functions; f->name; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
  return 1;
}
