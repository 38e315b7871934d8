/* Functions for the command that plain Lua does not have: signals, terminals, folders. Hosts never
   call these: a module must not touch its host's signals or descriptors. */
#include "lua/binding.h"

#include "file/buffer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMES_MAX ((size_t)16 * 1024 * 1024) /* bytes of a folder's names that are read */
#define MODE 0700                            /* of a folder that holds journals */

/* The signals that end a command, as `kill -l` names them. */
static const struct {
  int number;
  const char *name;
} endings[] = {{SIGINT, "SIGINT"}, {SIGTERM, "SIGTERM"}, {SIGHUP, "SIGHUP"}, {SIGQUIT, "SIGQUIT"}};

/* Within this time a second signal is the first once more: timeout(1), a terminal and a service
   manager may each signal a process and its group. */
#define SAME_SIGNAL_NS INT64_C(1000000000)

/* The only state of this file: a signal handler has nowhere else to store a signal. */
static volatile sig_atomic_t seen; /* the last signal's number, until core.signal() has told it */
static volatile sig_atomic_t came; /* one did, at `last` */
static struct timespec last;

/* Handles an ending signal, while all of them are blocked. */
static void note(int number) {
  struct timespec now;

  (void)clock_gettime(CLOCK_MONOTONIC, &now);
  if (came && (int64_t)(now.tv_sec - last.tv_sec) * 1000000000 + (now.tv_nsec - last.tv_nsec) <
                  SAME_SIGNAL_NS) {
    return;
  }
  if (seen) { /* nobody has looked since */
    (void)signal(number, SIG_DFL);
    (void)raise(number); /* it comes when this handler returns */
  }
  came = 1;
  last = now;
  seen = number;
}

/* core.watch_signals(): from now on an ending signal is only noted; one that comes a second later
   or more, while the one before was not looked at, ends the process as it always did. What was
   ignored stays ignored (nohup, a shell's background job). A write to a closed pipe becomes an
   error. */
int kx_lua_watch_signals(lua_State *L) {
  struct sigaction action, old;
  size_t i;

  (void)L;
  memset(&action, 0, sizeof action);
  sigemptyset(&action.sa_mask);
  for (i = 0; i < sizeof endings / sizeof *endings; i++) {
    (void)sigaddset(&action.sa_mask, endings[i].number);
  }
  action.sa_handler = note; /* without SA_RESTART: a wait ends when the signal comes */
  for (i = 0; i < sizeof endings / sizeof *endings; i++) {
    if (sigaction(endings[i].number, NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
      (void)sigaction(endings[i].number, &action, NULL);
    }
  }
  action.sa_handler = SIG_IGN;
  action.sa_flags = 0;
  (void)sigaction(SIGPIPE, &action, NULL);
  return 0;
}

/* core.signal() -> the number and name of the ending signal that was noted, which is then
   forgotten; or nothing. */
int kx_lua_signal(lua_State *L) {
  int number = (int)seen;
  size_t i;

  if (!number) return 0;
  seen = 0;
  lua_pushinteger(L, number);
  for (i = 0; i < sizeof endings / sizeof *endings; i++) {
    if (endings[i].number == number) lua_pushstring(L, endings[i].name);
  }
  return 2;
}

/* core.hold_streams(): gives the standard descriptors that the process began without a file on
   which each use fails. Else the next file that is opened, such as a journal, would get standard
   output's number, and the command's words. */
int kx_lua_hold_streams(lua_State *L) {
  int fd;

  (void)L;
  for (fd = 0; fd <= 2; fd++) {
    if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
      (void)open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY); /* the lowest free number: this one */
    }
  }
  return 0;
}

/* core.terminal(descriptor) -> its columns, rows, width and height in pixels (0 where they are not
   told), or nil where it is no terminal. */
