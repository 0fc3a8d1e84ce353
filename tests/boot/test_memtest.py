#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""memtest86+ runs a pass over a 32 MiB guest without an error under the software CPU."""
import re

from vmtest import Failure, Home, case, finish, media, wait_until

with Home() as home:
    with case("memtest86+ passes on 32 MiB"):
        home.vmdeck("create", "memtest", "--kernel", media("memtest/boot/memtest86+x64.bin"), "--memory", "32MiB",
                    "--accel", "software", "--vnc", "off", "--no-net")
        home.vmdeck("start", "memtest")
        screen = [""]

        def passed():
            screen[0] = home.screen("memtest")
            m = re.search(r"Errors: *(\d+)", screen[0])
            if m and int(m.group(1)):
                raise Failure("memtest86+ found errors:\n" + screen[0])
            m = re.search(r"Pass: *(\d+)", screen[0])
            return m and int(m.group(1)) >= 1

        try:
            wait_until("a pass", passed, 500)
        except Failure as e:
            raise Failure("%s\n%s" % (e, screen[0])) from None
finish()
