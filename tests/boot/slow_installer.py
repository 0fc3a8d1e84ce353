#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's graphical installer shows its first dialog in graphics."""
import zlib
import struct

from vmtest import Failure, Home, case, finish, media, wait_until


def png_pixels(path):
    """Width, height and the set of colours of a PNG that our own screenshot wrote (8-bit RGB, no interlace)."""
    with open(path, "rb") as f:
        data = f.read()
    pos, idat = 8, b""
    while pos < len(data):
        length, kind = struct.unpack(">I4s", data[pos:pos + 8])
        body = data[pos + 8:pos + 8 + length]
        if kind == b"IHDR":
            width, height, depth, colour = struct.unpack(">IIBB", body[:10])
        elif kind == b"IDAT":
            idat += body
        pos += 12 + length
    if (depth, colour) != (8, 2):
        raise Failure("the screenshot is not 8-bit RGB")
    raw = zlib.decompress(idat)
    return width, height, len(set(raw))


with Home() as home:
    with case("the GTK installer shows its first dialog in graphics"):
        home.vmdeck("create", "gtk", "--kernel", media("installer/gtk/linux"), "--initrd",
                    media("installer/gtk/initrd.gz"), "--append", "vga=788", "--memory", "1536MiB", "--accel",
                    "software", "--vnc", "auto")
        home.vmdeck("start", "gtk")
        shot = home.path("gtk.png")

        def drawn():
            home.vmdeck("screenshot", "gtk", "-o", shot, check=False)
            try:
                width, height, values = png_pixels(shot)
            except (OSError, UnboundLocalError, zlib.error, struct.error):
                return False
            return width >= 640 and height >= 480 and values > 60 and home.screen("gtk") == ""

        wait_until("a drawn dialog", drawn, 1800)
finish()
