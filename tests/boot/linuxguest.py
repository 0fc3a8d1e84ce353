# SPDX-License-Identifier: GPL-2.0-or-later
"""What a Linux guest must do, for the kernels of several tests."""
import hashlib
import os
import re
import socket
import time

from vmtest import Failure, Home, case, free_port, report, wait_until, web_server


def disk_round_trip(console, disk):
    """64 MiB written in the guest reads back equal, in the guest and in the image on the host."""
    status, out = console.run("dd if=/dev/urandom of=/tmp/r bs=1M count=8 2>/dev/null; "
                              "for i in 0 1 2 3 4 5 6 7; do dd if=/tmp/r of=/dev/vda bs=1M seek=$((i*8)) "
                              "conv=notrunc 2>/dev/null; done; sync; echo 3 > /proc/sys/vm/drop_caches; "
                              "dd if=/dev/vda bs=1M count=64 2>/dev/null | sha256sum", 240)
    found = re.search(r"^([0-9a-f]{64})  -", out, re.M)  # the echoed command line may be wrapped
    guest = found.group(1) if found else ""
    with open(disk, "rb") as f:
        host = hashlib.sha256(f.read(64 << 20)).hexdigest()
    if status != 0 or guest != host:
        raise Failure("checksums differ: guest %r host %r\n%s" % (guest, host, out))
    if not any(open(disk, "rb").read(1 << 20)):
        raise Failure("the image is still empty")


def nat(console, home):
    wait_lease(console)
    secret = os.urandom(300000)
    with open(home.path("file"), "wb") as f:
        f.write(secret)
    with web_server(home.dir) as port:
        status, out = console.run("wget -q -O - http://10.0.2.2:%d/file | sha256sum" % port, 60)
    if hashlib.sha256(secret).hexdigest() not in out:
        raise Failure("wget through the NAT: status %d\n%s" % (status, out))


def wait_lease(console):
    status, out = console.run("n=0; until ip addr show eth0 | grep 'inet 10.0.2.'; do "
                              "n=$((n+1)); [ $n -gt 300 ] && break; usleep 100000; done", 60)
    if "inet 10.0.2.15" not in out:
        raise Failure("no DHCP lease:\n%s" % out)


def forwarded(console, port):
    """The guest's port 80, reached through the forward on the host's `port`."""
    console.run("mkdir -p /www; echo from the guest > /www/index.html; httpd -h /www", 20)

    def ask():
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as s:
                s.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
                s.settimeout(10)
                data = b""
                while True:
                    more = s.recv(4096)
                    if not more:
                        return b"from the guest" in data
                    data += more
        except OSError:
            return False

    wait_until("the guest's web server through the forward", ask, 30)


def full(label, kernel, initrd, cpus, accel="software", extra=()):
    """Boot to the shell and everything the issue asks of a Linux guest; one TAP line each."""
    with Home() as home:
        disk = home.path("disk.raw")
        with open(disk, "wb") as f:
            f.truncate(80 << 20)
        port = free_port()
        start = time.monotonic()
        with home.ephemeral("--kernel", kernel, "--initrd", initrd, "--append", "console=ttyS0 " + " ".join(extra),
                            "--memory", "256MiB", "--cpus", str(cpus), "--accel", accel, "--vnc", "off",
                            "--disk", disk, "--forward", "127.0.0.1:%d:80" % port) as (proc, console):
            try:
                console.expect("vm# ", 180)
            except Failure as e:
                with open(home.path("stderr"), errors="replace") as f:
                    report(label + " boots to a shell", False, "%s\n%s" % (e, f.read()))
                return
            report(label + " boots to a shell", True)
            print("# %s: shell after %.1f s" % (label, time.monotonic() - start))
            with case(label + " answers commands and sees its CPUs"):
                status, out = console.run("nproc; echo $((6 * 7))")
                if status != 0 or out.split() != [str(cpus), "42"]:
                    raise Failure(repr(out))
            with case(label + " writes 64 MiB and reads them back"):
                disk_round_trip(console, disk)
            with case(label + " gets a lease and fetches through the NAT"):
                nat(console, home)
            with case(label + " is reached through a forward"):
                forwarded(console, port)
            with case(label + " powers itself off, status 0"):
                console.send("poweroff\n")
                proc.wait(60)
                if proc.returncode != 0:
                    raise Failure("status %d" % proc.returncode)
