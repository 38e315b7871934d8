# make                     build for LUA_VERSION = 5.4 (default), 5.3, 5.2, 5.1 or jit
# make demo                edit a photograph through the emulator: no key, no network, no cost
# make test                the checks of every change; ends in one line, "N passed, N failed"
# make test-more           the other Luas, installs, documents; .ci/run makes both
# make install             LUA_VERSION= PREFIX= DESTDIR=
# What pkg-config does not know: LUA_INCDIR=/path/to/lua-5.5/src LUA=/path/to/lua, and STB_INCDIR=

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

# A prefix may have spaces, for which abspath would take it apart.
prefix = $(if $(filter /%,$(firstword $(PREFIX))),,$(CURDIR)/)$(PREFIX)
LUADIR = $(prefix)/share/lua/$(V)
LIBDIR = $(prefix)/lib/lua/$(V)
BINDIR = $(prefix)/bin
TYPEDIR = $(prefix)/share/kontext/types

# Flags ---------------------------------------------------------------------------------------

warnings = -Wall -Wextra -pedantic -Wshadow -Wcast-qual -Wundef -Wwrite-strings \
  -Wstrict-prototypes -Wmissing-prototypes -Wc++-compat

# VARIANT builds the same module another way, in a folder of its own.
cflags_portable = -DKX_PORTABLE
cflags_asan = -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
cflags_old = -DKX_LIBCURL=0x075000 -Wno-deprecated-declarations # as before libcurl 7.85
cflags_tsan = -O1 -fsanitize=thread
cflags_coverage = -O0 --coverage -fprofile-update=atomic
cflags_valgrind = -O1
cflags_fuzz = -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
extra_flags = $(cflags_$(VARIANT))

# libjpeg-turbo decodes JPEGs for `fit` where it is installed, else stb; LIBJPEG=no does without it,
# and so do what runs like other systems and what hunts stb's faults.
LIBJPEG = $(if $(filter portable fuzz,$(VARIANT)),no,yes)
jpeg_libs := $(if $(filter yes,$(LIBJPEG)),$(call pkg,--libs,libjpeg))
jpeg_cflags := $(if $(jpeg_libs),-DKX_LIBJPEG $(call pkg,--cflags,libjpeg))
jpeg = $(B)/jpeg-$(if $(jpeg_libs),libjpeg,stb)

# What makes an overflow harder to use, where the compiler has it. The sanitizers see more themselves.
accepts = $(shell echo 'int nothing;' | \
  $(CC) -Werror -O2 $(1) -include string.h -x c -c -o /dev/null - 2>/dev/null && echo $(1))
hardened := $(if $(filter asan tsan fuzz coverage valgrind,$(VARIANT)),,$(strip \
  $(foreach flag,-fstack-protector-strong -fstack-clash-protection -fcf-protection,\
  $(call accepts,$(flag))) $(if $(findstring _FORTIFY_SOURCE,$(CFLAGS) $(CPPFLAGS)),,\
  $(if $(filter -O1 -O2 -O3 -Os -Ofast,$(CFLAGS)),$(firstword \
  $(foreach level,3 2,$(call accepts,-D_FORTIFY_SOURCE=$(level))))))))

compile = $(CC) -std=c99 -Isrc $(warnings) $(WERROR) -fPIC -fvisibility=hidden $(CFLAGS) \
  $(hardened) \
  $(extra_flags) $(CPPFLAGS) $(LUA_CFLAGS) $(call pkg,--cflags,libcurl libcrypto zlib) $(jpeg_cflags) \
  $(STB_INCDIR:%=-isystem %)

# A resolver's thread may outlive the Lua state that started it: the module is never unloaded.
ifeq ($(shell uname),Darwin)
shared = -bundle -undefined dynamic_lookup
else
shared = -shared -Wl,-z,nodelete -Wl,-z,now,-z,relro
endif
libs = $(or $(call pkg,--libs,libcurl libcrypto zlib),-lcurl -lcrypto -lz) $(jpeg_libs) \
  -lpthread -lm -ldl

# The module: one folder per Lua and variant ------------------------------------------------------

