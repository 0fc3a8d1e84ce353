#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's 686 kernel with an i386 busybox initramfs under the software CPU."""
import linuxguest
from vmtest import finish, media

linuxguest.full("i386", media("linux-i386", "vmlinuz"), media("demo-initramfs-i386.gz"), 1)
finish()
