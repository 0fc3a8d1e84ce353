#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line by itself: arguments, output, messages, exit status. Nothing runs a guest here."""
import json
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "boot"))
from vmtest import Failure, Home, case, finish  # noqa: E402

# (arguments, status, pattern of standard output, pattern of standard error); "" matches nothing said
TABLE = [
    (["version"], 0, r"^vmdeck \d+\.\d+\.\d+$", ""),
    (["--version"], 0, r"^vmdeck \d", ""),
    (["help"], 0, r"usage: vmdeck[\s\S]*  create [\s\S]*  version ", ""),
    (["--help"], 0, r"usage: vmdeck", ""),
    (["help", "run"], 0, r"--ephemeral[\s\S]*--kernel FILE[\s\S]*--debug-exit", ""),
    (["run", "--help"], 0, r"usage: vmdeck run NAME \| --ephemeral", ""),
    (["help", "yaml"], 0, r"memory  \(size, default 512MiB\)", ""),
    (["help", "control"], 0, r"query-status[\s\S]*x-serial", ""),
    (["help", "exit"], 0, r" 8  busy", ""),
    (["help", "nothing"], 2, "", r'no help on "nothing"'),
    (["strat", "x"], 2, "", r'unknown command "strat"\nhint: did you mean start\?'),
    (["destroy", "x"], 2, "", r"say kill to power off at once, rm to remove"),
    (["ls", "--jsno"], 2, "", r'unknown option "--jsno"\nhint: did you mean --json\?'),
    (["ls", "-z"], 2, "", r'unknown option "-z"'),
    (["ls", "--json=1"], 2, "", r"--json takes no value"),
    (["ls", "extra"], 2, "", r'unexpected "extra"'),
    (["ls", "--state", "tired"], 2, "", r'"tired" is no state'),
    (["start"], 2, "", r"use: vmdeck start NAME\.\.\."),
    (["logs", "x", "-n"], 2, "", r"-n needs a value"),
    (["ls"], 0, r"^NAME +STATE +CPUS +MEMORY", ""),
    (["ls", "-q"], 0, r"^$", ""),
    (["start", "none"], 3, "", r'there is no VM "none"\nhint: list them with: vmdeck ls'),
    (["stop", "none"], 3, "", r'there is no VM "none"'),
    (["kill", "-y", "none"], 3, "", r'there is no VM "none"'),
    (["info", "none"], 3, "", r'there is no VM "none"'),
    (["rm", "-y", "none"], 3, "", r'there is no VM "none"'),
    (["console", "none"], 3, "", r'there is no VM "none"'),
    (["console", "none", "--screen"], 3, "", r'there is no VM "none"'),
    (["console", "none", "--screen", "--port", "2"], 2, "", r"exclude each other"),
    (["logs", "none"], 3, "", r'there is no VM "none"'),
    (["start", "../etc"], 5, "", r"name"),
    (["create", "UPPER"], 5, "", r"name"),
    (["create", "a", "--memory", "512"], 5, "", r"--memory: 512 needs a unit"),
    (["create", "a", "--cpus", "0"], 2, "", r'--cpus: "0" is not a whole number from 1 to 64'),
    (["create", "a", "--accel", "xen"], 2, "", r'--accel: "xen" is none of auto, kvm, software'),
    (["create", "a", "--cpu", "i386"], 5, "", r"cpu"),
    (["create", "a", "--serial", "pty"], 2, "", r"write stdio, console, none or file:FILE"),
    (["create", "a", "--serial", "stdio"], 2, "", r"a VM in the background has no terminal"),
    (["create", "a", "--vnc", "5900"], 2, "", r"write auto, off, HOST:PORT"),
    (["create", "a", "--vnc", "127.0.0.1:99999"], 2, "", r"--vnc: cannot understand"),
    (["create", "a", "--forward", "22"], 2, "", r"write \[HOST:\]PORT:GUESTPORT"),
    (["create", "a", "--forward", "1:2/sctp"], 2, "", r"neither /tcp nor /udp"),
    (["create", "a", "--no-net", "--forward", "1:2"], 2, "", r"--forward needs a network card"),
    (["create", "a", "--disk", "x,bus=scsi"], 2, "", r'unknown "bus=scsi"'),
    (["create", "a", "--disk", "/none/x.raw"], 3, "", r'there is no "/none/x.raw"'),
    (["create", "a", "--disk", "/proc/x.raw,size=1MiB"], 3, "", r'cannot make "/proc/x.raw"'),
    (["create", "a", "--set", "colour=red"], 2, "", r'there is no key "colour"'),
    (["ls", "-q"], 0, r"^$", ""),  # none of these left anything
    (["run"], 2, "", r"a NAME or --ephemeral is missing"),
    (["run", "--ephemeral", "x"], 2, "", r"either a NAME or --ephemeral"),
    (["run", "--ephemeral", "--disk", "1MiB"], 2, "", r"an ephemeral VM keeps no image"),
    (["validate", "none"], 3, "", r'there is no VM "none"'),
    (["doctor"], 0, r"kvm [\s\S]*firmware [\s\S]*libraries ", ""),
    (["create", "web", "--disk", "16MiB", "--memory", "64MiB", "-p", "2222:22", "--set", "description=first"], 0,
     r"^$", ""),
    (["create", "web"], 4, "", r'there is a VM "web" already'),
    (["ls", "-q"], 0, r"^web$", ""),
    (["ls", "--state", "off"], 0, r"web +off +1 +64M +16M", ""),
    (["ls", "-q", "--state", "running"], 0, r"^$", ""),
    (["validate", "web"], 0, r"vm.yaml: correct", ""),
    (["info", "web"], 0, r"web: off[\s\S]*memory: 64MiB", ""),
    (["info", "--effective", "web"], 0, r"cpu.model +x86-64-v3", ""),
    (["stop", "web"], 0, r"^$", ""),   # off already
    (["kill", "web"], 0, r"^$", ""),
    (["pause", "web"], 4, "", r'"web" is not running\nhint: start it with: vmdeck start web'),
    (["reset", "web"], 4, "", r'"web" is not running'),
    (["screenshot", "web", "--text"], 4, "", r'"web" is not running'),
    (["type", "web", "x"], 4, "", r'"web" is not running'),
    (["view", "web"], 4, "", r'"web" is not running'),
    (["logs", "web"], 3, "", r"has not run yet"),
    (["pause", "web", "none"], 9, "", r'"web" is not running[\s\S]*there is no VM "none"'),
    (["rm", "web"], 2, "", r"add -y to remove it"),
    (["rm", "-y", "web"], 0, r"^$", ""),
    (["ls", "-q"], 0, r"^$", ""),
]


