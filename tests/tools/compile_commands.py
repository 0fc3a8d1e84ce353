#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints compile_commands.json: compile_commands.py FLAGS-FILE CC SOURCE..., the file
holding the flags as a shell would see them."""
import json
import os
import shlex
import sys

with open(sys.argv[1], encoding="utf-8") as f:
    flags = shlex.split(f.read())
cc = sys.argv[2]
print(json.dumps([{"directory": os.getcwd(), "file": src, "arguments": [cc, *flags, "-c", src]}
                  for src in sys.argv[3:]], indent=1))