int kx_lua_terminal(lua_State *L) {
  int fd = (int)luaL_checknumber(L, 1);
  struct winsize size;

  if (!isatty(fd)) {
    lua_pushnil(L);
    return 1;
  }
  memset(&size, 0, sizeof size);
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) size.ws_col = 80;
  lua_pushinteger(L, size.ws_col);
  lua_pushinteger(L, size.ws_row > 0 ? size.ws_row : 24);
  lua_pushinteger(L, size.ws_xpixel);
  lua_pushinteger(L, size.ws_ypixel);
  return 4;
}

/* core.process() -> the process's number. */
int kx_lua_process(lua_State *L) {
  lua_pushinteger(L, (lua_Integer)getpid());
  return 1;
}

/* core.working_folder() -> its absolute path, or nil, message, code. */
int kx_lua_working_folder(lua_State *L) {
  char path[PATH_MAX];

  if (!getcwd(path, sizeof path)) return kx_lua_failed(L, errno, "the working folder");
  lua_pushstring(L, path);
  return 1;
}

/* core.make_folder(path) -> true, or nil, message, code: a folder that only its owner enters, and
   those above it where they are missing. */
int kx_lua_make_folder(lua_State *L) {
  size_t size, i;
  const char *path = luaL_checklstring(L, 1, &size);
  char part[PATH_MAX];
  struct stat st;
  int error = 0;

  luaL_argcheck(L, strlen(path) == size, 1, "contains a NUL byte");
  if (size == 0 || size >= sizeof part) return kx_lua_failed(L, size ? ENAMETOOLONG : ENOENT, path);
  for (i = 1; i <= size && !error; i++) {
    if (i < size && path[i] != '/') continue;
    memcpy(part, path, i);
    part[i] = 0;
    if (mkdir(part, MODE) != 0 && errno != EEXIST && stat(part, &st) != 0) error = errno;
  }
  if (!error && stat(path, &st) != 0) error = errno;
  if (!error && !S_ISDIR(st.st_mode)) error = ENOTDIR;
  if (!error && access(path, R_OK | W_OK | X_OK) != 0) error = errno;
  if (error) return kx_lua_failed(L, error, path);
  lua_pushboolean(L, 1);
  return 1;
}

/* Adds the names in an open folder, each with the NUL behind it; returns 0 or an errno. */
static int read_names(DIR *folder, kx_buffer *names) {
  const struct dirent *entry;

  while ((errno = 0, entry = readdir(folder))) {
    if (!kx_buffer_add(names, entry->d_name, strlen(entry->d_name) + 1)) return names->error;
  }
  return errno;
}

/* core.sleep(seconds): waits that long, at most a second, or until a signal comes. */
int kx_lua_sleep(lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  struct timespec time = {0, 0};

  if (!(seconds > 0)) return 0;
  time.tv_nsec = seconds < 1 ? (long)(seconds * 1e9) : 999999999L;
  (void)nanosleep(&time, NULL);
  return 0;
}

/* core.list(path) -> the names in a folder, in no order; or nil, message, code. */
int kx_lua_list(lua_State *L) {
  const char *path = luaL_checkstring(L, 1), *name;
  void **guard = kx_lua_guard(L);
  kx_buffer names;
  DIR *folder = opendir(path);
  int error = folder ? 0 : errno, count = 0;
  size_t at;

  memset(&names, 0, sizeof names);
  names.cap = NAMES_MAX;
  if (folder) {
    error = read_names(folder, &names);
    closedir(folder);
  }
  *guard = names.bytes;
  if (error) return kx_lua_failed(L, error, path);
  lua_newtable(L);
  for (at = 0; at < names.size; at += strlen(name) + 1) {
    name = (const char *)names.bytes + at;
    if (!strcmp(name, ".") || !strcmp(name, "..")) continue;
    lua_pushstring(L, name);
    lua_rawseti(L, -2, ++count);
  }
  return 1;
}

/* core.modified(path) -> when the file was written last, in seconds of os.time; or nil, message,
   code. */
int kx_lua_modified(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  struct stat st;

  if (stat(path, &st) != 0) return kx_lua_failed(L, errno, path);
  lua_pushnumber(L, (lua_Number)st.st_mtime);
  return 1;
}
