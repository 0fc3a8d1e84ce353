#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""SeaBIOS, the El Torito CD and GRUB's menu, under the software CPU and under KVM; arrow keys through VNC."""
import os
import re
import subprocess

from vmtest import ROOT, Failure, Home, case, finish, media, report

PROBE = os.path.join(ROOT, "build/rel/tests/tools/vncprobe")


def vnc_address(home, name):
    m = re.search(r"(\d+\.\d+\.\d+\.\d+):(\d+)", home.vmdeck("view", "--print", name).stdout)
    if not m:
        raise Failure("view --print names no address")
    return m.group(1), int(m.group(2))


def vnc_password(home, name):
    for folder, _, names in os.walk(home.path("data")):
        if "vnc.pass" in names and os.path.basename(folder) == name:
            with open(os.path.join(folder, "vnc.pass"), encoding="utf-8") as f:
                return f.read().strip()
    raise Failure("no vnc.pass")


def vnc_keys(home, name, *keys):
    host, port = vnc_address(home, name)
    subprocess.run([PROBE, "%s:%d" % (host, port), "--password", vnc_password(home, name),
                    "--keys", ",".join(keys)], check=True, timeout=60)


def grub(accel, seconds):
    with Home() as home:
        with case("GRUB's menu from ATAPI under %s, reads as text" % accel):
            home.vmdeck("create", "grub", "--cdrom", media("grub/usr/lib/grub-rescue/grub-rescue-cdrom.iso"),
                        "--memory", "64MiB", "--accel", accel, "--vnc", "auto", "--no-net")
            home.vmdeck("start", "grub")
            home.wait_screen("grub", r"GNU GRUB +version[\s\S]*\*GNU/Linux", seconds)
        with case("an arrow key through VNC moves GRUB's selection under %s" % accel):
            vnc_keys(home, "grub", "Down")
            home.wait_screen("grub", r"\n.*\*GNU \(aka GNU/Hurd\)", seconds)
            vnc_keys(home, "grub", "Up")
            home.wait_screen("grub", r"\n.*\*GNU/Linux", seconds)


grub("software", 60)
if os.access("/dev/kvm", os.R_OK | os.W_OK):
    grub("kvm", 240)
else:
    report("GRUB under KVM", True, skip="no access to /dev/kvm")
finish()
