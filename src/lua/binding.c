/* luaopen_kontext_core: the C core as Lua functions. The engine's and the log's files are apart. */
#include "lua/binding.h"

#include "clock.h"
#include "emulator/repaint.h"
#include "error.h"
#include "file/digest.h"
#include "file/sink.h"
#include "net/base64.h"
#include "net/body.h"
#include "net/inflate.h"
#include "net/url.h"
#include "picture/jpeg_turbo.h"
#include "picture/stb.h"
#include "picture/walk.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifndef KX_STB_VERSION /* the Makefile reads it from stb_image.h's first line */
#define KX_STB_VERSION "unknown"
#endif

KX_EXPORT int luaopen_kontext_core(lua_State *L);

/* Sets the stamp of a file's state in the table on top. */
static void set_stamp(lua_State *L, const kx_source *source) {
  if (source->memory) lua_pushnil(L);
  else lua_pushlstring(L, (const char *)&source->stamp, sizeof source->stamp);
  lua_setfield(L, -2, "stamp");
}

/* Pushes the facts about a usable picture: into the table at `into`, or a new one for 0. */
static int push_good(lua_State *L, const kx_source *source, const kx_image_info *info, int into) {
  if (into) lua_pushvalue(L, into);
  else lua_createtable(L, 0, 6);
  kx_lua_set_string(L, "format", info->format);
  kx_lua_set_integer(L, "width", info->width);
  kx_lua_set_integer(L, "height", info->height);
  kx_lua_set_integer(L, "bytes", source->size);
  kx_lua_set_integer(L, "orientation", (uint64_t)info->orientation);
  set_stamp(L, source);
  return 1;
}

/* Pushes the outcome of the picture check; returns how many values. */
static int push_check(lua_State *L, const kx_source *source, kx_image_status status,
                      const kx_image_info *info, int into) {
  if (status == KX_IMAGE_OK) return push_good(L, source, info, into);
  lua_pushnil(L);
  lua_pushstring(L, kx_image_status_name(status));
  lua_createtable(L, 0, 8);
  kx_lua_set_integer(L, "bytes", source->size);
  kx_lua_set_string(L, "format", info->format);
  kx_lua_set_string(L, "label", info->label);
  if (info->width > 0) kx_lua_set_integer(L, "width", info->width);
  if (info->height > 0) kx_lua_set_integer(L, "height", info->height);
  kx_lua_set_string(L, "why", info->why);
  if (status == KX_IMAGE_FOREIGN) set_stamp(L, source); /* it may be made to fit */
  if (status == KX_IMAGE_UNREADABLE) {
    kx_lua_set_string(L, "code", kx_errno_name(info->error));
    kx_lua_set_string(L, "why", strerror(info->error));
  }
  return 3;
}

/* core.check({path=} or {bytes=}, into) -> {format, width, height, bytes, orientation, stamp},
   which is the table `into` where one is given; else nil, the outcome ("file" for what cannot be
   read) and a table of what is known. */
static int core_check(lua_State *L) {
  int into = lua_istable(L, 2) ? 2 : 0;
  const char *text;
  size_t size;
  kx_source source;
  kx_image_info info;
  kx_image_status status;

  if (kx_lua_source(L, 1, &text, &size) == KX_BYTES) {
    kx_source_memory(&source, text, size);
    status = kx_image_read(&source, &info);
    return push_check(L, &source, status, &info, into);
  }
  memset(&info, 0, sizeof info);
  info.error = kx_source_open(&source, text);
  status = info.error ? KX_IMAGE_UNREADABLE : kx_image_read(&source, &info);
  kx_source_close(&source); /* before anything that may raise */
  return push_check(L, &source, status, &info, into);
}

/* core.sniff(bytes) -> a picture format's name, or nil. */
static int core_sniff(lua_State *L) {
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);

  lua_pushstring(L, kx_image_sniff(bytes, size));
  return 1;
}

