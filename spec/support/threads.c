/* Runs a Lua script in several threads at once, each with a Lua state of its own, and as long as it
   returns true once more in a fresh state: for sanitizers. It gets the arguments, and the round's
   number after them. Usage: threads COUNT SCRIPT [ARGUMENT …]; exits with how many failed. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 16

static int arguments;
static char **argument;

/* Runs the script once; returns -1 when it failed, 1 when there is to be another round, else 0. */
static int once(int round) {
  lua_State *L = luaL_newstate();
  int i, failed = 1, again;

  if (!L) return -1;
  luaL_openlibs(L);
  if (luaL_loadfile(L, argument[0]) == 0) {
    for (i = 1; i < arguments; i++) lua_pushstring(L, argument[i]);
    lua_pushinteger(L, round);
    failed = lua_pcall(L, arguments, 1, 0);
  }
  if (failed) fprintf(stderr, "%s\n", lua_tostring(L, -1));
  again = lua_toboolean(L, -1);
  lua_close(L);
  return failed ? -1 : again;
}

static void *run(void *unused) {
  int round = 1, result;

  (void)unused;
  while ((result = once(round)) > 0) round++;
  return result < 0 ? NULL : argument;
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
