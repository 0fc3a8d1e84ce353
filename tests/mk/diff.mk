# SPDX-License-Identifier: GPL-2.0-or-later
# The differential test of the software CPU. tests/cpu/test_diff.c makes a short run of it.

DIFFTEST := $(BUILD)/tests/cpu/difftest
DIFF_OBJ := $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard tests/cpu/diff*.c)))
TEST_EXTRA += $(DIFFTEST)

$(DIFFTEST): $(DIFF_OBJ) $(LIB)
	@$(CC) $(LDFLAGS_ALL) -o $@ $(DIFF_OBJ) $(LIB) $(LIBS_ALL)

$(BUILD)/tests/cpu/test_diff: | $(DIFFTEST)

.PHONY: difftest
difftest: $(DIFFTEST) ## ten million random instructions, and a million blocks, against this processor
	$< --count 10000000
	$< --blocks 1000000