/* core.url(text, base) -> {scheme, host, port, url, user}, or nil, message. */
static int core_url(lua_State *L) {
  kx_url parts;
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  CURLUcode code = kx_url_read(&parts, text, size, luaL_optstring(L, 2, NULL));

  if (code != CURLUE_OK) {
    lua_pushnil(L);
    if (code == CURLUE_OUT_OF_MEMORY) lua_pushliteral(L, "not usable: not enough memory");
    else lua_pushfstring(L, "not a usable URL (libcurl's code %d)", (int)code);
    return 2;
  }
  lua_createtable(L, 0, 5);
  kx_lua_set_string(L, "scheme", parts.scheme);
  kx_lua_set_string(L, "host", parts.host);
  kx_lua_set_string(L, "port", parts.port);
  kx_lua_set_string(L, "url", parts.url);
  lua_pushboolean(L, parts.user);
  lua_setfield(L, -2, "user");
  return 1;
}

/* core.now() -> seconds on the monotonic clock. */
static int core_now(lua_State *L) {
  lua_pushnumber(L, (lua_Number)kx_now() / 1e9);
  return 1;
}

/* Pushes a digest's raw bytes. */
static int push_digest(lua_State *L, kx_digest_kind kind) {
  unsigned char value[KX_DIGEST_MAX];
  size_t size;
  const char *bytes = luaL_checklstring(L, 1, &size);

  lua_pushlstring(L, (const char *)value, kx_digest_of(kind, bytes, size, value));
  return 1;
}

/* core.md5(bytes) -> 16 bytes. */
static int core_md5(lua_State *L) { return push_digest(L, KX_MD5); }

/* core.sha256(bytes) -> 32 bytes. */
static int core_sha256(lua_State *L) { return push_digest(L, KX_SHA256); }

/* Writes the digest of a file into `value`; returns its size, or 0 with errno. */
static size_t file_digest(kx_digest_kind kind, const char *path, unsigned char *value) {
  kx_source source;
  size_t size;
  int error = kx_source_open(&source, path);

  if (error) {
    errno = error;
    return 0;
  }
  size = kx_digest_source(kind, &source, value);
  error = errno;
  kx_source_close(&source);
  errno = error;
  return size;
}

/* core.fingerprint(path) -> SHA-256 of the file, or nil, message, code. */
static int core_fingerprint(lua_State *L) {
  unsigned char value[KX_DIGEST_MAX];
  const char *path = luaL_checkstring(L, 1);
  size_t size = file_digest(KX_SHA256, path, value);

  if (size == 0) return kx_lua_failed(L, errno, path);
  lua_pushlstring(L, (const char *)value, size);
  return 1;
}

/* core.md5_file(path) -> base64 of the file's MD5, or nil, message, code. */
static int core_md5_file(lua_State *L) {
  unsigned char value[KX_DIGEST_MAX];
  const char *path = kx_lua_check_path(L, 1);
  size_t size = file_digest(KX_MD5, path, value);

  if (size == 0) return kx_lua_failed(L, errno, path);
  kx_lua_base64(L, value, size);
  return 1;
}

/* core.file_info(path) -> {bytes, mtime, inode, device} of a regular file, or nil, message, code.
   */
static int core_file_info(lua_State *L) {
  const char *path = kx_lua_check_path(L, 1);
  kx_stamp stamp;
  int error = kx_stamp_read(&stamp, path);

  if (error) return kx_lua_failed(L, error, path);
  lua_createtable(L, 0, 4);
  kx_lua_set_integer(L, "bytes", (uint64_t)stamp.size);
  kx_lua_set_integer(L, "inode", stamp.inode);
  kx_lua_set_integer(L, "device", stamp.device);
  lua_pushnumber(L, (lua_Number)stamp.mtime_s + (lua_Number)stamp.mtime_ns / 1e9);
  lua_setfield(L, -2, "mtime");
  return 1;
}

/* core.real_path(path) -> the path that a file there has, or would have, without links and dots;
   nil where its folder is missing. */
