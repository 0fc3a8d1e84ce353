# SPDX-License-Identifier: GPL-2.0-or-later
# Benchmarks, never part of check.

BENCH ?= ../shared/bench
LIST  ?= public
RUNS  ?= 3

.PHONY: bench
bench: all images/media/linux/vmlinuz ## guest workloads: native, QEMU TCG and vmdeck (BENCH=, LIST=, RUNS=)
	@tests/perf/guest.sh $(BENCH)/run_guest.py $(LIST) $(RUNS)

.PHONY: bench-io
bench-io: all ## disk and network in the guest, vmdeck and QEMU's TCG (RUNS=, MEDIA=)
	@RUNS=$(RUNS) python3 tests/perf/io.py
