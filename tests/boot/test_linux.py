#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's cloud kernel with a busybox initramfs under the software CPU, with one and with two vCPUs."""
import linuxguest
from vmtest import finish, media

for n in (1, 2):
    linuxguest.full("x86-64, %d vCPU" % n, media("linux", "vmlinuz"), media("demo-initramfs.gz"), n)
finish()
