# SPDX-License-Identifier: GPL-2.0-or-later
# Manual pages made from tables; a unit test fails when they are stale.

.PHONY: man
man: $(BUILD)/tests/unit/vmm/conf/test_man $(BUILD)/tests/unit/tui/test_cli_man ## write the manual pages
	$(BUILD)/tests/unit/vmm/conf/test_man print > man/vmdeck.yaml.5
	$(BUILD)/tests/unit/tui/test_cli_man print > man/vmdeck.1