B = build/$(if $(VARIANT),$(VARIANT)-)$(LUA_VERSION)
core = $(B)/kontext/core.so
promote = $(B)/kontext/promote.so
sources = $(filter-out src/promote/%,$(wildcard src/*.c src/*/*.c))
objects = $(sources:src/%.c=$(B)/%.o)

all: $(core) $(promote) ; @:

$(core): $(objects)
	@mkdir -p $(@D)
	@echo "  LD $@"
	@$(CC) $(shared) $(CFLAGS) $(extra_flags) $(LDFLAGS) -o $@ $^ $(libs)

$(promote): $(B)/promote/promote.o
	@mkdir -p $(@D)
	@$(CC) $(shared) $(CFLAGS) $(extra_flags) $(LDFLAGS) -o $@ $^ -ldl

$(B)/%.o: src/%.c
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(compile) -MMD -MP -c -o $@ $<

# The module as `make install` has it: with what `require "kontext"` loads compiled into it. A
# development tree reads lua/, and so does a Lua that the files were not compiled for.
whole = $(B)/whole/kontext/core.so
lua_files = $(shell find lua/kontext -name '*.lua')

$(whole): $(objects) $(B)/whole/chunks.o
	@mkdir -p $(@D)
	@echo "  LD $@"
	@$(CC) $(shared) $(CFLAGS) $(extra_flags) $(LDFLAGS) -o $@ $(filter-out $(B)/lua/chunks.o,$^) $(libs)

$(B)/whole/chunks.o: src/lua/chunks.lua src/lua/chunks.c src/lua/chunks.h $(lua_files)
	@mkdir -p $(@D)
	@$(LUA) src/lua/chunks.lua lua > $(@:.o=.c) 2>/dev/null || cp src/lua/chunks.c $(@:.o=.c)
	@$(compile) -c -o $@ $(@:.o=.c)

# The module once more, for spec/faults/c_out_of_memory.lua: what our own objects call may fail.
starved = malloc calloc realloc free strdup strndup opendir fdopendir closedir realpath pthread_create deflateInit_ inflateInit_ \
  HMAC curl_easy_init curl_easy_cleanup curl_easy_setopt curl_multi_init curl_multi_cleanup \
  curl_multi_setopt curl_multi_add_handle curl_slist_append curl_url curl_url_cleanup \
  curl_url_set curl_url_get open64 openat64 fcntl64 write pread64 fstat64 fstatat64 flock fsync \
  ftruncate64 lseek64 renameat renameat2 linkat pipe2 epoll_create1 epoll_ctl timerfd_create socket bind listen \
  getsockname

starved: $(B)/starved/kontext/core.so ; @:

$(B)/starved/kontext/core.so: $(objects) $(B)/starve.o
	@mkdir -p $(@D)
	@echo "  LD $@"
	@$(CC) $(shared) $(CFLAGS) $(extra_flags) $(LDFLAGS) $(starved:%=-Wl,--wrap=%) -o $@ $^ $(libs)

$(B)/starve.o: spec/faults/starve.c
	@mkdir -p $(@D)
	@$(compile) -c -o $@ $<

# stb_image has no macro for its version, only its first line.
stb_version = $(shell sed -n '1s/.*stb_image - v\([0-9.]*\).*/\1/p' \
  $(or $(STB_INCDIR),/usr/include)/stb/stb_image.h 2>/dev/null)
$(B)/lua/binding.o: extra_flags += $(stb_version:%=-DKX_STB_VERSION='"%"')
# With checked copies of two bytes each the table took a sixth more instructions.
$(B)/net/base64.o: hardened := $(filter-out -D_FORTIFY_SOURCE=%,$(hardened))
$(B)/picture/stb.o: extra_flags += -fwrapv # sums of damaged pictures' coefficients wrap around in stb

$(B)/picture/picture.o $(B)/picture/jpeg_turbo.o $(B)/region/jpeg_region.o: $(jpeg) # made anew where that has come or gone
$(jpeg): ; @mkdir -p $(@D) && rm -f $(B)/jpeg-* && touch $@

-include $(objects:.o=.d) $(B)/promote/promote.d

# Install -------------------------------------------------------------------------------------

