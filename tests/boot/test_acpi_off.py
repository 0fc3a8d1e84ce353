#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A kernel without ACPI, started directly: processors and interrupt routing come from the MP table."""
import re

from vmtest import Failure, Home, case, finish, media


def main():
    with Home() as home, case("Linux i386 with acpi=off finds two processors and the I/O APIC"):
        with open(home.path("disk.img"), "wb") as f:
            f.truncate(4 << 20)
        with home.ephemeral("--accel", "software", "--kernel", media("linux-i386", "vmlinuz"), "--initrd",
                            media("demo-initramfs-i386.gz"), "--append",
                            "console=ttyS0 quiet-shell net=off acpi=off pci=nomsi", "--cpus", "2", "--memory", "256MiB",
                            "--disk", home.path("disk.img"), "--no-net", "--vnc", "off") as (_, console):
            console.expect("vm# ", 120)
            if console.run("nproc")[1].strip() != "2":
                raise Failure("not two processors")
            status, out = console.run("dd if=/dev/vda of=/dev/null bs=64k")
            if status:
                raise Failure("the disk cannot be read:\n%s" % out)
            out = console.run("cat /proc/interrupts")[1]
            for what in r"4:.*IO-APIC +4-edge +ttyS0", r"IO-APIC +1[01]-fasteoi .*virtio":
                if not re.search(what, out):
                    raise Failure("no %s in:\n%s" % (what, out))


main()
finish()
