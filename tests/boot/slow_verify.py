#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Whole guests with translator and interpreter in lock step: no difference up to where each is known to work.
Words choose among them: slow_verify.py x86-64 grub"""
import re
import sys

from vmtest import Failure, Home, case, finish, media, wait_until

GUESTS = {
    "grub": (["--cdrom", media("grub/usr/lib/grub-rescue/grub-rescue-cdrom.iso"), "--memory", "64MiB"],
             "screen", r"GNU GRUB +version[\s\S]*\*GNU/Linux"),
    "memtest": (["--kernel", media("memtest/boot/memtest86+x64.bin"), "--memory", "8MiB"],
                "screen", r"Pass: *[1-9][\s\S]*Errors: *0"),
    "x86-64": (["--kernel", media("linux/vmlinuz"), "--initrd", media("demo-initramfs.gz"), "--append",
                "console=ttyS0", "--memory", "256MiB"],
               "serial", r"vm# "),
    "i386": (["--kernel", media("linux-i386/vmlinuz"), "--initrd", media("demo-initramfs-i386.gz"), "--append",
              "console=ttyS0", "--memory", "256MiB"],
             "serial", r"vm# "),
    "installer": (["--kernel", media("installer/text/linux"), "--initrd", media("installer/text/initrd.gz"),
                   "--append", "vga=normal fb=false nomodeset", "--memory", "1GiB"],
                  "screen", r"Select a language"),
}
# a program of everything that busybox has, in the shell that the demo guests end in
WORKLOAD = ("cd /tmp; dd if=/dev/urandom of=r bs=64k count=16; gzip -c r | gunzip | cmp - r; sha256sum r; md5sum r; "
            "find /sys -type f | sort | tail -n 3; seq 20000 | awk '{ s += sqrt($1) } END { print s }'; sync")


def differs(home, name):
    """What the log says of a difference, as far as a report shows it; the rest is code."""
    text = home.vmdeck("logs", name).stdout
    at = text.find("verify: translator and interpreter differ")
    lines = [re.sub(r"^.*?verify: *", "", line) for line in text[at:].splitlines()]
    return "\n".join(lines[:45]) if at >= 0 else ""


def ended(home, name):
    return name in home.vmdeck("ls", "-q", "--state", "crashed").stdout.split()


def shown(home, name, where):
    return home.screen(name) if where == "screen" else home.vmdeck("logs", name, "--serial").stdout


def boot(home, name):
    args, where, goal = GUESTS[name]

    def arrived():
        if re.search(goal, shown(home, name, where)):
            return True
        if ended(home, name):
            raise Failure(differs(home, name) or "ended: " + home.vmdeck("logs", name).stdout)
        return False

    home.vmdeck("create", name, *args, "--vnc", "off", "--accel", "software")
    home.vmdeck("start", name, "--cpu-verify")
    wait_until("%s: %s" % (name, goal), arrived, 3600)
    if where == "serial":
        with home.serial(name) as console:
            console.expect("vm# ", 60)
            status, out = console.run(WORKLOAD, 900)
            if status:
                raise Failure("status %d:\n%s" % (status, differs(home, name) or out))
    home.vmdeck("kill", "-y", name)


for guest in sys.argv[1:] or GUESTS:
    with case("%s in lock step" % guest), Home() as h:
        boot(h, guest)
finish()
