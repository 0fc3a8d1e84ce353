# SPDX-License-Identifier: GPL-2.0-or-later
# Checks. Each configuration is a sub-make with its own build folder, so that they can share the machine.

JOBS ?= $(shell nproc)

# programs that print TAP: scripts below tests/cli, tests/tui and tests/boot; slow ones are named slow_*
SCRIPT_TESTS := $(sort $(wildcard tests/cli/test_*.py tests/tui/test_*.py tests/boot/test_*.py))
SLOW_TESTS   := $(sort $(wildcard tests/cli/slow_*.py tests/tui/slow_*.py tests/boot/slow_*.py tests/cpu/slow_*.py))

.PHONY: tests
tests: all $(UNIT_BIN) ## build the unit, device and CPU tests of this MODE

.PHONY: objects
objects: $(OBJ)

.PHONY: media
media: ## fetch the guests that the tests boot into images/media
	@images/fetch.sh linux busybox linux-i386 busybox-i386 grub memtest installer
	@$(MAKE) -s demo-initramfs images/media/demo-initramfs-i386.gz

.PHONY: check
check: check-deps ## everything that must hold before a change lands; prints N passed, N failed, N skipped
	@echo "== building: gcc, clang, sanitizers"
	@$(MAKE) -s -j$(JOBS) CC=gcc WERROR=-Werror tests
	@$(MAKE) -s -j$(JOBS) CC=clang WERROR=-Werror BUILD=build/clang objects
	@$(MAKE) -s -j$(JOBS) CC=gcc WERROR=-Werror MODE=asan tests
	@$(MAKE) -s media
	@echo "== testing"
	@python3 tests/tools/check.py --jobs $(JOBS) --tsv build/check.tsv \
	    tests/tools/layers.py tests/tools/checksrc.py $(SCRIPT_TESTS) \
	    $(UNIT_BIN) $(TEST_RUNS) $(UNIT_BIN:$(BUILD)/%=build/asan/%)

.PHONY: check-unit
check-unit: tests ## unit, device and CPU tests of this MODE
	@python3 tests/tools/check.py --jobs $(JOBS) $(UNIT_BIN)

.PHONY: check-slow
check-slow: check-deps ## longer runs: installer, memtest86+, millions of random instructions
	@$(MAKE) -s -j$(JOBS) CC=gcc tests
	@$(MAKE) -s media
	@python3 tests/tools/check.py --jobs 1 --timeout 7200 --tsv build/check-slow.tsv $(SLOW_TESTS) $(SLOW_RUNS)

# Those that have threads. Not test_asm_jit: verify copies jump buffers, which ThreadSanitizer cannot follow.
TSAN_TESTS := unit/vmm/base/test_thread unit/vmm/net/test_user unit/tui/test_client cpu/test_lapic cpu/test_fetch \
              cpu/test_interp cpu/test_asm

.PHONY: check-tsan
check-tsan: check-deps ## threads under ThreadSanitizer: their tests, Linux with two vCPUs
	@$(MAKE) -s -j$(JOBS) CC=gcc MODE=tsan build/tsan/vmdeck $(TSAN_TESTS:%=build/tsan/tests/%)
	@$(MAKE) -s media
	@python3 tests/tools/check.py --jobs 1 --timeout 3600 $(TSAN_TESTS:%=build/tsan/tests/%) tests/boot/tsan.py

.PHONY: lint
lint: lint-deps ## cppcheck, clang static analyzer, source rules
	@python3 tests/tools/layers.py
	@python3 tests/tools/checksrc.py
	cppcheck -q -j$(JOBS) --std=c11 --enable=warning,performance,portability --inline-suppr \
	    --library=tests/tools/cppcheck.cfg \
	    --suppress=missingIncludeSystem --error-exitcode=1 -I. vmm display tui
	scan-build -o build/scan --status-bugs $(MAKE) -s MODE=dbg BUILD=build/scan-obj objects

.PHONY: format format-check
# Only lines that changed: tables and long lines that their authors laid out stay so.
FORMAT_BASE ?= HEAD
format: ## clang-format over the lines changed since FORMAT_BASE (HEAD)
	git clang-format --extensions c,h $(FORMAT_BASE)

format-check:
	git clang-format --extensions c,h --diff $(FORMAT_BASE)

compile_commands.json: $(SRC) ## for editors
	$(file >build/cflags,$(CFLAGS_ALL))
	@python3 tests/tools/compile_commands.py build/cflags $(CC) $(SRC) > $@
