#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disk and network in the guest, vmdeck and QEMU's TCG in the same rounds.   tests/perf/io.py [disk] [net]"""
import os
import socket
import sys
import threading
import time

from perfvm import OUT, RUNS, SIDES, Table, append, command, initrd, kernel, results

DISK_MIB = 256
CHUNK = bytes(1 << 17)
SECONDS = 2.0


def disk_image():
    path = os.path.join(OUT, "disk.img")
    os.makedirs(OUT, exist_ok=True)
    if not os.path.exists(path) or os.path.getsize(path) != DISK_MIB << 20:
        with open(path, "wb") as f:
            for _ in range(DISK_MIB):
                f.write(os.urandom(1 << 20))
    with open(path, "rb") as f:  # into the host's cache
        while f.read(1 << 20):
            pass
    return path


def sink(s):
    while s.recv(1 << 17):
        pass


def source(s):
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        s.sendall(CHUNK)


def echo(s):
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        data = s.recv(16)
        if not data:
            return
        s.sendall(data)


def serve(talk):
    """A server for one connection at a time; its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def loop():
        while True:
            s = listener.accept()[0]
            try:
                talk(s)
            except OSError:
                pass
            s.close()

    threading.Thread(target=loop, daemon=True).start()
    return listener.getsockname()[1]


def main(what):
    table = Table("I/O in the guest")
    words, disk = [], None
    if "disk" in what:
        disk = disk_image()
        words += ["seq", "seqbuf", "rand", "rand4"]
        table.row("seq", "virtio-blk, 1 MiB O_DIRECT reads, MiB/s", ">= 2")
        table.row("seqbuf", "virtio-blk, 1 MiB buffered reads, MiB/s", ">= 2")
        table.row("rand", "virtio-blk, random 4 KiB reads, IOPS", ">= 3")
        table.row("rand4", "the same by four processes, IOPS", ">= 3")
    if "net" in what:
        words += ["up:%d" % serve(sink), "down:%d" % serve(source), "rtt:%d" % serve(echo)]
        table.row("up", "TCP from the guest to the host, MiB/s", ">= 2")
        table.row("down", "TCP from the host to the guest, MiB/s", ">= 2")
        table.row("rtt", "round trips of one byte over TCP, 1/s", "")
    boot = (kernel(), initrd(), append(words))
    for _ in range(RUNS):
        for side in SIDES:
            table.add_all(side, results(command(side, boot=boot, disk=disk, net="net" in what)))
    table.show()


main(sys.argv[1:] or ["disk", "net"])