static int core_real_path(lua_State *L) {
  const char *path = kx_lua_check_path(L, 1), *name = strrchr(path, '/');
  void **guard = kx_lua_guard(L);

  *guard = realpath(path, NULL);
  if (*guard) {
    lua_pushstring(L, (const char *)*guard);
  } else {
    name = name ? name + 1 : path;
    if (name == path) lua_pushliteral(L, ".");
    else lua_pushlstring(L, path, (size_t)(name - path));
    *guard = realpath(lua_tostring(L, -1), NULL);
    if (!*guard) return 0;
    lua_pushfstring(L, "%s/%s", (const char *)*guard, name);
  }
  free(*guard);
  *guard = NULL;
  return 1;
}

/* core.read(path) -> the bytes of a regular file, or nil, message, code; a FIFO is not waited for.
   */
static int core_read(lua_State *L) {
  const char *path = luaL_checkstring(L, 1);
  void **guard = kx_lua_guard(L);
  kx_source source;
  ssize_t n = 0;
  int error = kx_source_open(&source, path);

  if (!error && !(*guard = malloc((size_t)source.size + 1))) error = ENOMEM;
  if (!error) n = kx_source_read(&source, 0, *guard, (size_t)source.size);
  if (n < 0) error = errno;
  kx_source_close(&source);
  if (error) return kx_lua_failed(L, error, path);
  lua_pushlstring(L, (const char *)*guard, (size_t)n);
  free(*guard);
  *guard = NULL;
  return 1;
}

/* core.hmac_sha256(key, bytes) -> 32 bytes. */
static int core_hmac_sha256(lua_State *L) {
  unsigned char value[KX_DIGEST_MAX];
  size_t key_size, size;
  const char *key = luaL_checklstring(L, 1, &key_size);
  const char *bytes = luaL_checklstring(L, 2, &size);

  if (!kx_hmac_sha256(key, key_size, bytes, size, value)) return luaL_error(L, "not enough memory");
  lua_pushlstring(L, (const char *)value, 32);
  return 1;
}

/* core.equal(a, b) -> true when both strings are equal, in a time that depends only on their
   lengths. */
static int core_equal(lua_State *L) {
  size_t a_size, b_size;
  const char *a = luaL_checklstring(L, 1, &a_size), *b = luaL_checklstring(L, 2, &b_size);

  lua_pushboolean(L, a_size == b_size && kx_equal(a, b, a_size));
  return 1;
}

/* Pushes true, or nil, message, code. */
static int push_done(lua_State *L, int error, const char *path) {
  if (error) return kx_lua_failed(L, error, path);
  lua_pushboolean(L, 1);
  return 1;
}

/* core.save(path, bytes, "no_replace") -> true, or nil, message, code: the file is the old one or
   the new. */
static int core_save(lua_State *L) {
  const char *path = kx_lua_check_path(L, 1), *bytes;
  size_t size;
  kx_sink *sink;
  int error;
  kx_sink_way way = kx_lua_check_way(L, 3);

  bytes = luaL_checklstring(L, 2, &size);
  sink = kx_sink_file(path, UINT64_MAX, 0666, way);
  if (!sink) return kx_lua_failed(L, errno, path);
  error = kx_sink_write(sink, bytes, size);
  if (!error) error = kx_sink_finish(sink);
  kx_sink_free(sink);
  return push_done(L, error, path);
}

/* core.can_save(path, "no_replace") -> true, or nil, message, code: whether core.save could put a
   file there now; leaves nothing there. */
static int core_can_save(lua_State *L) {
  size_t size;
  const char *path = luaL_checklstring(L, 1, &size);
  kx_sink_way way = kx_lua_check_way(L, 2);

  if (strlen(path) != size) return kx_lua_failed(L, EINVAL, "a path with a NUL byte");
  return push_done(L, kx_sink_probe(path, way), path);
}

/* core.reserve(path) -> true once an empty file keeps the name from others; false when something
   has it already; or nil, message, code. */
