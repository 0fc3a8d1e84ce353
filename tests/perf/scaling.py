#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU-bound processes on several vCPUs, vmdeck and QEMU's TCG in the same rounds.   tests/perf/scaling.py"""
import os

from perfvm import RUNS, SIDES, Guest, Table, append, command, initrd, kernel, results_of


def run(side, boot, cpus, words):
    """The guest's results and the CPU time that the machine took for them, which a busy host does not change much."""
    with Guest(command(side, cpus=cpus, boot=(*boot, append(words + ["stay"])))) as g:
        g.expect("GUEST-UP")
        before = g.cpu_seconds()
        g.expect("GUEST-STAYS")
        return dict(results_of(g), cpu=g.cpu_seconds() - before)


def main():
    table = Table("Scaling (%d host CPUs)" % os.cpu_count())
    table.row("one", "two processes on 1 vCPU, s", "")
    table.row("two", "two processes on 2 vCPUs, s", "")
    table.row("scale", "    2 vCPUs / 1 vCPU", "vmdeck <= 0.55")
    table.row("cpu", "    the same in CPU time, 1 is ideal", "")
    table.row("four", "four processes on 4 vCPUs, s", "")
    table.row("late", "    worst delay of a 10 ms timer then, ms", "")
    boot = (kernel(), initrd())
    for _ in range(RUNS):
        for side in SIDES:
            one = run(side, boot, 1, ["spin:2"])
            two = run(side, boot, 2, ["spin:2"])
            four = run(side, boot, 4, ["spin:4", "wake:4"])
            table.add_all(side, {"one": one["spin2"], "two": two["spin2"], "scale": two["spin2"] / one["spin2"],
                                 "cpu": two["cpu"] / one["cpu"], "four": four["spin4"], "late": four["wake"]})
    table.show()


main()
