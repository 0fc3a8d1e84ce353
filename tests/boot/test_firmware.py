#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SeaBIOS and GRUB's menu from the El Torito CD and from a virtio disk, under the software CPU and under KVM; arrow
keys through VNC."""
import os

from vmtest import Failure, Home, case, finish, media, report, vncprobe

ISO = media("grub/usr/lib/grub-rescue/grub-rescue-cdrom.iso")


def grub(accel, seconds):
    with Home() as home:
        with case("GRUB's menu from ATAPI under %s, reads as text" % accel):
            home.vmdeck("create", "grub", "--cdrom", ISO,
                        "--memory", "64MiB", "--accel", accel, "--vnc", "auto", "--no-net")
            home.vmdeck("start", "grub")
            home.wait_screen("grub", r"GNU GRUB +version[\s\S]*\*GNU/Linux", seconds)
        with case("an arrow key through VNC moves GRUB's selection under %s" % accel):
            vncprobe(home, "grub", "--keys", "Down")
            home.wait_screen("grub", r"\n.*\*GNU \(aka GNU/Hurd\)", seconds)
            vncprobe(home, "grub", "--keys", "Up")
            home.wait_screen("grub", r"\n.*\*GNU/Linux", seconds)
        with case("console --screen shows the menu and takes keys, under %s" % accel), \
                home.terminal("console", "grub", "--screen") as (proc, console):
            console.expect(r"\^\] .*leave", 20)
            console.expect(r"GNU GRUB +version", 20)
            console.send("\x1bOB")
            home.wait_screen("grub", r"\n.*\*GNU \(aka GNU/Hurd\)", seconds)
            console.send("\x1bOA\x1dq")
            console.expect("the VM goes on", 20)
            proc.wait(20)
            if proc.returncode != 0:
                raise Failure("status %d" % proc.returncode)


def virtio_disk(accel, seconds):
    """The CD image is a disk image as well; SeaBIOS rings the queue's doorbell for each of its sectors."""
    with Home() as home, case("GRUB's menu from a virtio disk under %s" % accel):
        home.vmdeck("create", "grub", "--disk", ISO + ",readonly", "--memory", "64MiB", "--accel", accel,
                    "--vnc", "off", "--no-net")
        home.vmdeck("start", "grub")
        home.wait_screen("grub", r"GNU GRUB +version[\s\S]*\*GNU/Linux", seconds)


grub("software", 60)
virtio_disk("software", 60)
if os.access("/dev/kvm", os.R_OK | os.W_OK):
    grub("kvm", 240)
    virtio_disk("kvm", 240)
else:
    report("GRUB under KVM", True, skip="no access to /dev/kvm")
finish()
