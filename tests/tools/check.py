#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs tests and counts honestly.

    check.py [--jobs N] [--timeout S] [--tsv FILE] TEST...

A TEST is a program: a cmocka binary, or a script that prints TAP lines ("ok - name", "not ok - name",
"ok - name # SKIP reason"). A program that prints neither counts as one test by its exit status; one that prints
only passes and still exits non-zero, or dies, counts one failure more. The last line is
"N passed, N failed, N skipped"; the status is 0 when nothing failed and something ran."""
import argparse
import concurrent.futures
import os
import re
import signal
import subprocess
import sys
import time

CMOCKA_OK = re.compile(r"^\[\s+OK \] (\S+)")
CMOCKA_BAD = re.compile(r"^\[\s+FAILED\s+\] (\S+)$")
CMOCKA_SKIP = re.compile(r"^\[\s+SKIPPED \] (\S+)$")
TAP = re.compile(r"^(not )?ok\b(?: \d+)?(?: -)? ?(.*)$")


def count(text, status):
    """Passed, failed and skipped names of one program's output."""
    passed, failed, skipped = [], [], []
    for line in text.splitlines():
        m = CMOCKA_OK.match(line)
        if m:
            passed.append(m.group(1))
            continue
        m = CMOCKA_BAD.match(line)
        if m and not line.endswith("test(s), listed below:"):
            if m.group(1) not in failed:
                failed.append(m.group(1))
            continue
        m = CMOCKA_SKIP.match(line)
        if m:
            if m.group(1) not in skipped:
                skipped.append(m.group(1))
            continue
        m = TAP.match(line)
        if m:
            name = m.group(2)
            if m.group(1):
                failed.append(name)
            elif "# SKIP" in name.upper():
                skipped.append(name)
            else:
                passed.append(name)
    if not passed and not failed and not skipped:
        (passed if status == 0 else failed).append("exit status")
    elif status != 0 and not failed:
        failed.append("exit status %d" % status)
    return passed, failed, skipped


def run(test, timeout):
    start = time.monotonic()
    proc = subprocess.Popen([test], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, start_new_session=True)
    try:
        out, _ = proc.communicate(timeout=timeout)
        status = proc.returncode
    except subprocess.TimeoutExpired:
        os.killpg(proc.pid, signal.SIGKILL)
        out, _ = proc.communicate()
        out += b"\nnot ok - timed out after %d s\n" % timeout
        status = 1
    return test, out.decode("utf-8", "replace"), status, time.monotonic() - start


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    ap.add_argument("--timeout", type=int, default=600)
    ap.add_argument("--tsv", help="file for one line a program: name, passed, failed, skipped, seconds")
    ap.add_argument("tests", nargs="*")
    args = ap.parse_args()
    total = [0, 0, 0]
    rows = []
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(run, t, args.timeout) for t in args.tests]
        for f in concurrent.futures.as_completed(futures):
            test, out, status, seconds = f.result()
            passed, failed, skipped = count(out, status)
            for i, names in enumerate((passed, failed, skipped)):
                total[i] += len(names)
            rows.append((test, len(passed), len(failed), len(skipped), "%.1f" % seconds))
            word = "FAIL" if failed else "ok"
            print("%-4s %6.1fs %s (%d passed, %d failed, %d skipped)" %
                  (word, seconds, test, len(passed), len(failed), len(skipped)))
            for name in skipped:
                print("     skipped: %s" % name)
            if failed:
                for name in failed:
                    print("     failed: %s" % name)
                print("     " + "\n     ".join(out.splitlines()[-60:]))
            sys.stdout.flush()
    if args.tsv:
        with open(args.tsv, "w", encoding="utf-8") as f:
            for row in sorted(rows):
                f.write("\t".join(str(x) for x in row) + "\n")
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not total[0] else 0


if __name__ == "__main__":
    sys.exit(main())
