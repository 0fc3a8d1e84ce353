# SPDX-License-Identifier: GPL-2.0-or-later
# vmdeck: targets only; `make help` lists them. Objects go to build/$(MODE)/.

MODE    ?= rel
CC      ?= gcc
BUILD   ?= build/$(MODE)
PREFIX  ?= /usr/local
WERROR  ?=
ifeq ($(origin CC),default)
CC := gcc
endif

ifeq ($(MODE),fuzz)
CC := clang
endif

VERSION := 0.1.0

WARN := -Wall -Wextra -Wshadow -Wvla -Wformat=2 -Wimplicit-fallthrough -Wmissing-prototypes \
        -Wstrict-prototypes -Wundef -Wwrite-strings -Wpointer-arith
ifneq ($(findstring clang,$(CC)),clang)
# -Wno-tsan: fences order accesses to guest RAM, which ThreadSanitizer is told to leave alone
WARN += -Wmaybe-uninitialized -Wduplicated-cond -Wlogical-op -Wno-tsan
else
# kernel headers end in flexible arrays that we give room
WARN += -Wno-gnu-variable-sized-type-not-at-end
endif

OPT.rel   := -O2 -g -DNDEBUG -D_FORTIFY_SOURCE=2 -fstack-protector-strong
OPT.dbg   := -O0 -g3
OPT.asan  := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
OPT.ubsan := -O1 -g -fsanitize=undefined -fno-sanitize-recover=all
OPT.tsan  := -O1 -g -fsanitize=thread
OPT.cov   := -O0 -g --coverage
OPT.fuzz  := -O1 -g -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all -DVMDECK_FUZZ
LINK.asan := -fsanitize=address,undefined
LINK.ubsan := -fsanitize=undefined
LINK.tsan := -fsanitize=thread
LINK.cov  := --coverage
LINK.fuzz := -fsanitize=address,undefined
ifeq ($(OPT.$(MODE)),)
$(error unknown MODE "$(MODE)": rel, dbg, asan, ubsan, tsan, cov or fuzz)
endif

# Zydis has no .pc file in Debian, and that of libslirp asks for the headers of GLib, which we do not need
PKGS := jansson libuv vterm libvncserver yaml-0.1 ncursesw libpng
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null) -I/usr/include/slirp
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lZydis -lslirp

CFLAGS_ALL := -std=gnu11 -iquote . -iquote $(BUILD)/gen -fPIE -pthread -D_GNU_SOURCE \
              -DVMDECK_VERSION='"$(VERSION)"' -DVMDECK_DATADIR='"$(PREFIX)/share/vmdeck"' \
              $(WARN) $(WERROR) $(OPT.$(MODE)) $(PKG_CFLAGS) $(CFLAGS)
# -rdynamic: libvncserver must find our rfbRandomBytes (display/vnc_random.c)
LDFLAGS_ALL := -pie -pthread -rdynamic -Wl,-z,relro,-z,now $(LINK.$(MODE)) $(LDFLAGS)
LIBS_ALL    := $(PKG_LIBS) -lm -lutil

SRC  := $(sort $(shell find vmm display tui -name '*.c'))
OBJ  := $(SRC:%.c=$(BUILD)/%.o)
MAIN := $(BUILD)/tui/main.o
LIB  := $(BUILD)/libvmdeck.a

UNIT_SRC := $(sort $(shell find tests/unit tests/dev tests/cpu -name 'test_*.c' 2>/dev/null))
UNIT_BIN := $(UNIT_SRC:%.c=$(BUILD)/%)
TESTLIB_SRC := $(sort $(wildcard tests/lib/*.c))
TESTLIB_OBJ := $(TESTLIB_SRC:%.c=$(BUILD)/%.o)

.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all
all: $(BUILD)/vmdeck ## build build/$(MODE)/vmdeck and the link ./vmdeck
	@ln -sfn $(BUILD)/vmdeck vmdeck

$(BUILD)/vmdeck: $(MAIN) $(LIB)
	$(CC) $(LDFLAGS_ALL) -o $@ $(MAIN) $(LIB) $(LIBS_ALL)

$(LIB): $(filter-out $(MAIN),$(OBJ))
	@rm -f $@
	@ar rcsT $@ $^

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC $<"
	@$(CC) $(CFLAGS_ALL) $(CFLAGS_$(subst /,_,$*)) -MMD -MP -c -o $@ $<

# one test file, one binary; the archive gives it just the layers it names
$(BUILD)/tests/%: $(BUILD)/tests/%.o $(TESTLIB_OBJ) $(LIB)
	@$(CC) $(LDFLAGS_ALL) -o $@ $< $(TESTLIB_OBJ) $(LIB) $(LIBS_ALL) -lcmocka

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
include $(sort $(wildcard tests/mk/*.mk))

# what the fragments add to the tests
tests: $(TEST_EXTRA)

.PHONY: clean
clean: ## remove build/
	rm -rf build vmdeck compile_commands.json

.PHONY: help
help: ## this list
	@grep -hE '^[a-z][a-zA-Z0-9_-]*:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | sort | expand -t 16
