# SPDX-License-Identifier: GPL-2.0-or-later
# Benchmarks, never part of check.

BENCH ?= ../shared/bench
LIST  ?= public
RUNS  ?= 3

.PHONY: bench
bench: all images/media/linux/vmlinuz ## guest workloads: native, QEMU TCG and vmdeck (BENCH=, LIST=, RUNS=)
	@tests/perf/guest.sh $(BENCH)/run_guest.py $(LIST) $(RUNS)

# These take MEDIA=FOLDER too, where images/media has not what they need, and print ours, TCG's and the ratio.
.PHONY: bench-io bench-boot bench-scaling bench-footprint
bench-io: all ## disk and network in the guest, vmdeck and QEMU's TCG (RUNS=)
	@RUNS=$(RUNS) python3 tests/perf/io.py
bench-boot: all $(BUILD)/tests/tools/vncprobe ## seconds to init, to Debian's login and to the installer's dialog, likewise
	@RUNS=$(RUNS) python3 tests/perf/boot.py
bench-scaling: all ## CPU-bound processes on 1, 2 and 4 vCPUs, likewise
	@RUNS=$(RUNS) python3 tests/perf/scaling.py
bench-footprint: all ## memory and CPU time of an idle guest, likewise
	@RUNS=$(RUNS) python3 tests/perf/footprint.py