static int core_reserve(lua_State *L) {
  const char *path = kx_lua_check_path(L, 1);
  int error = kx_place_reserve(path, 0666);

  if (error != EEXIST) return push_done(L, error, path);
  lua_pushboolean(L, 0);
  return 1;
}

/* core.release(path) -> true once no empty file is there; false when the file has bytes, and stays;
   or nil, message, code. */
static int core_release(lua_State *L) {
  const char *path = kx_lua_check_path(L, 1);
  int error = kx_place_release(path);

  if (error != EEXIST) return push_done(L, error, path);
  lua_pushboolean(L, 0);
  return 1;
}

/* core.inflate(bytes, cap) -> what a gzip, zlib or raw deflate body holds, also when it is cut
   short, at most `cap` bytes; or nil. */
static int core_inflate(lua_State *L) {
  size_t size, cap, done;
  const char *bytes = luaL_checklstring(L, 1, &size);
  lua_Number most = luaL_checknumber(L, 2);
  void **guard;

  luaL_argcheck(L, most >= 0 && most <= 64 * 1024 * 1024, 2, "out of range");
  cap = (size_t)most;
  guard = kx_lua_guard(L);
  *guard = malloc(cap + 1);
  if (!*guard) return luaL_error(L, "not enough memory");
  done = kx_inflate(bytes, size, *guard, cap);
  if (done > 0) lua_pushlstring(L, (const char *)*guard, done);
  else lua_pushnil(L);
  free(*guard);
  *guard = NULL;
  return 1;
}

/* Reads a number of the table at 1, between -50 and 50; 0 where it is absent. */
static float displacement(lua_State *L, const char *name) {
  lua_Number value = kx_lua_number(L, 1, name, 0);

  if (!(value >= -50 && value <= 50)) luaL_error(L, "%s: out of range", name);
  return (float)value;
}

/* core.repaint{bytes=, mask=, left=, top=, width=, height=, format=, seed=, label=, inner=, shift=,
   scale=, tint=} -> bytes, or nil, message: the emulator's edit. */
static int core_repaint(lua_State *L) {
  static const char *const formats[] = {"jpeg", "png", "webp", NULL};
  kx_repaint_options options;
  kx_source input, mask;
  const char *bytes, *why = NULL;
  unsigned char *out = NULL;
  size_t size;
  void **guard;

  luaL_checktype(L, 1, LUA_TTABLE);
  memset(&options, 0, sizeof options);
  lua_settop(L, 1);
  lua_getfield(L, 1, "bytes");
  lua_getfield(L, 1, "width");
  lua_getfield(L, 1, "height");
  lua_getfield(L, 1, "format");
  lua_getfield(L, 1, "seed");
  lua_getfield(L, 1, "label");
  lua_getfield(L, 1, "mask");
  lua_getfield(L, 1, "left");
  lua_getfield(L, 1, "top");
  bytes = luaL_optlstring(L, 2, NULL, &size);
  if (bytes) {
    kx_source_memory(&input, bytes, size);
    options.input = &input;
  }
  options.width = (int)luaL_checknumber(L, 3);
  options.height = (int)luaL_checknumber(L, 4);
  options.format = (kx_repaint_format)luaL_checkoption(L, 5, "jpeg", formats);
  options.seed = (uint32_t)luaL_checknumber(L, 6);
  options.label = luaL_optlstring(L, 7, NULL, &options.label_size);
  bytes = luaL_optlstring(L, 8, NULL, &size);
  if (bytes) {
    kx_source_memory(&mask, bytes, size);
    options.mask = &mask;
  }
  options.keep = !lua_isnil(L, 9);
  options.left = (int)luaL_optnumber(L, 9, 0);
  options.top = (int)luaL_optnumber(L, 10, 0);
  options.inner = kx_lua_boolean(L, 1, "inner");
  options.moved.tint = kx_lua_boolean(L, 1, "tint");
  options.moved.shift = displacement(L, "shift");
  options.moved.scale = displacement(L, "scale");
  guard = kx_lua_guard(L);
  if (!kx_repaint(&options, &out, &size, &why)) {
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
  }
  *guard = out;
  lua_pushlstring(L, (const char *)out, size);
  free(out);
  *guard = NULL;
  return 1;
}

