/* private LIBLUA SCRIPT: a program that loads its Lua as VLC and OBS load theirs, with dlopen and
   RTLD_LOCAL, and runs a script in it. Exits with 1 where the script fails. */
#include <dlfcn.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

typedef struct lua_State lua_State;

static void *library;

/* Copies the address of a function of Lua's to `function`. */
static void find(const char *name, void *function) {
  void *address = dlsym(library, name);
  memcpy(function, &address, sizeof address);
}

int main(int count, char **arguments) {
  lua_State *(*new_state)(void);
  void (*open_libs)(lua_State *), (*close_state)(lua_State *);
  void (*open_selected)(lua_State *, int, int); /* since Lua 5.5 */
  int (*load_file)(lua_State *, const char *);
  int (*load_filex)(lua_State *, const char *, const char *); /* since 5.2 */
  int (*call)(lua_State *, int, int, int), (*callk)(lua_State *, int, int, int, ptrdiff_t, void *);
  const char *(*text)(lua_State *, int, size_t *);
  lua_State *L;
  int failed;

  if (count != 3) return 2;
  library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) return fprintf(stderr, "%s\n", dlerror()), 2;
  find("luaL_newstate", &new_state);
  find("luaL_openlibs", &open_libs);
  find("luaL_openselectedlibs", &open_selected);
  find("lua_close", &close_state);
  find("luaL_loadfile", &load_file);
  find("luaL_loadfilex", &load_filex);
  find("lua_pcall", &call);
  find("lua_pcallk", &callk);
  find("lua_tolstring", &text);

  L = new_state();
  if (open_libs) {
    open_libs(L);
  } else {
    open_selected(L, ~0, 0);
  }
  failed = load_file ? load_file(L, arguments[2]) : load_filex(L, arguments[2], NULL);
  if (!failed) failed = call ? call(L, 0, 0, 0) : callk(L, 0, 0, 0, 0, NULL);
  if (failed) fprintf(stderr, "%s\n", text(L, -1, NULL));
  close_state(L);
  return failed != 0;
}
