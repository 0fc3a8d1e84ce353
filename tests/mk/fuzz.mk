# SPDX-License-Identifier: GPL-2.0-or-later
# Fuzz targets: tests/fuzz/fuzz_X.c has LLVMFuzzerTestOneInput; its corpus, if any, is tests/fuzz/corpus/X.
# `make fuzz` builds them with clang's libFuzzer, ASan and UBSan, and runs each for FUZZ_SECONDS.

FUZZ_SECONDS ?= 20
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN := $(FUZZ_SRC:tests/fuzz/%.c=build/fuzz/tests/fuzz/%)

build/fuzz/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c FORCE
	@$(MAKE) -s MODE=fuzz build/fuzz/libvmdeck.a build/fuzz/tests/fuzz/fuzz_$*.o
	@clang -pie -pthread -rdynamic -fsanitize=address,undefined,fuzzer -o $@ \
	    build/fuzz/tests/fuzz/fuzz_$*.o build/fuzz/libvmdeck.a $(LIBS_ALL)

.PHONY: FORCE
FORCE:

.PHONY: fuzz
fuzz: $(FUZZ_BIN) ## build and run every fuzz target for FUZZ_SECONDS
	@set -e; for f in $(FUZZ_BIN); do \
	    name=$${f##*/fuzz_}; corpus=build/fuzz/corpus/$$name; mkdir -p $$corpus; \
	    seeds=; [ ! -d tests/fuzz/corpus/$$name ] || seeds=tests/fuzz/corpus/$$name; \
	    echo "== $$name"; \
	    $$f -max_total_time=$(FUZZ_SECONDS) -rss_limit_mb=1024 -timeout=10 -verbosity=0 -print_final_stats=1 \
	        -artifact_prefix=build/fuzz/ $$corpus $$seeds; \
	done

# The same targets with a plain main, which replays the corpus: part of `make check`, with gcc and under ASan.
REPLAY_BIN := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(BUILD)/tests/fuzz/replay_%)
TEST_EXTRA += $(REPLAY_BIN)
TEST_RUNS += $(REPLAY_BIN) $(REPLAY_BIN:$(BUILD)/%=build/asan/%)

$(REPLAY_BIN): $(BUILD)/tests/fuzz/replay_%: $(BUILD)/tests/fuzz/fuzz_%.o $(BUILD)/tests/fuzz/replay.o $(LIB)
	@$(CC) $(LDFLAGS_ALL) -o $@ $(filter %.o,$^) $(LIB) $(LIBS_ALL)
