#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian's text installer shows its first dialog on the VGA text console and in the TUI. nomodeset keeps its kernel from taking the
screen over for a frame buffer, where the dialog would be pixels."""
from vmtest import Failure, Home, case, finish, media

with Home() as home:
    with case("the text installer shows its first dialog"):
        home.vmdeck("create", "text", "--kernel", media("installer/text/linux"), "--initrd",
                    media("installer/text/initrd.gz"), "--append", "vga=normal fb=false nomodeset", "--memory",
                    "1GiB", "--accel", "software", "--vnc", "off")
        home.vmdeck("start", "text")
        home.wait_screen("text", r"Select a language", 400)
    with case("the TUI's console shows it"), home.terminal() as (proc, console):
        console.expect("running", 20)
        console.send("\r")
        console.expect("Select a language", 20)
        console.send("\x1dq")
        console.expect("NAME", 20)
        console.send("q")
        if proc.wait(20) != 0:
            raise Failure("status %d" % proc.returncode)
finish()
