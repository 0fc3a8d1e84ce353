# SPDX-License-Identifier: GPL-2.0-or-later
# Manual pages made from tables; a unit test fails when they are stale.

.PHONY: man
man: $(BUILD)/tests/unit/vmm/conf/test_man ## write the manual pages that are made from tables
	$< print > man/vmdeck.yaml.5
