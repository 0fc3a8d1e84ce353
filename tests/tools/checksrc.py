#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Source rules that the compiler does not know: SPDX line first, no banned function, no tabs, lines of at most 130
columns, files of at most 1,000 lines (tables aside). Prints TAP."""
import os
import re
import sys

BANNED = re.compile(r"\b(strcpy|strcat|sprintf|vsprintf|gets|strtok|atoi|atol|system|popen|mktemp|tmpnam)\s*\(")
RAW_ALLOC = re.compile(r"\b(malloc|calloc|realloc|free)\s*\(")
EXITS = re.compile(r"\b(exit|abort)\s*\(")
# who may: the allocator; mains and the processes' own ends; a library's memory that must go back by free()
ALLOC_OK = ("vmm/base/alloc.c",)
EXIT_OK = ("vmm/base/", "tui/main.c", "vmm/ctl/", "tui/ui/", "tui/cli/")
FREE_OK = re.compile(r"free\(\s*\w*(json|png|yaml|rfb|lib)\w*")
MAX_LINES = 1000


def strip(text):
    """Code without comments and strings, lines kept."""
    def blank(m):
        return re.sub(r"[^\n]", " ", m.group(0))
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def check(path, problems):
    with open(path, encoding="utf-8") as f:
        text = f.read()
    lines = text.splitlines()
    head = "\n".join(lines[:3])
    if "SPDX-License-Identifier: GPL-2.0-or-later" not in head:
        problems.append("%s:1: no SPDX line" % path)
    if not path.endswith((".c", ".h", ".def")):
        return
    code = strip(text)
    for n, line in enumerate(code.splitlines(), 1):
        m = BANNED.search(line)
        if m:
            problems.append("%s:%d: %s is banned" % (path, n, m.group(1)))
        if path.startswith(("vmm/", "display/", "tui/")):
            m = RAW_ALLOC.search(line)
            if m and path not in ALLOC_OK and not FREE_OK.search(line):
                problems.append("%s:%d: %s instead of vmm/base/alloc.h" % (path, n, m.group(1)))
            m = re.search(r"(?<![\w_])(exit|abort)\s*\(", line)
            if m and not path.startswith(EXIT_OK):
                problems.append("%s:%d: %s outside a main" % (path, n, m.group(1)))
    for n, line in enumerate(lines, 1):
        if "\t" in line:
            problems.append("%s:%d: tab" % (path, n))
        if len(line) > 130:
            problems.append("%s:%d: %d columns" % (path, n, len(line)))
    if path.endswith(".c") and len(lines) > MAX_LINES and "table" not in os.path.basename(path):
        problems.append("%s: %d lines" % (path, len(lines)))


def main():
    problems = []
    count = 0
    for top in ("vmm", "display", "tui", "tests", "images"):
        for folder, dirs, names in os.walk(top):
            dirs[:] = [d for d in dirs if d not in ("media", "__pycache__", "corpus")]
            for name in sorted(names):
                if name.endswith((".c", ".h", ".def", ".py", ".sh", ".asm", ".mk")):
                    check(os.path.join(folder, name), problems)
                    count += 1
    for p in problems:
        print("# " + p)
    print("%s - source rules in %d files" % ("not ok" if problems else "ok", count))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
