# make                     build for LUA_VERSION = 5.4 (default), 5.3, 5.2, 5.1 or jit
# make demo                edit a photograph through the emulator: no key, no network, no cost
# make test                every check; ends in one line, "N passed, N failed"
# make install             LUA_VERSION= PREFIX= DESTDIR=
# A Lua that pkg-config does not know: make LUA_INCDIR=/path/to/lua-5.5/src LUA=/path/to/lua

LUA_VERSION = 5.4
PREFIX = /usr/local
WERROR = -Werror
CFLAGS = -O2 -g

# How tools and folders are called for one Lua ------------------------------------------------

ifdef LUA_INCDIR # its headers tell which Lua it is
lua_num := $(shell echo LUA_VERSION_NUM | $(CC) -E -P -I$(LUA_INCDIR) -include lua.h - | tail -n 1)
LUA_VERSION := $(if $(wildcard $(LUA_INCDIR)/luajit.h),jit,5.$(shell echo $$(($(lua_num) - 500))))
endif

V = $(LUA_VERSION:jit=5.1)
LUA = $(if $(filter jit,$(LUA_VERSION)),luajit,lua$(LUA_VERSION))
lua_pc = $(if $(filter jit,$(LUA_VERSION)),luajit,lua$(V) lua-$(V) lua$(subst .,,$(V)))
pkg = $(shell pkg-config $(1) $(2) 2>/dev/null)

LUA_CFLAGS = $(or $(if $(LUA_INCDIR),-I$(LUA_INCDIR)),\
  $(firstword $(foreach pc,$(lua_pc),$(call pkg,--cflags,$(pc)))),\
  $(error no headers of Lua $(LUA_VERSION): make deps LUA_VERSION=$(LUA_VERSION)))
STB_INCDIR = $(or $(call pkg,--variable=includedir,stb),/usr/include/stb)

LUADIR = $(abspath $(PREFIX))/share/lua/$(V)
LIBDIR = $(abspath $(PREFIX))/lib/lua/$(V)
BINDIR = $(abspath $(PREFIX))/bin

# Flags ---------------------------------------------------------------------------------------

warnings = -Wall -Wextra -pedantic -Wshadow -Wcast-qual -Wundef -Wwrite-strings \
  -Wstrict-prototypes -Wmissing-prototypes -Wc++-compat

# VARIANT builds the same module another way, in a folder of its own.
cflags_portable = -DKX_PORTABLE
cflags_asan = -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
cflags_tsan = -O1 -fsanitize=thread
cflags_coverage = -O0 --coverage
variant_flags = $(cflags_$(VARIANT))

# stb's own code is not ours to warn about: -isystem.
compile = $(CC) -std=c99 $(warnings) $(WERROR) -fPIC -fvisibility=hidden $(CFLAGS) $(variant_flags) \
  $(CPPFLAGS) $(LUA_CFLAGS) $(call pkg,--cflags,libcurl libcrypto) -isystem $(STB_INCDIR) -MMD -MP

# A resolver's thread may outlive the Lua state that started it: the module is never unloaded.
ifeq ($(shell uname),Darwin)
shared = -bundle -undefined dynamic_lookup
else
shared = -shared -Wl,-z,nodelete -Wl,-z,now,-z,relro
endif
libs = $(or $(call pkg,--libs,libcurl libcrypto),-lcurl -lcrypto) -lpthread -lm -ldl

# The module: one folder per Lua and variant ------------------------------------------------------

B = build/$(if $(VARIANT),$(VARIANT)-)$(LUA_VERSION)
core = $(B)/kontext/core.so
objects = $(patsubst src/%.c,$(B)/%.o,$(wildcard src/*.c))

all: $(core)

$(core): $(objects)
	@mkdir -p $(@D)
	$(CC) $(shared) $(CFLAGS) $(variant_flags) $(LDFLAGS) -o $@ $^ $(libs)

$(B)/%.o: src/%.c
	@mkdir -p $(@D)
	$(compile) -c -o $@ $<

-include $(objects:.o=.d)

# Install -------------------------------------------------------------------------------------

modules = $(patsubst lua/%,%,$(shell find lua/kontext -name '*.lua'))
installed = $(modules:%=$(LUADIR)/%) $(LIBDIR)/kontext/core.so $(BINDIR)/kontext

install: all
	@for file in $(modules); do \
	  install -d "$(DESTDIR)$(LUADIR)/$$(dirname $$file)" && \
	  install -m 644 "lua/$$file" "$(DESTDIR)$(LUADIR)/$$file" || exit 1; done
	@install -d "$(DESTDIR)$(LIBDIR)/kontext" "$(DESTDIR)$(BINDIR)"
	install -m 755 $(core) "$(DESTDIR)$(LIBDIR)/kontext/core.so"
	sed -e '1s|lua5.4|$(notdir $(LUA))|' -e 's|@PREFIX@|$(abspath $(PREFIX))|' bin/kontext \
	  > "$(DESTDIR)$(BINDIR)/kontext"
	@chmod 755 "$(DESTDIR)$(BINDIR)/kontext"

uninstall:
	rm -f $(installed:%="$(DESTDIR)%")
	-@find "$(DESTDIR)$(LUADIR)/kontext" "$(DESTDIR)$(LIBDIR)/kontext" -type d -empty -delete

# Neovim looks for C modules in the lua/ folders of its runtimepath, and speaks Lua 5.1's ABI.
nvim:
	@$(MAKE) LUA_VERSION=$(if $(call pkg,--cflags,luajit),jit,5.1) lua/kontext/core.so

lua/kontext/core.so: $(core)
	install -m 755 $< $@

# Checks --------------------------------------------------------------------------------------

# Exactly one symbol leaves the module, and it never brings a Lua of its own.
symbols: all
	test "$$(nm -D --defined-only $(core) | cut -d' ' -f3)" = luaopen_kontext_core
	! readelf -d $(core) | grep -i 'NEEDED.*lua'

luacheck:
	lua5.1 -e 'require "luacheck.main"' -q lua spec examples bin/kontext

clean:
	rm -rf build lua/kontext/core.so

.PHONY: all install uninstall nvim symbols luacheck clean
.DELETE_ON_ERROR:
