#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SeaBIOS, the El Torito CD and GRUB's menu, under the software CPU and under KVM; arrow keys through VNC."""
import os

from vmtest import Home, case, finish, media, report, vncprobe

def grub(accel, seconds):
    with Home() as home:
        with case("GRUB's menu from ATAPI under %s, reads as text" % accel):
            home.vmdeck("create", "grub", "--cdrom", media("grub/usr/lib/grub-rescue/grub-rescue-cdrom.iso"),
                        "--memory", "64MiB", "--accel", accel, "--vnc", "auto", "--no-net")
            home.vmdeck("start", "grub")
            home.wait_screen("grub", r"GNU GRUB +version[\s\S]*\*GNU/Linux", seconds)
        with case("an arrow key through VNC moves GRUB's selection under %s" % accel):
            vncprobe(home, "grub", "--keys", "Down")
            home.wait_screen("grub", r"\n.*\*GNU \(aka GNU/Hurd\)", seconds)
            vncprobe(home, "grub", "--keys", "Up")
            home.wait_screen("grub", r"\n.*\*GNU/Linux", seconds)


grub("software", 60)
if os.access("/dev/kvm", os.R_OK | os.W_OK):
    grub("kvm", 240)
else:
    report("GRUB under KVM", True, skip="no access to /dev/kvm")
finish()