/* core.info() -> versions: what the module was built for and what it runs on. */
static int core_info(lua_State *L) {
  const curl_version_info_data *curl = curl_version_info(CURLVERSION_NOW);

  lua_createtable(L, 0, 7);
  kx_lua_set_string(L, "lua", LUA_VERSION);
  kx_lua_set_string(L, "libcurl", curl->version);
  kx_lua_set_string(L, "tls", curl->ssl_version);
  kx_lua_set_string(L, "resolver",
                    curl->features & CURL_VERSION_ASYNCHDNS ? "asynchronous" : "blocking");
  kx_lua_set_string(L, "stb", KX_STB_VERSION);
  kx_lua_set_string(L, "jpeg", kx_jpeg_turbo_name());
  kx_lua_set_string(L, "poller", KX_EPOLL ? "epoll" : "poll");
  return 1;
}

/* Initialises libcurl once in a process: it cannot be undone while others may use it. */
static void initialise_curl(void) { (void)curl_global_init(CURL_GLOBAL_DEFAULT); }

/* Keeps this module mapped for good: after a cancel without waiting a resolver's thread still runs
   in it. The linker's nodelete says the same, where the build has it. */
static void pin(void) {
  Dl_info info;

  /* A function's address as data, which POSIX allows and ISO C does not. */
  int (*function)(lua_State *) = luaopen_kontext_core;
  void *address;
  memcpy(&address, &function, sizeof address);
  if (dladdr(address, &info) && info.dli_fname) {
    (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
  }
}

int luaopen_kontext_core(lua_State *L) {
  static pthread_once_t once = PTHREAD_ONCE_INIT; /* two states may be opened in two threads */
  static const luaL_Reg functions[] = {{"engine", kx_lua_engine},
                                       {"check", core_check},
                                       {"sniff", core_sniff},
                                       {"repaint", core_repaint},
                                       {"thumbnail", kx_lua_thumbnail},
                                       {"base64", kx_lua_encode},
                                       {"url", core_url},
                                       {"now", core_now},
                                       {"md5", core_md5},
                                       {"sha256", core_sha256},
                                       {"hmac_sha256", core_hmac_sha256},
                                       {"fingerprint", core_fingerprint},
                                       {"equal", core_equal},
                                       {"read", core_read},
                                       {"save", core_save},
                                       {"can_save", core_can_save},
                                       {"reserve", core_reserve},
                                       {"release", core_release},
                                       {"file_info", core_file_info},
                                       {"real_path", core_real_path},
                                       {"md5_file", core_md5_file},
                                       {"inflate", core_inflate},
                                       {"log", kx_lua_log},
                                       {"region_look", kx_lua_region_look},
                                       {"region_mask", kx_lua_region_mask},
                                       {"info", core_info},
                                       {"preload", kx_lua_preload},
                                       {"watch_signals", kx_lua_watch_signals},
                                       {"signal", kx_lua_signal},
                                       {"hold_streams", kx_lua_hold_streams},
                                       {"terminal", kx_lua_terminal},
                                       {"process", kx_lua_process},
                                       {"working_folder", kx_lua_working_folder},
                                       {"make_folder", kx_lua_make_folder},
                                       {"list", kx_lua_list},
                                       {"sleep", kx_lua_sleep},
                                       {"modified", kx_lua_modified},
                                       {NULL, NULL}};

  pthread_once(&once, initialise_curl);
  pin();
  kx_lua_guard_type(L);
  kx_lua_log_type(L);
  kx_lua_engine_type(L);
  kx_lua_region_methods(L);
  luaL_newlib(L, functions);
  return 1;
}
