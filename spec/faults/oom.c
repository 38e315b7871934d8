/* Runs one scenario again and again in fresh Lua states whose allocator fails at the n-th call and
   all after it, for every n (failing once proves nothing: Lua 5.4 collects and tries again).

   oom SCRIPT FIRST STRIDE ARGUMENT…   prints "tried=… masked=… bad=… leaked=… fds=… sources=…":
                                      sources are descriptors of Lua files, which Lua opens

   The script gets n and the arguments, and returns two functions: the scenario, which alone
   suffers and returns true when all went well, and what is to be done when memory is there
   again. */
#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#define WARM 8

typedef enum { TOLD, MASKED, BEYOND, BAD } verdict;

typedef struct memory {
  lua_Alloc real;
  void *data;
  long calls, fail_at; /* 0: never */
} memory;

static void *allocate(void *data, void *block, size_t old, size_t size) {
  memory *m = (memory *)data;

  if (!block) old = 0; /* 5.2 and later tell the kind of object here */
  if (size > old && m->fail_at && ++m->calls >= m->fail_at) return NULL;
  return m->real(m->data, block, old, size);
}

/* Counts the open descriptors: those of Lua's sources, and all others. */
static int open_files(int *sources) {
  DIR *directory = opendir("/proc/self/fd");
  struct dirent *entry;
  char name[4096];
  int n = 0;

  *sources = 0;
  while (directory && (entry = readdir(directory))) {
    ssize_t size = readlinkat(dirfd(directory), entry->d_name, name, sizeof name);
    int source = size > 4 && !memcmp(name + size - 4, ".lua", 4);
    *sources += source;
    n += !source;
  }
  if (directory) closedir(directory);
  return n;
}

/* Runs the script; leaves the scenario and what comes after it on the stack, or a message. */
static int prepare(lua_State *L, long n, char **argv) {
  int i;

  luaL_openlibs(L);
  if (luaL_loadfile(L, argv[1])) return -1;
  lua_pushinteger(L, (lua_Integer)n);
  for (i = 4; argv[i]; i++) lua_pushstring(L, argv[i]);
  return lua_pcall(L, i - 3, 2, 0) ? -1 : 0;
}

/* Runs the scenario once, with the n-th allocation failing. */
static verdict once(long n, char **argv) {
  memory m = {NULL, NULL, 0, 0};
  lua_State *L = luaL_newstate();
  verdict v = BAD;

  if (!L) return BAD;
  m.real = lua_getallocf(L, &m.data);
  lua_setallocf(L, allocate, &m);
  if (prepare(L, n, argv) == 0) {
    int well;
    lua_pushvalue(L, 1);
    m.fail_at = n;
    well = lua_pcall(L, 0, 1, 0) == 0 && lua_toboolean(L, -1);
    m.fail_at = 0;
    v = m.calls >= n ? (well ? MASKED : TOLD) : well ? BEYOND : BAD;
    if (v == BAD) fprintf(stderr, "with all its memory: %s\n", lua_tostring(L, -1));
    lua_settop(L, 2);
    if (lua_pcall(L, 0, 0, 0) != 0) {
      fprintf(stderr, "n=%ld: afterwards: %s\n", n, lua_tostring(L, -1));
      v = BAD;
    }
  } else {
    fprintf(stderr, "%s\n", lua_tostring(L, -1));
  }
  lua_close(L);
  return v;
}

int main(int argc, char **argv) {
  long n, stride, counts[4] = {0, 0, 0, 0};
  size_t held;
  int files, sources, more;
  verdict v = TOLD;

  if (argc < 4) return 2;
  stride = atol(argv[3]);
  for (n = 1; n < 4; n++) once(1000000000, argv); /* what is made once for the process */
  files = open_files(&sources);
  held = mallinfo2().uordblks;
  for (n = atol(argv[2]); v != BEYOND && counts[BAD] < 5; n += stride) {
    counts[v = once(n, argv)]++;
    /* What a failure fills once, such as a cache, is no leak: it does not grow with the tries. */
    if (counts[TOLD] == WARM) held = mallinfo2().uordblks;
  }
  usleep(200000); /* a thread that warms TLS up may be reading a file */
  files = open_files(&more) - files;
  printf("tried=%ld masked=%ld bad=%ld leaked=%ld fds=%d sources=%d\n",
         counts[TOLD] + counts[MASKED], counts[MASKED], counts[BAD],
         (long)(mallinfo2().uordblks - held), files, more - sources);
  return counts[BAD] ? 1 : 0;
}