def check(home, args, status, out, err):
    with case("vmdeck " + " ".join(args)):
        p = home.vmdeck(*args, check=False, stdin="")
        if p.returncode != status:
            raise Failure("status %d instead of %d\n%s%s" % (p.returncode, status, p.stdout, p.stderr))
        for what, text, pattern in (("output", p.stdout, out), ("errors", p.stderr, err)):
            if not (re.search(pattern, text, re.M) if pattern else text == ""):
                raise Failure("%s do not match %r:\n%s" % (what, pattern, text))


def machine_output(home):
    with case("ls, info, doctor, version and errors as JSON"):
        home.vmdeck("create", "j", "--disk", "1MiB")
        vm = json.loads(home.vmdeck("ls", "--json").stdout)
        if vm["schemaVersion"] != 1 or vm["vms"][0]["name"] != "j" or vm["vms"][0]["state"] != "off":
            raise Failure(vm)
        keys = {"name", "dir", "state", "problem", "pid", "cpus", "memory", "memoryUsed", "diskSize", "diskUsed",
                "uptimeSeconds", "accel", "vnc", "viewers"}
        if set(vm["vms"][0]) != keys or vm["vms"][0]["memory"] != 512 << 20:
            raise Failure(vm)
        info = json.loads(home.vmdeck("info", "--json", "j").stdout)
        if info["vm"]["config"]["memory"] != "512MiB":
            raise Failure(info)
        json.loads(home.vmdeck("doctor", "--json").stdout)
        if "version" not in json.loads(home.vmdeck("version", "--json").stdout):
            raise Failure("version")
        p = home.vmdeck("info", "--json", "none", check=False)
        error = json.loads(p.stdout)["error"]
        if p.returncode != 3 or error["code"] != "not-found" or error["vm"] != "none" or not error["hint"]:
            raise Failure(p.stdout)


def broken_yaml(home):
    with case("validate shows every mistake with line and column"):
        path = home.path("bad.yaml")
        with open(path, "w", encoding="utf-8") as f:
            f.write("version: 1\nmemory: 8000\nram: 2\n")
        p = home.vmdeck("validate", path, check=False)
        if p.returncode != 5 or "bad.yaml:2:9: error: " not in p.stdout or "bad.yaml:3:1: error: " not in p.stdout:
            raise Failure("%d %s" % (p.returncode, p.stdout))
        v = json.loads(home.vmdeck("validate", "--json", path, check=False).stdout)
        if v["valid"] or [(x["line"], x["column"]) for x in v["errors"]] != [(2, 9), (3, 1)]:
            raise Failure(v)
    with case("a VM with a broken vm.yaml is listed as invalid and does not start"):
        folder = home.path("data/vmdeck/vms/bad")
        os.makedirs(folder)
        os.rename(path, folder + "/vm.yaml")
        if not re.search(r"bad +invalid .*vm.yaml:2:9", home.vmdeck("ls").stdout):
            raise Failure(home.vmdeck("ls").stdout)
        p = home.vmdeck("start", "bad", check=False)
        if p.returncode != 5 or not re.search(r'cannot start "bad": .*vm.yaml:2:9:.*\n'
                                              r'hint: see all 2 mistakes with: vmdeck validate bad', p.stderr):
            raise Failure("%d %s" % (p.returncode, p.stderr))


def protection(home):
    with case("a protected VM is not removed"):
        home.vmdeck("create", "p", "--set", "protected=true")
        p = home.vmdeck("rm", "-y", "p", check=False)
        if p.returncode != 4 or "is protected" not in p.stderr:
            raise Failure(p.stderr)


with Home() as home:
    for row in TABLE:
        check(home, *row)
    machine_output(home)
    broken_yaml(home)
    protection(home)
finish()
