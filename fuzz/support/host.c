/* Runs a target that is written in Lua: TARGET, a file that returns a function, is called with each
   input, and a promise that is broken raises there. Each pair of lines that Lua goes through one
   after the other counts as covered, so the fuzzer finds its way in Lua too. */
#include "wire.h"

#include "lua/binding.h"

#include <lualib.h>
#include <openssl/sha.h>

#include <sanitizer/lsan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAYS 16384
#define LEAK_CHECKS 10000 /* inputs between two: after each, as libFuzzer would, they take 9/10 */

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int luaopen_kontext_core(lua_State *L);

__attribute__((section("__libfuzzer_extra_counters"))) static uint8_t ways[WAYS];

static lua_State *state;

/* Which file the lines are of is not asked: it takes longer than all else, and pairs tell
   enough. */
static void on_line(lua_State *L, lua_Debug *at) {
  static unsigned before;
  unsigned here = (unsigned)at->currentline;

  (void)L;
  ways[(here * 31u ^ before * 977u) % WAYS]++;
  before = here;
}

/* host.sha256(text) → 32 bytes. */
static int sha256(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  unsigned char digest[SHA256_DIGEST_LENGTH];

  SHA256((const unsigned char *)text, size, digest);
  lua_pushlstring(L, (const char *)digest, sizeof digest);
  return 1;
}

/* host.hex(bytes) → two digits for each. */
static int hex(lua_State *L) {
  static const char digits[] = "0123456789abcdef";
  size_t size, i;
  const char *bytes = luaL_checklstring(L, 1, &size);
  luaL_Buffer text;

  luaL_buffinit(L, &text);
  for (i = 0; i < size; i++) {
    luaL_addchar(&text, digits[(unsigned char)bytes[i] >> 4]);
    luaL_addchar(&text, digits[bytes[i] & 15]);
  }
  luaL_pushresult(&text);
  return 1;
}

/* host.asked(url) → the first line that a proxy hears when the engine asks for that URL, which
   tells the host and the port that libcurl would connect to; nil when it asks nobody. */
static int asked(lua_State *L) {
  char heard[16384];
  kx_transfer *t = wire_new(luaL_checkstring(L, 1), "http://127.0.0.1:1", kx_sink_memory(64));

  wire_perform(t, "", 0, heard, sizeof heard);
  kx_transfer_free(t);
  heard[strcspn(heard, "\r\n")] = '\0';
  if (*heard) lua_pushstring(L, heard);
  else lua_pushnil(L);
  return 1;
}

static int open_host(lua_State *L) {
  static const luaL_Reg functions[] = {
      {"sha256", sha256}, {"hex", hex}, {"asked", asked}, {NULL, NULL}};

  luaL_newlib(L, functions);
  return 1;
}

static int traced(lua_State *L) {
  luaL_traceback(L, L, luaL_tolstring(L, 1, NULL), 1);
  return 1;
}

static void check(int status) {
  if (status == LUA_OK) return;
  fprintf(stderr, "%s\n", lua_tostring(state, -1));
  abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
  (void)argc, (void)argv;
  state = luaL_newstate();
  luaL_openlibs(state);
  luaL_requiref(state, "kontext.core", luaopen_kontext_core, 0);
  luaL_requiref(state, "fuzz.host", open_host, 0);
  check(luaL_dostring(state, "package.path = './?.lua;lua/?.lua;lua/?/init.lua;' .. package.path"));
  lua_settop(state, 0);
  lua_pushcfunction(state, traced);
  check(luaL_loadfile(state, TARGET));
  check(lua_pcall(state, 0, 1, 1));
  lua_sethook(state, on_line, LUA_MASKLINE, 0);
  return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  static unsigned runs;

  lua_pushvalue(state, 2);
  lua_pushlstring(state, (const char *)bytes, size);
  check(lua_pcall(state, 1, 0, 1));
  if (++runs % LEAK_CHECKS == 0 && __lsan_do_recoverable_leak_check()) abort();
  return 0;
}
