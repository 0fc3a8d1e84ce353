#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The control socket of a running VM: QMP's framing, commands, events, and clients that misbehave."""
import json
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ctltest import Control, counting_guest  # noqa: E402
from vmtest import Failure, Home, case, finish, wait_until  # noqa: E402


def expect_error(v, text, **fields):
    error = v.get("error", {})
    if text not in error.get("desc", "") or any(error.get(k.replace("_", "-")) != x for k, x in fields.items()):
        raise Failure(v)


def negotiation(home):
    with case("greeting, negotiation, then commands"):
        with Control(home, "c", negotiate=False) as c:
            if set(c.greeting["QMP"]) != {"version", "capabilities"}:
                raise Failure(c.greeting)
            expect_error(c.execute("query-status"), "capabilities negotiation", **{"class": "CommandNotFound"})
            c.call("qmp_capabilities")
            expect_error(c.execute("qmp_capabilities"), "already complete")
            if c.call("query-status") != {"status": "running", "running": True}:
                raise Failure("status")
            if c.execute("query-name")["id"] != 7 or c.call("query-name") != {"name": "c"}:
                raise Failure("name")
            names = {x["name"] for x in c.call("query-commands")}
            if not {"stop", "cont", "quit", "screendump", "send-key", "input-send-event", "x-serial"} <= names:
                raise Failure(names)
            if c.call("query-version")["package"].split()[0] != "vmdeck":
                raise Failure("version")
            cpus = c.call("query-cpus-fast")
            if len(cpus) != 1 or cpus[0]["thread-id"] <= 0:
                raise Failure(cpus)
            info = c.call("x-info")
            if info["accel"] != "software" or info["pids"]["vm"] <= 0 or info["memory"] != 32 << 20:
                raise Failure(info)
            if c.call("x-stats")["cpu-ns"] <= 0:
                raise Failure("no CPU time")


def run_state(home):
    with case("stop, cont and system_reset with their events, for every client"):
        with Control(home, "c") as a, Control(home, "c") as b:
            a.call("stop")
            if a.call("query-status") != {"status": "paused", "running": False}:
                raise Failure("not paused")
            b.event("STOP")
            a.call("stop")  # again
            a.call("cont")
            b.event("RESUME")
            a.call("system_reset")
            b.event("RESET")
            a.call("system_powerdown")
            b.event("POWERDOWN")


def bad_commands(home):
    with case("commands that make no sense are answered and change nothing"):
        with Control(home, "c") as c:
            expect_error(c.execute("no-such"), "has not been found", **{"class": "CommandNotFound"})
            expect_error(c.execute("send-key"), "parameter 'keys' is missing")
            expect_error(c.execute("send-key", keys=5), "must be an array")
            expect_error(c.execute("send-key", keys=["no-key"]), "unknown key")
            expect_error(c.execute("send-key", keys=["a"] * 99), "expected 1 to")
            expect_error(c.execute("stop", really=True), "parameter 'really' is unexpected")
            expect_error(c.execute("input-send-event", events=[1, 2]), "unknown event type")
            expect_error(c.execute("input-send-event", events=[{"type": "abs", "data": {"axis": "x", "value": -1}}]),
                         "value must be")
            expect_error(c.execute("screendump"), "absolute path")
            expect_error(c.execute("screendump", filename="relative.png"), "absolute path")
            expect_error(c.execute("screendump", filename="/x.ppm", format="ppm"), "must be png")
            expect_error(c.execute("screendump", filename=home.path("counter")), "File exists", x_code="exists")
            expect_error(c.execute("x-serial"), "needs a socket")
            for text, want in ((b"[]", "expected a JSON object"), (b"{", "invalid JSON"), (b"nonsense", "invalid JSON"),
                               (b'{"execute": 1}', '"execute" is missing'),
                               (b'{"a": 1, "a": 2}', "duplicate"),
                               (b'{"execute": "stop", "arguments": []}', "must be an object"),
                               (b'{"a": ' * 100 + b"1" + b"}" * 100, "nested deeper than 32"),
                               (b"[" * 500000, "nested deeper than 32"),
                               (b'{"execute": "\xff\xfe"}', "invalid JSON")):
                c.send(text + b"\n")
                expect_error(c.answer(), want)
            if c.call("query-status")["status"] != "running":
                raise Failure("changed")


def bad_clients(home):
    with case("a line without end closes its connection only"):
        with Control(home, "c") as good, Control(home, "c") as c:
            try:
                for _ in range(40):
                    c.send(b" " * 65536)
                wait_until("end of the connection", lambda: c.sock.recv(10) == b"", 10)
            except (BrokenPipeError, ConnectionResetError):
                pass
            good.call("query-status")
    with case("a NUL byte closes its connection only"):
        with Control(home, "c") as good, Control(home, "c") as c:
            c.send(b'{"execute": "stop"\0}\n')
            if c.sock.recv(100) != b"":
                raise Failure("still open")
            good.call("query-status")
    with case("16 clients at once; the next is told so"):
        def patient():  # connections of the cases above may not have been closed yet
            try:
                return Control(home, "c")
            except (Failure, OSError):
                return None

        clients = [wait_until("a connection", patient, 10) for _ in range(16)]
        try:
            v = Control(home, "c", negotiate=False).greeting
            expect_error(v, "too many control connections", x_code="limit")
        finally:
            for c in clients:
                c.sock.close()
        with wait_until("a connection", patient, 10) as c:
            c.call("query-status")
    with case("a client that never reads does not delay another"):
        with Control(home, "c") as lazy, Control(home, "c") as good:
            lazy.sock.settimeout(2)
            try:
                while True:
                    lazy.send(b'{"execute": "query-commands"}\n' * 200)
            except (socket.timeout, BrokenPipeError, ConnectionResetError):
                pass
            good.call("query-status")
    with case("descriptors that no command wants are closed"):
        with Control(home, "c") as c:
            pid = c.call("x-info")["pids"]["supervisor"]
            before = len(os.listdir("/proc/%d/fd" % pid))
            r, w = os.pipe()
            for _ in range(50):
                c.execute("query-status", fds=[r, w, r])
            os.close(r)
            os.close(w)
            if len(os.listdir("/proc/%d/fd" % pid)) != before:
                raise Failure("descriptors leak")
    with case("commands sent at once are all answered in order"):
        with Control(home, "c") as c:
            c.send(b"".join(b'{"execute": "x-stats", "id": %d}\n' % i for i in range(100)))
            ids = [c.answer()["id"] for _ in range(100)]
            if ids != list(range(100)):
                raise Failure(ids)


