#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""--cpu-verify: a guest passes, a translation that is wrong on purpose is found, shown and stops the VM."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ctltest import counting_guest  # noqa: E402
from vmtest import Failure, Home, case, finish, wait_until  # noqa: E402


def passes(home, guest):
    with case("a guest runs in lock step"), \
            home.ephemeral(*guest, "--cpu-verify", "--debug-exit") as (proc, console):
        console.expect("abc", 60)
        console.send("e")
        proc.wait(60)
        if proc.returncode != (5 << 1) | 1:
            raise Failure("status %d\n%s" % (proc.returncode, open(home.path("stderr"), encoding="utf-8").read()))


def counted(home, guest):
    home.vmdeck("create", "counted", *guest)
    home.vmdeck("start", "counted", "--cpu-verify")
    with case("stats count what was compared"):
        def compared():
            v = json.loads(home.vmdeck("stats", "counted", "--json").stdout)["vm"]["stats"]["vcpus"][0]["translator"]
            return v["compared-instructions"] > v["compared"] > 1000
        wait_until("comparisons", compared, 30)
    home.vmdeck("kill", "-y", "counted")


def wrong(home, guest):
    home.env["VMDECK_CPU"] = "wrong=dec"
    home.vmdeck("create", "wrong", *guest)
    with case("a wrong translation is found and stops the VM"):
        home.vmdeck("start", "wrong", "--cpu-verify")
        wait_until("crashed", lambda: "wrong" in home.vmdeck("ls", "-q", "--state", "crashed").stdout, 30)
        log = home.vmdeck("logs", "wrong").stdout
        for what in (r"translator and interpreter differ in the block at 0x", r"ecx|rcx: interpreter \w+, translator \w+",
                     r"guest\* .*dec ecx", r"host  *0x", r"vCPU 0: the translator and the interpreter differ"):
            if not re.search(what, log):
                raise Failure("no %r in the log:\n%s" % (what, log))
    with case("the same guest is left alone without the option"):
        home.vmdeck("start", "wrong")
        p = home.vmdeck("start", "wrong", "--cpu-verify", check=False)
        if p.returncode != 4 or "is for its start" not in p.stderr:
            raise Failure("status %d: %s" % (p.returncode, p.stderr))
    del home.env["VMDECK_CPU"]


def refused(home, guest):
    with case("what cannot be compared is refused"):
        for args in (("--cpus", "2"), ("--accel", "kvm")):
            p = home.vmdeck("run", "--ephemeral", *guest, "--cpu-verify", *args, check=False)
            if p.returncode == 0 or "cpu.verify" not in p.stderr:
                raise Failure("%s: status %d: %s" % (args, p.returncode, p.stderr))


def main():
    with Home() as home:
        counting_guest(home.path("counter"))
        guest = ["--kernel", home.path("counter"), "--memory", "32MiB", "--vnc", "off", "--no-net"]
        passes(home, guest)
        counted(home, guest)
        wrong(home, guest)
        refused(home, guest)


main()
finish()