modules = $(patsubst lua/%,%,$(lua_files))
install: all $(whole)
	@for file in $(modules); do \
	  install -d "$(DESTDIR)$(LUADIR)/$$(dirname $$file)" && \
	  install -m 644 "lua/$$file" "$(DESTDIR)$(LUADIR)/$$file" || exit 1; done
	@install -d "$(DESTDIR)$(LIBDIR)/kontext" "$(DESTDIR)$(BINDIR)"
	install -m 755 $(whole) "$(DESTDIR)$(LIBDIR)/kontext/core.so"
	@sed '/^local core = require/s| --.*|; core.preload(package.preload)|' lua/kontext/init.lua \
	  > "$(DESTDIR)$(LUADIR)/kontext/init.lua"
	@install -m 755 $(promote) "$(DESTDIR)$(LIBDIR)/kontext/promote.so"
	@install -d "$(DESTDIR)$(TYPEDIR)"
	@install -m 644 types/kontext.lua "$(DESTDIR)$(TYPEDIR)/kontext.lua"
	sed -e '1s|lua5.4|$(notdir $(LUA))|' -e 's|@PREFIX@|$(prefix)|' bin/kontext \
	  > "$(DESTDIR)$(BINDIR)/kontext"
	@chmod 755 "$(DESTDIR)$(BINDIR)/kontext"
	@$(foreach page,$(pages),$(call install_page,$(subst :, ,$(page)))) :

# The man page and the shells' completions, which the command makes from its parser: where they go,
# and of which option. Without argparse there is no command to make them.
pages = man/man1/kontext.1:--man bash-completion/completions/kontext:--completion=bash \
  zsh/site-functions/_kontext:--completion=zsh fish/vendor_completions.d/kontext.fish:--completion=fish
page_files = $(foreach page,$(pages),"$(DESTDIR)$(prefix)/share/$(firstword $(subst :, ,$(page)))")
install_page = install -d "$(DESTDIR)$(prefix)/share/$(dir $(word 1,$(1)))" && \
  { $(environment) $(LUA) bin/kontext help $(word 2,$(1)) \
    > "$(DESTDIR)$(prefix)/share/$(word 1,$(1))" 2>/dev/null || \
    { rm -f "$(DESTDIR)$(prefix)/share/$(word 1,$(1))"; \
      echo "not installed, for want of argparse: share/$(word 1,$(1))"; }; };

# The archive of a release, the same from every clone of one commit.
release = $(shell sed -n 's/^return "\(.*\)"/\1/p' lua/kontext/version.lua)
archive = build/dist/kontext-$(release).tar
dist:
	@mkdir -p build/dist
	@git -c safe.directory='*' -c tar.umask=0022 archive --prefix=kontext-$(release)/ HEAD > $(archive)
	@gzip -9nf $(archive)
	@cp kontext-$(release)-1.rockspec build/dist
	@echo $(archive).gz

# A package for Debian and its kin, of the commit that is checked out: build/deb/kontext_*.deb. It is
# built where its headers are, and installs without a compiler.
deb: deps-deb dist
	@rm -rf build/deb && mkdir -p build/deb && tar -xf $(archive).gz -C build/deb
	@cp -r build/deb/kontext-$(release)/packaging/debian build/deb/kontext-$(release)/debian
	@cd build/deb/kontext-$(release) && env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS \
	  dpkg-buildpackage --build=binary --no-sign >../build.log 2>&1 || { tail -n 40 ../build.log; exit 1; }
	@rm -rf build/deb/kontext-$(release)
	@ls build/deb/kontext_*.deb

uninstall:
	@for file in $(modules); do rm -f "$(DESTDIR)$(LUADIR)/$$file"; done
	rm -f "$(DESTDIR)$(LIBDIR)/kontext/core.so" "$(DESTDIR)$(LIBDIR)/kontext/promote.so" \
	  "$(DESTDIR)$(BINDIR)/kontext" \
	  "$(DESTDIR)$(TYPEDIR)/kontext.lua" $(page_files)
	-@find "$(DESTDIR)$(LUADIR)/kontext" "$(DESTDIR)$(LIBDIR)/kontext" \
	  "$(DESTDIR)$(TYPEDIR)/.." -type d -empty -delete

