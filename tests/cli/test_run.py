#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""vmdeck run in the foreground: standard input and output, exit status, signals, terminal, nothing left behind."""
import os
import pty
import re
import select
import signal
import subprocess
import sys
import termios
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ctltest import Control, counting_guest  # noqa: E402
from vmtest import VMDECK, Console, Failure, Home, case, end_now, finish, wait_until  # noqa: E402


def nothing_left(home):
    root = home.run_dir + "/vmdeck"
    if os.path.isdir(root) and os.listdir(root):
        raise Failure("left behind: %s" % os.listdir(root))
    if home.vmdeck("ls", "-q").stdout:
        raise Failure("a VM is listed")


def command(home, *args):
    return [VMDECK, "run", "--ephemeral", "--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software",
            "--no-net", *args]


def stdio(home):
    with case("COM1 is standard input and output; debug exit gives the status"):
        with home.ephemeral(*command(home, "--vnc", "off", "--debug-exit")[3:]) as (proc, console):
            console.expect("abcdefghijklmnopqrstuvwxyzabc", 20)
            if not console.text.startswith("abcdef"):
                raise Failure("something else came first: %r" % console.text[:40])
            console.send("e")
            proc.wait(20)
            if proc.returncode != (5 << 1) | 1:
                raise Failure("status %d" % proc.returncode)
        with open(home.path("stderr"), encoding="utf-8") as f:
            if f.read():
                raise Failure("something was said on standard error")
        nothing_left(home)
    with case("input from a file, output into a file"):
        with open(home.path("in"), "wb") as f:
            f.write(b"xye")
        with open(home.path("in"), "rb") as i, open(home.path("out"), "wb") as o:
            p = subprocess.run(command(home, "--serial", "stdio", "--vnc", "off", "--debug-exit"), env=home.env, stdin=i,
                               stdout=o, timeout=30, check=False)
        if p.returncode != 11 or not open(home.path("out"), "rb").read().startswith(b"a"):
            raise Failure("status %d" % p.returncode)
    with case("a reader of the output that goes away does not stop the guest"):
        with subprocess.Popen(command(home, "--serial", "stdio", "--vnc", "off", "--debug-exit"), env=home.env,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
            p.stdout.read(20)
            p.stdout.close()
            p.stdin.write(b"e")
            p.stdin.flush()
            if p.wait(20) != 11:
                raise Failure("status %d" % p.returncode)
    with case("--serial file:F"):
        with subprocess.Popen(command(home, "--serial", "file:" + home.path("com1"), "--vnc", "off"),
                              env=home.env) as p:
            wait_until("letters", lambda: os.path.exists(home.path("com1")) and
                       b"xyzabc" in open(home.path("com1"), "rb").read(), 20)
            end_now(p)


def signals(home):
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        with case("%s presses the power button, the second ends the VM in order, status %d" % (sig.name, 128 + sig)):
            with home.ephemeral(*command(home, "--vnc", "off", "--name", "mine")[3:]) as (proc, console):
                console.expect("abc", 20)
                with Control(home, "mine") as c:
                    pids = c.call("x-info")["pids"]
                    proc.send_signal(sig)
                    c.event("POWERDOWN")
                console.expect("xyzabc", 20)  # this guest does not know of power buttons
                proc.send_signal(sig)
                proc.wait(20)
                if proc.returncode != 128 + sig:
                    raise Failure("status %d" % proc.returncode)
                said = open(home.path("stderr"), encoding="utf-8").read()
                if not re.search(r"^vmdeck: %s: pressed the power button, .*30 s" % sig.name, said):
                    raise Failure(said)
            if os.path.exists("/proc/%d" % pids["vm"]):
                raise Failure("the vm process is still there")
            nothing_left(home)
    with case("a guest that does not power off within machine.shutdown_timeout is powered off"):
        with home.ephemeral(*command(home, "--vnc", "off", "--set", "machine.shutdown_timeout=1")[3:]) as (proc, console):
            console.expect("abc", 20)
            before = time.monotonic()
            proc.send_signal(signal.SIGTERM)
            if proc.wait(20) != 128 + signal.SIGTERM or time.monotonic() - before < 1:
                raise Failure("status %d after %.1f s" % (proc.returncode, time.monotonic() - before))
    with case("a paused guest is powered off at once"):
        with home.ephemeral(*command(home, "--vnc", "off", "--name", "mine")[3:]) as (proc, console):
            console.expect("abc", 20)
            home.vmdeck("pause", "mine")
            proc.send_signal(signal.SIGTERM)
            if proc.wait(20) != 128 + signal.SIGTERM:
                raise Failure("status %d" % proc.returncode)


def by_name(home):
    with case("an ephemeral VM answers the other commands by its name"):
        with home.ephemeral(*command(home, "--vnc", "auto", "--name", "mine")[3:]) as (proc, console):
            console.expect("abc", 20)
            home.wait_screen("mine", "^counting", 10)
            if not re.search(r"127\.0\.0\.1:59\d\d", home.vmdeck("view", "--print", "mine").stdout):
                raise Failure("view")
            p = home.vmdeck("run", "--ephemeral", "--name", "mine", check=False)
            if p.returncode != 8 or "already running" not in p.stderr:
                raise Failure(p.stderr)
            home.vmdeck("kill", "-y", "mine")
            if proc.wait(20) != 0:
                raise Failure("status %d" % proc.returncode)
        nothing_left(home)
    with case("--vnc unix:F listens there and removes it at the end"):
        path = home.path("v.sock")
        with home.ephemeral(*command(home, "--vnc", "unix:" + path)[3:]) as (proc, console):
            console.expect("abc", 20)
            if path not in open(home.path("stderr"), encoding="utf-8").read() or not os.path.exists(path):
                raise Failure("no socket")
        if os.path.exists(path):
            raise Failure("left behind")
    with case("run NAME: a VM with a folder in the foreground, options override for this run"):
        home.vmdeck("create", "named", "--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software",
                    "--no-net", "--vnc", "off")
        p = subprocess.run([VMDECK, "run", "named", "--serial", "stdio", "--debug-exit"], env=home.env, input=b"e",
                           capture_output=True, timeout=30, check=False)
        if p.returncode != 11 or p.stderr:
            raise Failure("status %d %s" % (p.returncode, p.stderr))
        if "stdio" in open(home.path("data/vmdeck/vms/named/vm.yaml"), encoding="utf-8").read():
            raise Failure("the override was written")
        home.vmdeck("rm", "-y", "named")


def terminal(home, args, script):
    """Runs a command on a pseudo-terminal; script(console) types. Returns status and whether the mode came back."""
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    with subprocess.Popen(args, env=home.env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as p:
        console = Console(master, master)
        script(console)
        while p.poll() is None or select.select([master], [], [], 0)[0]:  # its last words, too
            if select.select([master], [], [], 0.2)[0]:
                console.text += os.read(master, 65536).decode("utf-8", "replace")
    restored = termios.tcgetattr(slave) == before
    os.close(slave)
    os.close(master)
    return p.returncode, restored, console.text


def on_terminal(home):
    with case("on a terminal: raw mode, Ctrl-] x ends the VM, the mode comes back"):
        def script(console):
            console.expect(r"Ctrl-\] x ends the VM\r\n", 20)
            console.expect("xyz", 20)
            console.send("\x03")  # the guest's, not a signal for us
            console.expect("xyz", 20)
            console.send("\x1dx")
        status, restored, text = terminal(home, command(home, "--serial", "stdio", "--vnc", "off"), script)
        if status != 0 or not restored:
            raise Failure("status %d, restored %s: %r" % (status, restored, text[-200:]))
    with case("console on a terminal: Ctrl-] q leaves, the VM goes on"):
        home.vmdeck("create", "c", "--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software",
                    "--no-net", "--vnc", "off")
        home.vmdeck("start", "c")

        def leave(console):
            console.expect(r"Ctrl-\] q leaves", 20)
            console.expect("xyz", 20)
            console.send("\x1dq")
        status, restored, text = terminal(home, [VMDECK, "console", "c"], leave)
        if status != 0 or not restored or "the VM goes on" not in text:
            raise Failure("status %d, restored %s: %r" % (status, restored, text[-200:]))
        home.vmdeck("info", "c")
    with case("kill asks on a terminal; no is the answer of Enter"):
        def no(console):
            console.expect(r'End "c"\?.*\[y/N\]', 20)
            console.send("\n")
        status, _, text = terminal(home, [VMDECK, "kill", "c"], no)
        if status != 10 or "cancelled" not in text or "running" not in home.vmdeck("ls").stdout:
            raise Failure("status %d %s" % (status, text))

        def yes(console):
            console.expect(r"\[y/N\]", 20)
            console.send("y\n")
        status, _, _ = terminal(home, [VMDECK, "kill", "c"], yes)
        if status != 0 or "off" not in home.vmdeck("ls").stdout:
            raise Failure("status %d" % status)


with Home() as home:
    counting_guest(home.path("counter"))
    for part in (stdio, signals, by_name, on_terminal):
        part(home)
finish()
