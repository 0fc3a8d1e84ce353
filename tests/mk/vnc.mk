# SPDX-License-Identifier: GPL-2.0-or-later
# A viewer for tests: libvncclient alone, none of our objects.

VNCPROBE := $(BUILD)/tests/tools/vncprobe
TEST_EXTRA += $(VNCPROBE)

$(VNCPROBE): tests/tools/vncprobe.c
	@mkdir -p $(@D)
	@$(CC) -std=gnu11 $(WARN) $(WERROR) -O2 -o $@ $< -lvncclient
