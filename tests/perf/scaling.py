#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""CPU-bound processes on several vCPUs, vmdeck and QEMU's TCG in the same rounds.   tests/perf/scaling.py"""
import os

from perfvm import RUNS, SIDES, Table, append, command, initrd, kernel, results


def main():
    table = Table("Scaling (%d host CPUs)" % os.cpu_count())
    table.row("one", "two processes on 1 vCPU, s", "")
    table.row("two", "two processes on 2 vCPUs, s", "")
    table.row("scale", "    2 vCPUs / 1 vCPU", "vmdeck <= 0.55")
    table.row("four", "four processes on 4 vCPUs, s", "")
    table.row("late", "    worst delay of a 10 ms timer then, ms", "")
    files = (kernel(), initrd())
    for _ in range(RUNS):
        for side in SIDES:
            one = results(command(side, boot=(*files, append(["spin:2"]))))["spin2"]
            two = results(command(side, cpus=2, boot=(*files, append(["spin:2"]))))["spin2"]
            four = results(command(side, cpus=4, boot=(*files, append(["spin:4", "wake:4"]))))
            table.add_all(side, {"one": one, "two": two, "scale": two / one, "four": four["spin4"],
                                 "late": four["wake"]})
    table.show()


main()
