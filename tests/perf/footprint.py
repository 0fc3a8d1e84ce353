#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory and CPU time of an idle guest of 128 MiB, vmdeck and QEMU's TCG.   tests/perf/footprint.py

Memory is PSS of all processes of the machine without what backs guest RAM; wake-ups are voluntary context switches."""
import glob
import time

from perfvm import RUNS, SIDES, Guest, Table, append, command, initrd, kernel

SECONDS = 10
RAM_KIB = 128 << 10


def memory_kib(pids):
    """PSS of everything, and of the mappings as large as guest RAM or named after it."""
    total = ram = 0
    for pid in pids:
        is_ram = False
        with open("/proc/%d/smaps" % pid) as f:
            for line in f:
                words = line.split()
                if not words[0].endswith(":"):  # a mapping
                    low, high = (int(w, 16) for w in words[0].split("-"))
                    is_ram = "guest-ram" in line or (high - low) >> 10 == RAM_KIB
                elif words[0] == "Pss:":
                    total += int(words[1])
                    ram += int(words[1]) if is_ram else 0
    return total, ram


def switches(pids):
    total = 0
    for pid in pids:
        for path in glob.glob("/proc/%d/task/*/status" % pid):
            with open(path) as f:
                total += sum(int(line.split()[1]) for line in f if line.startswith("voluntary_ctxt"))
    return total


def measure(side):
    boot = (kernel(), initrd(), append(["stay"]))
    with Guest(command(side, memory=128, net=True, boot=boot)) as g:
        g.expect("GUEST-STAYS")
        time.sleep(3)
        pids, cpu = g.pids(), g.cpu_seconds()
        woken = switches(pids)
        time.sleep(SECONDS)
        total, ram = memory_kib(pids)
        return {"beyond": (total - ram) / 1024, "ram": ram / 1024, "cpu": 100 * (g.cpu_seconds() - cpu) / SECONDS,
                "woken": (switches(pids) - woken) / SECONDS}


def main():
    table = Table("Idle guest of 128 MiB")
    table.row("beyond", "memory beyond guest RAM, MiB", "vmdeck <= 40")
    table.row("ram", "guest RAM in use, MiB", "")
    table.row("cpu", "% of a core", "vmdeck <= 1")
    table.row("woken", "wake-ups a second", "")
    for _ in range(RUNS):
        for side in SIDES:
            table.add_all(side, measure(side))
    table.show()


main()
