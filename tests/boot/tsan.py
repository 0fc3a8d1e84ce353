#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A Linux guest with two vCPUs in a vmdeck built with MODE=tsan, translated and interpreted: it works, and
ThreadSanitizer reports no data race in any process. For `make check-tsan`; takes minutes."""
import glob
import os
import re

# what vmtest reads
os.environ["VMDECK"] = os.path.abspath("build/tsan/vmdeck")
os.environ["VMTEST_PATIENCE"] = "10"

import linuxguest
from vmtest import Failure, case, finish, media

REPORTS = os.path.abspath("build/tsan/race")

for engine in ("translator", "interpreter"):
    for old in glob.glob(REPORTS + ".*"):
        os.remove(old)
    os.environ["TSAN_OPTIONS"] = "log_path=" + REPORTS
    os.environ["VMDECK_CPU"] = "interpret" if engine == "interpreter" else ""
    # slow as it is, the kernel would find that its timers cannot be right
    linuxguest.full("TSan, %s," % engine, media("linux/vmlinuz"), media("demo-initramfs.gz"), 2,
                    extra=("no_timer_check", "lpj=4000000"))
    with case("no data race with the %s" % engine):
        found = "".join(open(name).read() for name in glob.glob(REPORTS + ".*"))
        if found:
            raise Failure("\n".join(sorted(set(re.findall("SUMMARY: .*", found)))) + "\n" + found[:4000])
finish()
