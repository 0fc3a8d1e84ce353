#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""kill -9 of the TUI and of each process of a VM: vnc and net come back and the guest keeps counting; without vm the VM
has crashed, nothing else is touched, and it starts again."""
import os
import re
import signal
import socket
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ctltest import Control, counting_guest, counts  # noqa: E402
from vmtest import Failure, Home, case, finish, free_port, wait_until  # noqa: E402


def state(home, name):
    m = re.search(r"^%s +(\S+)" % name, home.vmdeck("ls").stdout, re.M)
    return m and m.group(1)


def pids(home, name):
    with Control(home, name) as c:
        return c.call("x-info")["pids"]


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def gone(pid):
    """Dead, maybe not reaped by whoever adopted it."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


def goes_on(console):
    """The guest counts on from where it was, without a gap, for more than a round."""
    console.expect("[a-z]", 20)
    last = console.text[console.pos - 1]
    start = console.pos
    wait = console.text[start:]
    while len(wait) < 60:
        console.expect("[a-z]", 20)
        wait = console.text[start:]
    if not counts(last, wait):
        raise Failure("letters are missing: %r" % (last + wait))


def helper(home, role, alive):
    """Kills a helper: another takes its place and the guest notices nothing."""
    with home.serial("one") as console:
        console.expect("abc", 20)
        old = pids(home, "one")
        victim = old[role][0] if role == "net" else old[role]
        kill(victim)

        def replaced():
            new = pids(home, "one")[role]
            new = (new or [0])[0] if role == "net" else new
            return new and new != victim

        wait_until("another %s process" % role, replaced, 20)
        goes_on(console)
        wait_until("%s working" % role, alive, 20)
        if pids(home, "one")["vm"] != old["vm"] or state(home, "one") != "running":
            raise Failure("the VM was touched")


def vnc_greets(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as s:
            s.settimeout(5)
            return s.recv(4) == b"RFB "
    except OSError:
        return False


def forward_listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 2).close()
        return True
    except OSError:
        return False


def crash(home, what, pid, reason):
    others = pids(home, "two")
    victims = pids(home, "one")
    kill(pid)
    wait_until("crashed", lambda: state(home, "one") == "crashed", 20)
    if not re.search(reason, home.vmdeck("ls").stdout):
        raise Failure(home.vmdeck("ls").stdout)
    if "crashed" not in home.vmdeck("info", "one").stdout:
        raise Failure("info")
    for p in [victims["vm"], victims["vnc"], victims["supervisor"], *victims["net"]]:
        wait_until("end of process %d" % p, lambda p=p: gone(p), 10)
    if pids(home, "two") != others or state(home, "two") != "running":
        raise Failure("the other VM was touched")
    home.vmdeck("start", "one")
    with home.serial("one") as console:
        goes_on(console)
    if state(home, "one") != "running":
        raise Failure("after the start: %s" % state(home, "one"))


def without_tui(home):
    """A VM that the TUI started outlives it, and the next TUI finds it."""
    with home.terminal() as (tui, console):
        console.expect("one", 20)
        console.send("s")
        wait_until("one to run", lambda: state(home, "one") == "running", 20)
        with home.serial("one") as serial:
            serial.expect("abc", 20)
        kill(tui.pid)
        tui.wait(20)
    with home.serial("one") as serial:
        goes_on(serial)
    with home.terminal() as (tui, console):
        console.expect("running", 20)


with Home() as home:
    counting_guest(home.path("counter"))
    vnc, forward = free_port(), free_port()

    def create(name, *more):
        home.vmdeck("create", name, "--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software",
                    "--disk", "1MiB", *more)

    with case("kill -9 of the TUI: the guest keeps counting, the next TUI finds it"):
        create("one", "--vnc", "127.0.0.1:%d" % vnc, "--forward", "127.0.0.1:%d:80" % forward)
        without_tui(home)
    with case("another VM starts"):
        create("two", "--vnc", "off")
        home.vmdeck("start", "two")
    with case("kill -9 of vnc: the guest keeps counting, viewers can come back"):
        helper(home, "vnc", lambda: vnc_greets(vnc))
    with case("kill -9 of net: the guest keeps counting, forwards come back"):
        helper(home, "net", lambda: forward_listens(forward))
    with case("kill -9 of vnc many times over"):
        for _ in range(4):
            helper(home, "vnc", lambda: vnc_greets(vnc))
    with case("kill -9 of vm: crashed, nothing else touched, starts again"):
        crash(home, "vm", pids(home, "one")["vm"], r"vm process killed by signal 9")
    with case("kill -9 of the supervisor: crashed, no process left, starts again"):
        crash(home, "supervisor", pids(home, "one")["supervisor"], r"the supervisor was killed")
    with case("a stopped supervisor can be killed"):
        os.kill(pids(home, "one")["supervisor"], signal.SIGSTOP)
        home.vmdeck("kill", "-y", "one")
        if state(home, "one") not in ("off", "crashed"):
            raise Failure(state(home, "one"))
    with case("SIGTERM to the supervisor, of a guest that does not answer, and once more ends the VM in order"):
        home.vmdeck("start", "one")
        supervisor = pids(home, "one")["supervisor"]
        os.kill(supervisor, signal.SIGTERM)
        wait_until("the button", lambda: "pressing the power button" in home.vmdeck("logs", "one").stdout, 20)
        if state(home, "one") != "running":
            raise Failure(state(home, "one"))
        os.kill(supervisor, signal.SIGTERM)
        wait_until("off", lambda: state(home, "one") == "off", 20)
finish()
