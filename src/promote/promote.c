/* The module kontext.promote, for programs that load their Lua privately, as VLC and OBS do for
   plugins: a C module finds no lua_ function there. It makes the symbols of the library that calls
   it visible to modules that are loaded later. It links against no function of Lua and does not
   include lua.h, so that it serves every Lua. */
#include "config.h"

#include <dlfcn.h>
#include <stddef.h>
#include <string.h>

typedef struct lua_State lua_State;

KX_EXPORT int luaopen_kontext_promote(lua_State *L);

#if defined(__GNUC__) && defined(RTLD_NOLOAD)

/* Makes the library that holds `address` global for good, and returns its handle. Returns NULL
   where there is none, or where another Lua is global already: a module would take functions of
   both. */
static void *promote(void *address) {
  static const char any[] = "lua_settop"; /* a function that every Lua has, as no macro */
  Dl_info info;
  void *library, *function, *global = dlsym(RTLD_DEFAULT, any);

  if (!dladdr(address, &info) || !info.dli_fname) return NULL;
  library = dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD);
  if (!library) return NULL;
  function = dlsym(library, any);
  if (!function || (global && global != function)) {
    (void)dlclose(library);
    return NULL;
  }
  return dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}

/* Returns true to Lua, or false where nothing was made visible. */
int luaopen_kontext_promote(lua_State *L) {
  void (*push)(lua_State *, int);
  void *library = promote(__builtin_return_address(0)); /* it called us, so it is the right one */
  void *function = dlsym(library ? library : RTLD_DEFAULT, "lua_pushboolean");

  if (!function) return 0;
  memcpy(&push, &function, sizeof push);
  push(L, library != NULL);
  return 1;
}

#else

int luaopen_kontext_promote(lua_State *L) {
  (void)L;
  return 0;
}

#endif
