/* Runs a Lua script in several threads at once, each with a Lua state of its own: for
   ThreadSanitizer. Usage: threads COUNT SCRIPT [ARGUMENT …]; exits with how many failed. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 16

static int arguments;
static char **argument;

static void *run(void *unused) {
  lua_State *L = luaL_newstate();
  int i, failed = 1;

  (void)unused;
  if (!L) return L;
  luaL_openlibs(L);
  if (luaL_loadfile(L, argument[0]) == 0) {
    for (i = 1; i < arguments; i++) lua_pushstring(L, argument[i]);
    failed = lua_pcall(L, arguments - 1, 0, 0);
  }
  if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  lua_close(L);
  return failed ? NULL : argument;
}

int main(int argc, char **argv) {
  pthread_t threads[MOST];
  int i, count = argc > 2 ? atoi(argv[1]) : 0, failed = 0;

  if (count < 1 || count > MOST) return 2;
  arguments = argc - 2;
  argument = argv + 2;
  for (i = 0; i < count; i++) {
    if (pthread_create(&threads[i], NULL, run, NULL) != 0) return 2;
  }
  for (i = 0; i < count; i++) {
    void *result = NULL;
    pthread_join(threads[i], &result);
    failed += result == NULL;
  }
  return failed;
}
