#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's graphical installer shows its first dialog in graphics, and a viewer over VNC moves its selection."""
from vmtest import Failure, Home, case, finish, media, vncprobe, wait_until


def read_ppm(path):
    """Width, height and bytes (RGB) of what vncprobe saved."""
    with open(path, "rb") as f:
        magic, width, height, depth, pixels = f.read().split(maxsplit=4)
    if magic != b"P6" or depth != b"255":
        raise Failure("not a picture of 8-bit RGB")
    return int(width), int(height), pixels


def selected_row(path):
    """First line of the bar that marks the selected language, None while there is no such dialog: a list on white
    with a bar in the installer's green across it. The middle column has no text."""
    width, height, pixels = read_ppm(path)
    if width < 640 or height < 480 or pixels.count(b"\xff\xff\xff") < 0.4 * width * height:
        return None
    for y in range(height // 8, height):
        red, green, blue = pixels[3 * (y * width + width // 2):][:3]
        if red < 96 and green > 96 and blue > 96:
            return y
    return None


with Home() as home:
    home.vmdeck("create", "gtk", "--kernel", media("installer/gtk/linux"), "--initrd",
                media("installer/gtk/initrd.gz"), "--append", "vga=788", "--memory", "1536MiB", "--accel",
                "software", "--vnc", "auto")
    home.vmdeck("start", "gtk")
    shot = home.path("gtk.ppm")

    def look(*keys):
        vncprobe(home, "gtk", *keys, "--ppm", shot, timeout=120)
        return selected_row(shot)

    with case("the GTK installer shows its first dialog in graphics"):
        first = wait_until("a list with a selected row", look, 1800)
        if home.screen("gtk"):
            raise Failure("that is no graphics mode")
    with case("keys through VNC move its selection"):
        wait_until("the selection further down", lambda: (look("--keys", "Down") or 0) > first, 300)
finish()
