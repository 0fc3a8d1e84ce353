#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random instructions on the interpreter, and random blocks of them on the interpreter and translated, against this
processor. How many: DIFF_COUNT and DIFF_BLOCKS, ten million and a million."""
import os
import subprocess
import sys

DIFFTEST = os.path.join(os.path.dirname(__file__), "../../build/rel/tests/cpu/difftest")

failed = False
for option, number in (("--count", os.environ.get("DIFF_COUNT", "10000000")),
                       ("--blocks", os.environ.get("DIFF_BLOCKS", "1000000"))):
    name = "difftest %s %s without a difference" % (option, number)
    status = subprocess.run([DIFFTEST, option, number], check=False).returncode
    if status == 2:
        print("ok - %s # SKIP this processor has no AVX2" % name)
    else:
        print("%s - %s" % ("ok" if status == 0 else "not ok", name))
        failed = failed or status != 0
sys.exit(1 if failed else 0)