# Neovim looks for C modules in the lua/ folders of its runtimepath, and speaks Lua 5.1's ABI.
nvim:
	@$(MAKE) LUA_VERSION=$(if $(call pkg,--cflags,luajit),jit,5.1) lua/kontext/core.so

lua/kontext/core.so: $(core)
	install -m 755 $< $@

# Specs: one Lua, one variant ----------------------------------------------------------------------

# Under 5.4 all of them; elsewhere those of spec/ itself, without what is tagged #once. What is
# tagged #plain counts seconds or system calls, which valgrind spoils.
SPECS = $(if $(filter 5.4,$(LUA_VERSION)$(VARIANT)),spec,$(core_specs))
core_specs = --exclude-tags=once$(if $(filter valgrind,$(VARIANT)),$(comma)plain) \
  $(wildcard spec/*_spec.lua)
comma = ,

environment = LUA_PATH="$(CURDIR)/lua/?.lua;$(CURDIR)/lua/?/init.lua;$(CURDIR)/?.lua;;" \
  LUA_CPATH="$(CURDIR)/$(B)/?.so;;"

# Lua 5.5 has no lua-cqueues yet: the emulator and the scripted servers of its specs run in 5.4.
ifeq ($(LUA_VERSION),5.5)
environment += LUA_CPATH_5_4="$(CURDIR)/build/5.4/?.so;;" KONTEXT_EMULATOR_LUA=lua5.4
endif

run_asan = LD_PRELOAD=$(shell $(CC) -print-file-name=libasan.so) \
  ASAN_OPTIONS=detect_leaks=1:exitcode=97 UBSAN_OPTIONS=print_stacktrace=1
run_valgrind = valgrind -q --error-exitcode=99 --leak-check=full \
  --errors-for-leak-kinds=definite --child-silent-after-fork=yes
busted_gc0 = --helper=spec/support/gc0.lua

spec: all
	@$(environment) $(run_$(VARIANT)) \
	  $(LUA) spec/support/busted.lua -o plainTerminal $(busted_$(VARIANT)) $(SPECS)

spec-%: ; @$(MAKE) spec LUA_VERSION=$*
# Debian's testing has the interpreter and the headers of 5.2, and no modules for it.
spec-5.2:
	@if lua5.2 -e "require 'busted'" 2>/dev/null; then $(MAKE) spec LUA_VERSION=5.2; \
	else printf 'Pending -> Makefile\nlua-busted for Lua 5.2 is not here\n'; \
	echo "0 passed, 0 failed, 1 skipped"; fi
spec-5.5: ; @$(MAKE) all && $(MAKE) spec LUA_VERSION=5.5
# What is installed and built anew, and every block of the documents; whole photographs, a database
# and a browser's page: both take minutes.
papers = spec/docs_spec.lua spec/install_spec.lua
slow = $(wildcard spec/region/*_spec.lua spec/scale/*_spec.lua) spec/cli/gallery_spec.lua
spec-5.4: ; @$(MAKE) spec SPECS="$(filter-out $(papers),$(wildcard spec/*_spec.lua))"
spec-folders: ; @$(MAKE) spec SPECS="$(filter-out $(slow),$(wildcard spec/*/*_spec.lua))"
spec-papers: ; @$(MAKE) spec SPECS="$(papers)"
spec-slow: ; @$(MAKE) spec SPECS="$(slow)"
test-portable: ; @$(MAKE) spec VARIANT=portable
test-old: ; @$(MAKE) spec VARIANT=old SPECS="$(wildcard $(on_the_wire:%=spec/%_spec.lua))"
on_the_wire = submit poll download
# Not what asks the table of models, the emulator and the command: little of it is C.
on_tables = models estimate budget kinds cli examples events emulator prompt
sanitize: ; @$(MAKE) spec VARIANT=asan SPECS="--exclude-tags=once $(filter-out \
  $(on_tables:%=spec/%_spec.lua),$(wildcard spec/*_spec.lua))"
valgrind: deps-check ; @$(MAKE) spec VARIANT=valgrind
gc0: ; @$(MAKE) spec VARIANT=gc0

