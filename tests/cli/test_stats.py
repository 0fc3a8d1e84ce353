#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vmdeck stats: counters of a running VM, and where its vCPU spends its time; and the map for perf."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ctltest import LOAD, Control, counting_guest  # noqa: E402
from vmtest import Failure, Home, case, finish, wait_until  # noqa: E402


def stats(home, *args):
    return json.loads(home.vmdeck("stats", "one", "--json", *args).stdout)["vm"]["stats"]


def counters(home):
    with case("counters of the VM and of its vCPU"):
        wait_until("a translation", lambda: stats(home)["vcpus"][0]["translator"]["blocks"], 20)
        v = stats(home)
        c = v["vcpus"][0]
        t = c["translator"]
        if v["uptime-ns"] <= 0 or v["cpu-ns"] <= 0 or c["pio"] <= 0 or c["exits"] < c["pio"] or c["tlb"]["slots"] < 16:
            raise Failure(json.dumps(v))
        if not 0 < t["code-used"] < t["code-size"] or t["host-bytes"] < t["guest-bytes"] or \
                t["instructions"] < t["blocks"] or sum(t["exits"].values()) <= 0 or "profile" in c:
            raise Failure(json.dumps(c))
    with case("they rise"):
        wait_until("more port I/O", lambda: stats(home)["vcpus"][0]["pio"] > c["pio"], 20)


def profile(home):
    with case("samples find the guest's loop"):
        p = stats(home, "--cpu")["vcpus"][0]["profile"]
        if p["samples"] < 20 or sum(p["doing"].values()) != p["samples"] or p["doing"]["translated"] == 0:
            raise Failure(json.dumps(p))
        hot = p["hot"][0]
        if not LOAD <= int(hot["address"], 16) < LOAD + 200 or hot["bits"] != 32 or hot["cpl"] != 0 or \
                hot["samples"] < p["doing"]["translated"] / 2:
            raise Failure(json.dumps(p))
    with case("as text"):
        text = home.vmdeck("stats", "one", "--cpu").stdout
        for what in ("CPU time", "vCPU 0:", "code memory", "TLB", "hottest blocks", hot["address"]):
            if what not in text:
                raise Failure("no %r in:\n%s" % (what, text))


def refused(home):
    with case("one at a time, and not while paused"), Control(home, "one") as a, Control(home, "one") as b:
        a.send(b'{"execute": "x-stats", "arguments": {"sample-ms": 500}, "id": 1}\n')
        wait_until("the other one", lambda: "error" in b.execute("x-stats", sample_ms=1), 5)
        if "vcpus" not in a.answer()["return"] or "error" not in b.execute("x-stats", sample_ms=0):
            raise Failure("bad answers")
        b.call("stop")
        if "error" not in b.execute("x-stats", sample_ms=10):
            raise Failure("sampled while paused")
        if "vCPU 0:" not in home.vmdeck("stats", "one", "--cpu").stdout:
            raise Failure("no counters while paused")
    home.vmdeck("kill", "-y", "one")
    with case("of a VM that is off there are none"):
        p = home.vmdeck("stats", "one", check=False)
        if p.returncode == 0 or "not running" not in p.stderr:
            raise Failure("status %d: %s" % (p.returncode, p.stderr))


def perf_map(home):
    home.env["VMDECK_CPU"] = "perfmap"
    home.vmdeck("start", "one")
    del home.env["VMDECK_CPU"]
    with case("a map for perf names translated code"), Control(home, "one") as c:
        path = "/tmp/perf-%d.map" % c.call("x-info")["pids"]["vm"]
        hot = c.call("x-stats", sample_ms=1000)["vcpus"][0]["profile"]["hot"][0]["address"]
        with open(path, encoding="ascii") as f:
            lines = [line.split() for line in f]
        os.unlink(path)
        names = {name: (int(start, 16), int(size, 16)) for start, size, name in lines}
        if "vmdeck_stubs" not in names or "guest_kernel_%s" % hot not in names:
            raise Failure("no %s among %d lines" % (hot, len(lines)))
        ends = 0
        for start, size in sorted(names.values()):
            if start < ends:
                raise Failure("two blocks at 0x%x" % start)
            ends = start + size
    home.vmdeck("kill", "-y", "one")


def main():
    with Home() as home:
        counting_guest(home.path("counter"))
        home.vmdeck("create", "one", "--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software", "--vnc",
                    "off", "--no-net")
        home.vmdeck("start", "one")
        counters(home)
        profile(home)
        refused(home)
        perf_map(home)


main()
finish()
