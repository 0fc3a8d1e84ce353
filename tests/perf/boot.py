#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Seconds from exec to a sign of life, vmdeck and QEMU's TCG in turn.   tests/perf/boot.py [kernel] [debian] [gtk]"""
import os
import shutil
import socket
import sys
import time

from perfvm import MEDIA, OUT, RUNS, SIDES, Guest, Table, append, command, die, find, initrd, kernel, picture

GTK = "usr/lib/debian-installer/images/12/amd64/gtk/debian-installer/amd64/"


def boot_kernel(side):
    with Guest(command(side, boot=(kernel(), initrd(), append(["stay"])))) as g:
        return g.expect("GUEST-UP", limit=120), g.cpu_seconds()


def debian(side):
    image = os.path.join(OUT, "debian.raw")
    master = find("Debian's disk (images/debian.sh %s/debian.raw makes it)" % MEDIA, os.path.join(MEDIA, "debian.raw"))
    shutil.copyfile(master, image)
    with Guest(command(side, disk=image, memory=1024)) as g:
        return g.expect("login:", limit=600), g.cpu_seconds()


def dialog(shot):
    """Whether this is the installer's list with its bar in green: mostly white, a line of green in the middle."""
    if not shot:
        return False
    width, height, pixels = shot
    white = sum(1 for i in range(0, len(pixels), 48) if pixels[i:i + 3] == b"\xff\xff\xff")
    if width < 640 or white < 0.4 * len(pixels) / 48:
        return False
    middle = (pixels[3 * (y * width + width // 2):][:3] for y in range(height // 8, height))
    return any(red < 96 and green > 96 and blue > 96 for red, green, blue in middle)


def gtk(side):
    files = [find("the installer", os.path.join(MEDIA, "installer/gtk", n), os.path.join(MEDIA, GTK, n))
             for n in ("linux", "initrd.gz")]
    with socket.create_server(("127.0.0.1", 0)) as free:
        vnc = free.getsockname()[1]
    with Guest(command(side, boot=(*files, "vga=788"), memory=1536, vnc=vnc)) as g:
        while g.read(0.5) is not None and time.monotonic() - g.start < 900:
            if dialog(picture(vnc)):
                return time.monotonic() - g.start, g.cpu_seconds()
            time.sleep(0.5)
    die("no dialog in " + side)


def main(what):
    table = Table("Boot")
    known = {"kernel": (boot_kernel, "cloud kernel to its init"), "debian": (debian, "Debian 12 to its login prompt"),
             "gtk": (gtk, "GTK installer to its first dialog")}
    for name in what:
        table.row(name, known[name][1] + ", s", "<= 0.5")
        table.row(name + " cpu", "    CPU time, s", "")
    for _ in range(RUNS):
        for name in what:
            for side in SIDES:
                seconds, cpu = known[name][0](side)
                table.add(side, name, seconds)
                table.add(side, name + " cpu", cpu)
    table.show()


main(sys.argv[1:] or ["kernel", "debian", "gtk"])
