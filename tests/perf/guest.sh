#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Guest workloads natively, in QEMU's TCG and in vmdeck, in the same rounds: tests/perf/guest.sh RUNNER LIST RUNS.
# RUNNER is the guest benchmarks' run_guest.py; the result goes to build/bench/summary.tsv.
set -eu
runner=$1 list=$2 runs=$3
kernel=images/media/linux/vmlinuz

die() { echo "bench: $*" >&2; exit 1; }

[ -e "$runner" ] || die "no guest benchmarks at $runner; say where run_guest.py is: make bench BENCH=FOLDER"
[ -e "$kernel" ] || die "no guest kernel; run: images/fetch.sh linux busybox"
modules=$(find -L images/media/linux -maxdepth 4 -type d -path "*/lib/modules/*" -prune -print 2>/dev/null | head -n 1)
echo 'int main(void) { return 0; }' | gcc -m32 -x c - -o /dev/null 2>/dev/null ||
    die "no 32-bit C library; install the package gcc-multilib, or leave out crcsha32 with make bench LIST=..."

set -- --kernel "$kernel" --list "$list" --runs "$runs" --out build/bench ${modules:+--modules "$modules"}
if command -v qemu-system-x86_64 >/dev/null; then
    set -- "$@" --base tcg --vmm "tcg=qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m {mem} -smp {smp} -kernel {kernel} -initrd {initrd} -append {cmdline} -nographic -no-reboot"
else
    echo "bench: no QEMU to compare with: install the package qemu-system-x86; native and vmdeck only" >&2
fi
rm -f build/bench/raw.tsv
exec python3 "$runner" "$@" --vmm "vmdeck=./vmdeck run --ephemeral --kernel {kernel} --initrd {initrd} --append {cmdline} --memory {mem}MiB --cpus {smp} --accel software --serial stdio --vnc off --no-net --disk {disk}"
