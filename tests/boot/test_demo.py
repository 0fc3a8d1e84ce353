#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What `make run` does without a terminal on standard output, once everything is built: images/demo.sh."""
import os
import subprocess

from vmtest import PATIENCE, ROOT, VMDECK, Failure, Home, case, finish, media

with Home() as home, case("the demo boots headless, answers a command and leaves a picture"):
    media("demo-initramfs.gz")
    picture = os.path.join(ROOT, "images/media/demo.png")
    if os.path.exists(picture):
        os.remove(picture)
    p = subprocess.run([os.path.join(ROOT, "images/demo.sh"), VMDECK], env=home.env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=180 * PATIENCE, check=False)
    for text in ("vm# ", "the answer is 42", "screen written to", "127.0.0.1:", "vncviewer"):
        if p.returncode != 0 or text not in p.stdout:
            raise Failure("status %d, looking for %r:\n%s" % (p.returncode, text, p.stdout))
    with open(picture, "rb") as f:
        if f.read(8) != b"\x89PNG\r\n\x1a\n":
            raise Failure("no PNG")
    state = home.vmdeck("ls", "-q", "--state", "off").stdout.split()
    if state != ["demo"]:
        raise Failure("it still runs: %r" % state)
finish()
