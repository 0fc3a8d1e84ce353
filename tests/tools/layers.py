#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The include check: dependencies point one way, each third-party header has one home.

Prints TAP; a wrong include is reported as file:line."""
import os
import re
import sys

# folder -> what its files may include besides their own folder (prefixes of include paths)
BASE = ["vmm/base/"]
LAYERS = {
    "vmm/base": [],
    "vmm/mem": BASE,
    "vmm/state": BASE,
    "vmm/block": BASE,
    "vmm/net": BASE,
    "vmm/chr": BASE,
    "vmm/conf": BASE,
    "vmm/sandbox": BASE,
    "vmm/bus": BASE + ["vmm/mem/", "vmm/state/"],
    "vmm/cpu": BASE + ["vmm/mem/", "vmm/state/"],
    "vmm/dev": BASE + ["vmm/mem/", "vmm/state/", "vmm/bus/", "vmm/block/blk.h", "vmm/net/netdev.h", "vmm/net/frame.h",
                       "vmm/chr/chr.h", "display/surface.h", "display/input.h"],
    "vmm/accel": BASE + ["vmm/mem/", "vmm/state/", "vmm/bus/", "vmm/cpu/"],
    "vmm/fw": BASE + ["vmm/mem/", "vmm/state/", "vmm/bus/", "vmm/dev/", "vmm/cpu/x86.h"],
    "vmm/vm": BASE + ["vmm/mem/", "vmm/state/", "vmm/bus/", "vmm/dev/", "vmm/accel/", "vmm/fw/",
                      "vmm/cpu/x86.h", "vmm/cpu/cpuid.h", "vmm/conf/", "vmm/block/", "vmm/net/",
                      "vmm/chr/", "vmm/sandbox/", "display/"],
    "vmm/ctl": ["vmm/", "display/"],
    "display": BASE,
    "tui/client": BASE + ["vmm/conf/", "vmm/ctl/", "display/keymap.h", "display/text.h"],
    "tui/ui": BASE,
    "tui/screens": BASE + ["vmm/conf/", "tui/ui/", "tui/client/", "display/text.h", "display/keymap.h",
                           "vmm/accel/accel.h"],
    "tui/cli": BASE + ["vmm/conf/", "vmm/ctl/", "tui/client/", "tui/screens/", "display/", "vmm/accel/accel.h",
                       "vmm/cpu/cpuid.h", "vmm/block/"],
    "tui": ["vmm/", "display/", "tui/"],
}
# upward edges that design.md forbids even for the widest rows
FORBIDDEN = {"vmm/ctl": ["vmm/dev/", "vmm/cpu/cpu_priv.h"]}

HOMES = {
    r"^yaml\.h$": ["vmm/conf/"],
    r"^rfb/": ["display/vnc"],
    r"^(curses|ncurses|ncursesw|term)[./]": ["tui/ui/"],
    r"^linux/kvm\.h$": ["vmm/accel/kvm"],
    r"^(slirp/)?libslirp\.h$": ["vmm/net/"],
    r"^Zydis": ["vmm/cpu/decode/", "vmm/cpu/interp/vec", "vmm/cpu/jit/"],
    r"^uv\.h$": ["vmm/base/loop"],
    r"^png\.h$": ["display/"],
    r"^vterm\.h$": ["tui/ui/", "tui/screens/"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+(["<])([^">]+)[">]')


def layer_of(path):
    best = None
    for name in LAYERS:
        if path.startswith(name + "/") and (best is None or len(name) > len(best)):
            best = name
    return best


def check(path, problems):
    layer = layer_of(path)
    if layer is None:
        problems.append("%s: in no layer" % path)
        return
    with open(path, encoding="utf-8") as f:
        for number, line in enumerate(f, 1):
            m = INCLUDE.match(line)
            if not m:
                continue
            quote, target = m.groups()
            where = "%s:%d: includes %s" % (path, number, target)
            for pattern, homes in HOMES.items():
                if re.match(pattern, target) and not any(path.startswith(h) for h in homes):
                    problems.append("%s outside its home %s" % (where, ", ".join(homes)))
            if quote != '"':
                continue
            if "/" not in target:
                if target.endswith((".h", ".def")) and not os.path.exists(target):
                    pass  # generated
                continue
            allowed = [layer + "/"] + LAYERS[layer]
            banned = FORBIDDEN.get(layer, [])
            if not any(target.startswith(a) for a in allowed) or any(target.startswith(b) for b in banned):
                problems.append("%s, above or beside its layer %s" % (where, layer))


def main():
    problems = []
    count = 0
    for top in ("vmm", "display", "tui"):
        for folder, _, names in os.walk(top):
            for name in sorted(names):
                if name.endswith((".c", ".h", ".def")):
                    check(os.path.join(folder, name), problems)
                    count += 1
    for p in problems:
        print("# " + p)
    print("%s - includes of %d files point downward" % ("not ok" if problems else "ok", count))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
