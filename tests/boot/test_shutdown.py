#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host asks a guest to power off: by a signal to the foreground, by a signal to the supervisor, by stop."""
import json
import os
import signal

from vmtest import Failure, Home, case, finish, media, wait_until

KERNEL, INITRD = media("linux", "vmlinuz"), media("demo-initramfs.gz")


def listed(home, name, what):
    return [vm for vm in json.loads(home.vmdeck("ls", "--json").stdout)["vms"] if vm["name"] == name][0][what]


with Home() as home:
    with case("SIGTERM to vmdeck run: Linux powers itself off, status 0"):
        with home.ephemeral("--kernel", KERNEL, "--initrd", INITRD, "--append", "console=ttyS0 net=off", "--memory",
                            "192MiB", "--vnc", "off", "--no-net") as (proc, console):
            console.expect("vm# ", 120)
            proc.send_signal(signal.SIGTERM)
            console.expect("reboot: Power down", 60)
            if proc.wait(20) != 0:
                raise Failure("status %d" % proc.returncode)
    home.vmdeck("create", "linux", "--kernel", KERNEL, "--initrd", INITRD, "--append", "console=ttyS0 net=off",
                "--memory", "192MiB", "--vnc", "off", "--no-net")
    for what in ("a signal to its supervisor", "stop"):
        with case("%s: Linux powers itself off" % what):
            home.vmdeck("start", "linux")
            with home.serial("linux") as console:
                console.expect("vm# ", 120)
            if what == "stop":
                home.vmdeck("stop", "linux")
            else:
                os.kill(listed(home, "linux", "pid"), signal.SIGTERM)
            wait_until("off", lambda: listed(home, "linux", "state") == "off", 60)
            if "the VM has ended: poweroff" not in home.vmdeck("logs", "linux").stdout.splitlines()[-1]:
                raise Failure(home.vmdeck("logs", "linux").stdout)
finish()
