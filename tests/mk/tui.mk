# SPDX-License-Identifier: GPL-2.0-or-later
# The terminal UI over a client that pretends, for tests/tui.

tests: $(BUILD)/tests/tui/fakedeck
