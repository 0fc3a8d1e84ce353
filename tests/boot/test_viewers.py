#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Real viewers on a real guest: libvncclient and TigerVNC (under Xvfb) see it and type into it; eight clients at once, one
silent in its handshake and one that never reads, do not hold up another."""
import contextlib
import os
import shutil
import socket
import subprocess
import time

from vmtest import Failure, Home, case, finish, media, report, vnc_address, vnc_password, vncprobe, wait_until


@contextlib.contextmanager
def xvfb():
    """A virtual X server; yields its DISPLAY."""
    read, write = os.pipe()
    proc = subprocess.Popen(["Xvfb", "-displayfd", str(write), "-screen", "0", "1280x1024x24"], pass_fds=[write],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        number = os.read(read, 16).decode().strip()
        if not number:
            raise Failure("Xvfb did not start")
        yield ":" + number
    finally:
        os.close(read)
        proc.kill()
        proc.wait()


def tigervnc(home, name):
    host, port = vnc_address(home, name)
    with xvfb() as display:
        env = dict(os.environ, DISPLAY=display, VNC_USERNAME="x", VNC_PASSWORD=vnc_password(home, name), HOME=home.dir)
        viewer = subprocess.Popen(["xtigervncviewer", "-SecurityTypes", "VncAuth", "-RemoteResize=0",
                                   "%s::%d" % (host, port)], env=env, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.DEVNULL)
        try:
            def window():
                p = subprocess.run(["xdotool", "search", "--name", "TigerVNC"], env=env, capture_output=True, text=True)
                return p.stdout.split()

            wait_until("TigerVNC's window", window, 30)
            wid = window()[-1]
            subprocess.run(["xdotool", "windowfocus", wid], env=env, capture_output=True)
            subprocess.run(["xdotool", "mousemove", "--window", wid, "100", "100"], env=env, capture_output=True)
            subprocess.run(["xdotool", "type", "--delay", "60", "echo tiger-$((6*7))"], env=env, check=True)
            subprocess.run(["xdotool", "key", "Return"], env=env, check=True)
            home.wait_screen(name, r"(?m)^tiger-42", 30)
        finally:
            viewer.kill()
            viewer.wait()


def read_exactly(sock, n):
    data = b""
    while len(data) < n:
        more = sock.recv(n - len(data))
        if not more:
            raise Failure("the server closed the connection")
        data += more
    return data


def crowd(home, name):
    """Time until a frame for one more client while seven others sit there, two of them badly."""
    host, port = vnc_address(home, name)
    socks = [socket.create_connection((host, port), 10) for _ in range(2)]
    read_exactly(socks[0], 12)  # and then silent in the middle of the handshake
    socks[0].sendall(b"RFB 003")
    probes = []
    env = dict(os.environ, VNC_PASSWORD=vnc_password(home, name))
    address = "%s:%d" % (host, port)
    probe = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                         "build/rel/tests/tools/vncprobe")
    try:
        for _ in range(5):
            probes.append(subprocess.Popen([probe, "--updates", "--wait", "30000", address], env=env,
                                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL))
        # one that logged in, asked for frames and is stopped: it never reads again
        for p in probes:
            p.stdout.readline()
        os.kill(probes[0].pid, 19)
        start = time.monotonic()
        vncprobe(home, name, "--wait", "1")
        alone = time.monotonic() - start
        print("# eighth client served after %.2f s" % alone)
        if alone > 3.0:
            raise Failure("the eighth client waited %.1f s" % alone)
        # a key of one client shows at another while the stopped one is not read
        start = time.monotonic()
        home.vmdeck("type", name, "echo crowd-$((40+2))\n")
        home.wait_screen(name, r"(?m)^crowd-42", 20)
        probes[1].stdout.readline()
        print("# an update reached another client %.2f s after the keys" % (time.monotonic() - start))
    finally:
        for p in probes:
            p.kill()
            p.wait()
        for s in socks:
            s.close()


with Home() as home:
    home.vmdeck("create", "guest", "--kernel", media("linux", "vmlinuz"), "--initrd", media("demo-initramfs.gz"),
                "--append", "console=ttyS0 console=tty0", "--memory", "256MiB", "--accel", "software", "--vnc", "auto")
    home.vmdeck("start", "guest")
    with case("the guest's shell shows on the text screen"):
        home.wait_screen("guest", r"vm#", 180)
    with case("a libvncclient viewer sees the guest and types into it"):
        out = vncprobe(home, "guest", "--type", "echo probe-$((6*7))", "--keys", "Return", "--ppm", home.path("a.ppm"))
        if not out.strip().startswith("720x400"):
            raise Failure("unexpected size: %r" % out)
        vncprobe(home, "guest", "--keys", "Return")
        home.wait_screen("guest", r"(?m)^probe-42", 30)
        with open(home.path("a.ppm"), "rb") as f:
            if len(set(f.read()[64:])) < 2:
                raise Failure("the picture is of one colour")
    if shutil.which("xtigervncviewer") and shutil.which("Xvfb") and shutil.which("xdotool"):
        with case("TigerVNC's viewer sees the guest and types into it"):
            tigervnc(home, "guest")
    else:
        report("TigerVNC's viewer", True, skip="tigervnc-viewer, xvfb or xdotool is not installed")
    with case("eight clients, one silent and one never reading, do not delay another"):
        crowd(home, "guest")
finish()
