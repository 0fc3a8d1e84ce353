#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the host or the user got wrong when a VM shall start: one line that says what to do, the documented status, and
nothing half-created."""
import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ctltest import counting_guest  # noqa: E402
from vmtest import VMDECK, Failure, Home, case, finish, free_port, report  # noqa: E402


def leftovers(home):
    """Runtime folders, and files next to those that a VM starts with."""
    found = []
    for root in (home.run_dir, home.path("data/vmdeck/vms")):
        for folder, _, names in os.walk(root):
            found += [os.path.join(folder, n) for n in names]
    return {f for f in found if "/log/" not in f}


def refused(home, status, pattern, *args):
    """The command fails like this, in one line and a hint, and leaves nothing."""
    before = leftovers(home)
    p = home.vmdeck(*args, check=False, stdin="")
    if p.returncode != status:
        raise Failure("status %d instead of %d\n%s%s" % (p.returncode, status, p.stdout, p.stderr))
    lines = [x for x in p.stderr.splitlines() if not x.startswith("hint: ")]
    if len(lines) != 1 or not re.match(r"vmdeck: " + pattern, lines[0]) or p.stdout:
        raise Failure("errors do not match %r:\n%s%s" % (pattern, p.stdout, p.stderr))
    if leftovers(home) != before:
        raise Failure("left behind: %s" % (leftovers(home) - before))
    return p.stderr


@contextlib.contextmanager
def running(home, name, *args):
    home.vmdeck("create", name, "--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software",
                *args)
    home.vmdeck("start", name)
    try:
        yield
    finally:
        home.vmdeck("kill", "-y", name)
        home.vmdeck("rm", "-y", name)


def files(home, guest):
    with case("missing kernel, initrd, image, ISO"):
        for option in ("kernel", "initrd", "disk", "cdrom"):
            err = refused(home, 3, r'.*cannot open "/none/x": No such file', "run", "--ephemeral", *guest,
                          "--" + option, "/none/x")
            if "hint: " not in err or ("truncate" in err) != (option == "disk"):
                raise Failure("no hint, or a wrong one: " + err)
    with case("a folder as image, as kernel"):
        refused(home, 5, r'disk "disk0": cannot open', "run", "--ephemeral", *guest, "--disk", home.dir)
        refused(home, 5, r'kernel: ".*" is not a file', "run", "--ephemeral", "--kernel", home.dir)
    with case("a kernel that is none"):
        with open(home.path("junk"), "wb") as f:
            f.write(b"junk" * 5000)
        refused(home, 5, r"the kernel is none of", "run", "--ephemeral", "--memory", "32MiB", "--accel", "software", "--no-net", "--vnc",
                "off", "--kernel", home.path("junk"))
    with case("the image of a VM is lost"):
        home.vmdeck("create", "lost", "--disk", "1MiB", "--vnc", "off", "--no-net")
        os.unlink(home.path("data/vmdeck/vms/lost/disks/disk0.raw"))
        refused(home, 3, r'cannot start "lost": disk "disk0": cannot open ".*disk0.raw": No such', "start", "lost")
        home.vmdeck("rm", "-y", "lost")
    with case("an image that a running VM has locked"):
        image = home.path("shared.raw")
        with open(image, "wb") as f:
            f.truncate(1 << 20)
        with running(home, "first", "--vnc", "off", "--no-net", "--disk", image):
            err = refused(home, 8, r'disk "disk0": .*shared.raw.*', "run", "--ephemeral", *guest, "--disk", image)
            if not re.search(r"locked|in use", err):
                raise Failure(err)
            # two readers do not hurt each other, a reader and a writer do
            refused(home, 8, r'disk "disk0": ', "run", "--ephemeral", *guest, "--disk", image + ",readonly")


def ports(home, guest):
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        with case("the VNC port is in use"):
            refused(home, 8, r"VNC: cannot listen on 127.0.0.1:%d: Address already in use" % port, "run", "--ephemeral",
                    *guest, "--vnc", "127.0.0.1:%d" % port)
        with case("the port of a forward is in use"):
            forwarding = [x for x in guest if x != "--no-net"]
            refused(home, 8, r".*127.0.0.1:%d.*in use" % port, "run", "--ephemeral", *forwarding, "--forward",
                    "127.0.0.1:%d:80" % port)
    with case("VNC on an address that is not ours"):
        refused(home, 1, r"VNC: cannot listen on 192.0.2.1:5900: ", "run", "--ephemeral", *guest, "--vnc",
                "192.0.2.1:5900")
    with case("the path of a VNC socket is a file"):
        with open(home.path("precious"), "w", encoding="utf-8") as f:
            f.write("data")
        refused(home, 8, r'VNC: ".*precious" is in use', "run", "--ephemeral", *guest, "--vnc",
                "unix:" + home.path("precious"))
        if open(home.path("precious"), encoding="utf-8").read() != "data":
            raise Failure("overwritten")


def host(home, guest):
    with case("more memory than the host has"):
        err = refused(home, 7, r"memory: 900GiB wanted, \S+ available", "run", "--ephemeral", *guest, "--memory", "900GiB")
        if "hint: lower memory" not in err:
            raise Failure(err)
    with case("less memory than the guest needs"):
        refused(home, 5, r"direct boot needs at least 2 MiB", "run", "--ephemeral", *guest, "--memory", "1MiB")


def no_kvm(home):
    """As a user who may not open /dev/kvm."""
    name = "accel: kvm without permission on /dev/kvm"
    command = [VMDECK, "run", "--ephemeral", "--accel", "kvm", "--vnc", "off", "--no-net", "--kernel",
               home.path("counter"), "--memory", "32MiB"]
    if os.geteuid() == 0:
        if not shutil.which("setpriv"):
            report(name, True, skip="no setpriv")
            return
        command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + command
        for path in (home.dir, home.run_dir):
            os.chown(path, 65534, 65534)
    elif os.access("/dev/kvm", os.W_OK):
        report(name, True, skip="this user may open /dev/kvm")
        return
    with case(name):
        p = subprocess.run(command, env=home.env, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL,
                           check=False)
        if p.returncode != 7 or not re.search(r"accel: kvm cannot be used: /dev/kvm.*\nhint: .*accel: software", p.stderr):
            raise Failure("status %d: %s" % (p.returncode, p.stderr))


with Home() as home:
    counting_guest(home.path("counter"))
    guest = ["--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software", "--vnc", "off", "--no-net"]
    files(home, guest)
    ports(home, guest)
    host(home, guest)
with Home() as home:
    counting_guest(home.path("counter"))
    no_kvm(home)
finish()
