# The campaigns' own programs and libraries; spec/faults/run makes them.

out = build/faults
flags = -std=gnu99 -Wall -Wextra -O1 -g -fno-builtin
lua = $(shell pkg-config $(1) $(2))

all: $(out)/sys.so $(out)/inject.so $(out)/oom-5.4 $(out)/oom-5.1 $(out)/oom-jit

$(out)/%.so: spec/faults/%.c
	@mkdir -p $(@D)
	$(CC) $(flags) -fPIC -shared $(call lua,--cflags,lua5.4) -o $@ $< -ldl

oom_5.4 = lua5.4
oom_5.1 = lua5.1
oom_jit = luajit

$(out)/oom-%: spec/faults/oom.c
	@mkdir -p $(@D)
	$(CC) $(flags) $(call lua,--cflags,$(oom_$*)) -o $@ $< $(call lua,--libs,$(oom_$*)) -ldl -lm

.PHONY: all