def screen(home):
    with case("screendump writes a new PNG, by name and by descriptor"):
        with Control(home, "c") as c:
            path = home.path("by-name.png")
            c.call("screendump", filename=path)
            other = os.open(home.path("by-fd.png"), os.O_CREAT | os.O_WRONLY, 0o600)
            c.call("screendump", fds=[other])
            os.close(other)
            for p in (path, home.path("by-fd.png")):
                with open(p, "rb") as f:
                    if f.read(8) != b"\x89PNG\r\n\x1a\n":
                        raise Failure(p)
            v = c.call("x-text-screen")
            if v["mode"] != "text" or (v["cols"], v["rows"]) != (80, 25) or "cells" not in v:
                raise Failure(v)
            if "cells" in c.call("x-text-screen", since=v["frame"]):
                raise Failure("cells though nothing changed")
    with case("vmdeck screenshot: text, file and standard output"):
        home.wait_screen("c", r"^counting", 10)
        png = home.vmdeck("screenshot", "c", "-o", "-", text=False).stdout
        if png[:8] != b"\x89PNG\r\n\x1a\n" or struct.unpack(">II", png[16:24]) != (720, 400):
            raise Failure(png[:30])
        home.vmdeck("screenshot", "c", "-o", home.path("s.png"))
        if open(home.path("s.png"), "rb").read()[:4] != b"\x89PNG" or os.path.exists(home.path("s.png.part")):
            raise Failure("s.png")


def keys(home):
    with case("send-key and type reach the end, wrong names are told"):
        home.vmdeck("send-key", "c", "ctrl-alt-delete", "f12", "ret")
        home.vmdeck("type", "c", "Hello, world")
        p = home.vmdeck("send-key", "c", "hyper-x", check=False)
        if p.returncode == 0 or "hyper" not in p.stderr:
            raise Failure(p.stderr)
        p = home.vmdeck("type", "--layout", "klingon", "c", "x", check=False)
        if p.returncode != 2 or "choose one of" not in p.stderr:
            raise Failure(p.stderr)


def serial(home):
    with case("two consoles at once, scrollback first"):
        with home.serial("c") as one:
            one.expect("abcdefghijklmnopqrstuvwxyz", 20)
            with home.serial("c") as two:
                two.expect("abcdefghijklmnopqrstuvwxyz", 20)
    with case("logs --serial is what COM1 said"):
        if "abcdefghijklmnopqrstuvwxyz" not in home.vmdeck("logs", "--serial", "c").stdout:
            raise Failure("not there")
    with case("logs has the start"):
        if "started: accel software" not in home.vmdeck("logs", "-n", "50", "c").stdout:
            raise Failure(home.vmdeck("logs", "c").stdout)


def files(home):
    with case("folder, sockets and logs are ours alone"):
        for path in (home.run_dir + "/vmdeck/c", home.path("data/vmdeck/vms/c")):
            if os.stat(path).st_mode & 0o77:
                raise Failure(path)
        for name in ("control.sock", "lock"):
            if os.stat(home.run_dir + "/vmdeck/c/" + name).st_mode & 0o177:
                raise Failure(name)
    with case("each process has its title and no descriptor too many"):
        with Control(home, "c") as c:
            info = c.call("x-info")
            for role in ("vm",):
                with open("/proc/%d/cmdline" % info["pids"][role], "rb") as f:
                    title = f.read().rstrip(b"\0").decode()
                if title != "vmdeck: c [%s]" % role:
                    raise Failure(title)


def ends(home):
    with case("quit ends the VM; its client hears SHUTDOWN; the list says off"):
        with Control(home, "c") as c:
            c.call("quit")
            c.event("SHUTDOWN")
        wait_until("off", lambda: '"off"' in home.vmdeck("ls", "--json").stdout, 10)
        with open(home.path("data/vmdeck/vms/c/state.json"), encoding="utf-8") as f:
            v = json.load(f)
        if (v["state"], v["reason"]) != ("off", "quit"):
            raise Failure(v)
        if os.path.exists(home.run_dir + "/vmdeck/c"):
            raise Failure("runtime folder is still there")


with Home() as home:
    counting_guest(home.path("counter"))
    with case("a VM starts"):
        home.vmdeck("create", "c", "--kernel", home.path("counter"), "--memory", "32MiB", "--accel", "software",
                    "--vnc", "off", "--no-net")
        home.vmdeck("start", "c")
        home.vmdeck("start", "c")  # again: nothing happens
    for part in (negotiation, run_state, bad_commands, bad_clients, screen, keys, serial, files, ends):
        part(home)
finish()