# Two Lua states in two threads, under ThreadSanitizer.
tsan: all
	@$(MAKE) -j2 VARIANT=tsan all build/tsan-$(LUA_VERSION)/threads
	@$(environment) TSAN_OPTIONS=suppressions=$(CURDIR)/spec/support/tsan.supp \
	  $(LUA) spec/support/threads.lua build/tsan-$(LUA_VERSION)/threads \
	  "$(CURDIR)/build/tsan-$(LUA_VERSION)/?.so"

$(B)/threads: spec/support/threads.c
	$(compile) -o $@ $< $(call pkg,--libs,$(lua_pc)) -lpthread

# What only C can ask of src/: programs in spec/c that end with "N passed, N failed".
units = $(patsubst spec/c/%.c,$(B)/units/%,$(wildcard spec/c/*.c))

# Under the sanitizers, and over the portable poller.
units:
	@{ $(MAKE) VARIANT=asan run-units; $(MAKE) VARIANT=portable run-units; } | awk '\
	  / passed, / { passed += $$1; failed += $$3; next } { print } \
	  END { print passed+0 " passed, " failed+0 " failed"; exit failed > 0 || !passed }'

run-units: $(units)
	@for unit in $^; do $$unit || echo "0 passed, 1 failed"; done

# What a file system may lack is taken from the calls to it.
ifeq ($(shell uname),Linux)
$(B)/units/file_systems: libs += $(patsubst %,-Wl$(comma)--wrap=%,openat64 flock fcntl64 renameat2 linkat)
endif

$(B)/units/%: spec/c/%.c $(filter-out $(B)/lua/%,$(objects))
	@mkdir -p $(@D)
	@$(compile) -o $@ $^ $(libs)

# The policy under a deterministic simulation: LIVES=20000 SEED=7, or SECONDS=60 of fresh lives. One
# seed and number of lives give one digest, on every Lua.
simulate: all
	@$(environment) $(LUA) spec/simulation/run "$(or $(LIVES),0)" "$(or $(SECONDS),60)" "$(SEED)" $(LUA) $(PAGE)

# Lives fresh lives, and writes what they met into the page that tells of it.
simulate-page: ; @$(MAKE) simulate LUA_VERSION=jit PAGE=docs/reliability.md

# The same lives each time, and a part of the mutants: for every run of the checks.
simulate-ci: ; @$(MAKE) simulate LUA_VERSION=jit LIVES=4000 SEED=2026

# Breaks one rule after the other in a copy, and counts the lives until the simulation sees it.
simulate-mutants: all
	@$(environment) $(LUA) spec/simulation/bite "$(or $(LIVES),100000)" $(LUA)

# Checks --------------------------------------------------------------------------------------

# Exactly one symbol leaves the module, and it never brings a Lua of its own.
symbols: all
	test "$$(nm -D --defined-only $(core) | cut -d' ' -f3)" = luaopen_kontext_core
	! readelf -d $(core) | grep -i 'NEEDED.*lua'
	test "$$(nm -D $(promote) | grep -o 'lua.*')" = luaopen_kontext_promote

# What an OpenAPI document of the service (SPEC=FILE, JSON) says otherwise than the table of models.
drift: all
	@test -n "$(SPEC)" || { echo "usage: make drift SPEC=FILE"; exit 2; }
	@$(environment) $(LUA) spec/support/drift.lua $(SPEC)

luacheck:
	luacheck -q --no-color lua plugin src/lua/chunks.lua spec examples bench fuzz bin/kontext bench/run spec/run

# C as .clang-format has it, and no line over 100 columns. The rooms of the others follow.
formatted = $(wildcard src/*.[ch] src/net/*.[ch] src/file/*.[ch] src/lua/*.[ch]) \
  src/picture/worker.c src/picture/worker.h

format: ; clang-format -i $(formatted)

format-check: columns deps-lint ; clang-format --dry-run -Werror $(formatted)

columns:
	! LC_ALL=C.UTF-8 grep -nE '^.{101,}' $$(find src spec bench fuzz -name '*.[ch]')

shell_scripts = deps.sh .ci/run fuzz/run $(wildcard spec/*/*.sh bench/peers/*.sh)

# stb.c is stb's code, not ours.
lint: format-check deps-lint
	shellcheck $(shell_scripts)
	ls src/*.c src/*/*.c | grep -v /stb.c | xargs -P 2 -I{} clang-tidy --quiet {} -- -std=c99 -Isrc $(LUA_CFLAGS)
	cppcheck --quiet --std=c99 --enable=warning,performance,portability --inline-suppr \
	  --suppress=missingIncludeSystem --error-exitcode=1 -Isrc src

# How much of src/ the C programs, the specs and campaign R5 reach, by line and by branch.
coverage: deps-check deps-test campaign-Q1
	@for by in "" --branches; do gcovr --root . --filter src/ --exclude src/picture/stb.c \
	  --object-directory build/coverage-5.4 $$by --txt; done

# Each fuzzer for FUZZ_SECONDS, two at a time.
FUZZ_SECONDS = 60
fuzzers = $(patsubst fuzz/%,$(B)/fuzz/%,$(basename $(wildcard fuzz/*.c fuzz/*.lua)))

fuzz: deps-check fuzzers
	@fuzz/run $(FUZZ_SECONDS)

fuzzers:
	@$(MAKE) -j2 VARIANT=fuzz CC=clang build-fuzzers

build-fuzzers: $(fuzzers)

fuzz = $(compile) -Ifuzz/support -fsanitize=fuzzer -o $@ $(filter %.c %.o,$^) $(libs) \
  $(call pkg,--libs,$(lua_pc))

$(B)/fuzz/%: fuzz/%.c fuzz/support/wire.c $(objects)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(fuzz)

# A target in Lua is read by its program when that runs.
$(B)/fuzz/%: fuzz/%.lua fuzz/support/host.c fuzz/support/wire.c $(objects)
	@mkdir -p $(@D)
	@echo "  CC $@"
	@$(fuzz) -DTARGET='"$<"'

# Runs ----------------------------------------------------------------------------------------

module-%: ; @$(MAKE) all LUA_VERSION=$*
variant-%: ; @$(MAKE) all VARIANT=$*

luas = 5.4 jit 5.1 5.2 5.3 $(if $(call pkg,--libs,lua5.5),5.5)
matrix = spec-folders spec-papers spec-slow $(luas:%=spec-%)

# The longest first. Three at a time: for a part of it the specs wait.
test_targets = spec-5.4 spec-folders sanitize units luacheck symbols
more_targets = spec-papers spec-slow $(patsubst %,spec-%,$(filter-out 5.4,$(luas))) test-portable

matrix: deps-test
	@$(MAKE) -j2 $(luas:%=module-%)
	@lua5.4 spec/run $(matrix)

test: deps-test deps-demo
	@$(MAKE) -j2 $(luas:%=module-%) variant-asan variant-portable
	@lua5.4 spec/run -j3 $(test_targets)

test-more: deps-test deps-demo
	@$(MAKE) -j2 $(luas:%=module-%) variant-portable
	@lua5.4 spec/run -j3 $(more_targets)

# What the machine must have: for building and running, and more for other purposes.
deps:
	@LUA_VERSION=$(LUA_VERSION) STB_INCDIR=$(STB_INCDIR) ./deps.sh build run

deps-%: deps
	@./deps.sh $*

# A photograph edited from end to end: make demo [PHOTO=mine.jpg] [PROMPT="Change …"]
demo: $(if $(PHOTO),deps,deps-demo)
	@$(MAKE) -j2 all
	@$(environment) $(LUA) examples/demo.lua

# Each C compiler that is here builds all of it without a warning.
ccs = $(sort $(notdir $(wildcard $(patsubst %,/usr/bin/%,gcc-1[0-9] clang clang-[12][0-9]))))
compilers:
	@passed=0 failed=0; for cc in $(ccs); do \
	  if $(MAKE) -j2 CC=$$cc B=build/cc-$$cc all >/dev/null; \
	  then passed=$$((passed + 1)); else failed=$$((failed + 1)) broken="$$broken $$cc"; fi; done; \
	echo "$(ccs)$${broken:+; failed:$$broken}"; echo "$$passed passed, $$failed failed"

# The archive and the rockspec, installed by LuaRocks in each way a user may. It writes to /usr/local
# if root runs it, and removes that again: `make world` runs it in its folders.
test-rocks: deps-test
	@test ! -e .git || $(MAKE) dist
	@spec/support/rocks.sh

# Other Debians, each installed into a folder from this machine's mirror (docs/systems.md): make world
# [SUITES="trixie forky"] [FULL=1] [WORLD=folder] [AGAIN=1]. Alone, a suite runs what CI has time for.
SUITES = trixie forky
steps_trixie = demo spec-5.4
steps_forky = demo spec-5.4 spec-5.5
# Seconds.
world_limit = $(or $(LIMIT),$(if $(WHOLE),4700,$(limit_$*)))
limit_trixie = 900
limit_forky = 900
world_steps = $(if $(WHOLE),demo test compilers test-rocks $(if $(FULL),test-hosts),$(steps_$*))

world:
	@status=0; WHOLE=1 lua5.4 spec/run -j1 $(SUITES:%=world-%) || status=1; \
	lua5.4 spec/support/systems.lua $(SUITES); exit $$status

world-%:
	@WORLD="$(WORLD)" AGAIN="$(AGAIN)" LIMIT=$(world_limit) JOBS=$(if $(WHOLE),1,2) \
	  spec/support/world.sh $* $(world_steps)

# The campaigns of docs/reliability.md, two at a time and the longest first; FULL=1: for hours. Their
# last figures become the page's table.
campaigns = Q1 Q2 P1 S6 R5 R9 R7 R1 R2 T1 R4 R6 R8 S1 S3 S4 S5 S9 A1

torture: deps-test deps-check
	@$(MAKE) -j2 all variant-asan
	@rm -f build/torture/*.json
	-@lua5.4 spec/run $(campaigns:%=campaign-%)
	@lua5.4 spec/faults/report.lua $(campaigns)

campaign-%: ; @$(environment) spec/faults/run $*

# Other people's programs, each run for real with kontext inside (docs/hosts.md). Not installed:
# skipped by name.
HOSTS = $(patsubst %,spec/hosts/%.lua,hosts examples neovim sdk)

test-hosts: deps-demo deps-hosts
	@$(MAKE) -j2 $(luas:%=module-%)
	@$(MAKE) nvim
	-@$(MAKE) build/bench/sdk
	@$(environment) $(LUA) spec/support/busted.lua -o plainTerminal $(HOSTS)

# The page of --gallery in headless Chromium, by mouse, touch and keyboard; skipped without it.
test-gallery: all
	@mkdir -p build/gallery && cd build/gallery && \
	  { test -d node_modules/playwright-core || npm install --silent --no-audit --no-fund \
	    playwright-core >/dev/null 2>&1 || true; }
	@$(environment) $(LUA) spec/support/busted.lua -o plainTerminal spec/gallery/gallery.lua

# The pictures of README, made again: needs what test-gallery needs, and tmux.
screens: test-gallery nvim
	@$(environment) LUA=$(LUA) spec/gallery/screens.sh

bench: bench-programs
	@$(environment) bench/run

# The same once and small, within a minute: that it works.
bench-smoke: bench-programs
	@$(environment) bench/run smoke

bench-programs: deps-bench
	@$(MAKE) -j2 all $(patsubst bench/%.c,build/bench/%,$(wildcard bench/*.c)) build/bench/sdk

build/bench/%: bench/%.c $(B)/net/base64.o $(B)/net/base64_simd.o
	@mkdir -p $(@D)
	@$(compile) -o $@ $^ $(libs) -lssl

build/bench/sdk: bench/peers/sdk.mjs
	@mkdir -p $@
	@npm install --silent --no-audit --no-fund --prefix $@ ai @ai-sdk/black-forest-labs
	@cp $< $@ && touch $@

clean:
	rm -rf build lua/kontext/core.so

.PHONY: all spec-papers spec-slow test-more simulate simulate-page simulate-ci simulate-mutants drift starved install uninstall nvim spec spec-5.4 spec-folders test-portable test-old \
  sanitize valgrind gc0 tsan units run-units symbols luacheck format format-check columns lint coverage fuzz fuzzers \
  build-fuzzers matrix test deps demo torture \
  test-hosts test-rocks world compilers dist bench bench-smoke bench-programs clean
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
