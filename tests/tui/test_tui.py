#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Screens, keys and dialogs of the terminal UI. Prints TAP."""
import os
import re
import stat
import string
import subprocess
import sys

from tuitest import FAKEDECK, VMDECK, Failure, Home, Screen, case, failed, wait_for

VM = """# %(name)s
version: 1
description: The %(name)s machine
cpus: 2
memory: 2GiB      # enough

disks:
  - id: disk0
    path: disks/disk0.raw
    size: 20GiB
networks:
  - forwards: ["2222:22"]
"""
RUNNING = {"FAKE_RUNNING": "web db:paused win11:crashed"}


def deck():
    home = Home()
    for name in ("db", "router", "web", "win11"):
        home.vm(name, VM % {"name": name})
    home.vm("bad", "memory: 8000\n")
    return home


def select(s, name):
    """Moves the cursor to a VM."""
    def current():
        m = re.search(r"^[▸>] . (\S+)", s.text(), re.M)
        return m and m.group(1)

    for _ in range(10):
        seen = wait_for(current, "nothing is selected")
        if seen == name:
            return
        s.keys("j")
        wait_for(lambda before=seen: current() not in (None, before), "the cursor does not move")
    raise Failure("no VM %s:\n%s" % (name, s.text()))


def open_list(home, **kw):
    kw.setdefault("env", RUNNING)
    s = Screen(home, **kw)
    s.expect(r"^[▸>] . ")
    return s


def test_list(home):
    with case("list at 80x24"), open_list(home) as s:
        select(s, "web")
        s.golden("list", r"net0 user fwd 2222")
        s.keys("j")
        s.golden("list-crashed", r"^ the vm process was killed")
    with case("list at 40x10"), open_list(home, size=(40, 10)) as s:
        select(s, "web")
        s.golden("list-40x10", r"web +running")
    with case("list in ASCII"), open_list(home, lang="C") as s:
        select(s, "web")
        s.golden("list-ascii", r"net0 user fwd 2222")
        if not s.text().isascii():
            raise Failure("not ASCII")
    with case("ASCII on request"), open_list(home, args=["--charset", "ascii"]) as s:
        select(s, "web")
        s.golden("list-ascii", r"net0 user fwd 2222")
    with case("list at 200x60"), open_list(home, size=(200, 60)) as s:
        select(s, "web")
        s.golden("list-200x60", r"net0 user fwd 2222")
    with case("no colour with NO_COLOR, --color never, TERM=vt100; selection and state are visible all the same"):
        for kw in ({"env": dict(RUNNING, NO_COLOR="1")}, {"args": ["--color", "never"]}, {"term": "vt100"}):
            with open_list(home, **kw) as s:
                select(s, "web")
                raw = s.text(colours=True)
                if re.search(r"\x1b\[([0-9]*;)*(3[0-8]|4[0-8]|9[0-7])[;m]", raw):
                    raise Failure("colours with %s:\n%r" % (kw, raw))
                if "\x1b[7m" not in raw:
                    raise Failure("no reverse video with %s:\n%r" % (kw, raw))
    with case("colours"), open_list(home) as s:
        if not re.search(r"\x1b\[[0-9;]*3[0-8]", s.text(colours=True)):
            raise Failure("no colours")
    for term in ("linux", "vt100", "xterm-256color", "screen"):
        with case("TERM=" + term), open_list(home, term=term) as s:
            s.expect(r"web +running")
    with case("empty deck"):
        empty = Home()
        with Screen(empty) as s:
            s.golden("empty", r"No VMs yet.*(\n.*)+no KVM")
            s.keys("s")
            s.expect("no VM is selected")
        empty.close()


def test_resize(home):
    with case("too small, and back"), open_list(home) as s:
        s.resize(30, 8)
        s.golden("too-small", "needs 40x10")
        s.keys("D", "K")  # nothing that is not seen
        s.resize(80, 24)
        s.expect("NAME +STATE")
        if "┌" in s.text():
            raise Failure("a dialog was opened blindly")
    with case("a form keeps its contents while the window changes"), open_list(home) as s:
        s.keys("n")
        s.expect("^ New VM")
        s.type("keeper")
        for size in ((40, 10), (120, 40), (30, 5), (60, 12)):
            s.resize(*size)
        s.expect("Name +keeper")


def test_navigation(home):
    with case("help, generated"), open_list(home) as s:
        s.keys("?")
        s.golden("help", "^VM list")
        s.keys("/")
        s.type("Ctrl-Alt")
        s.keys("Enter")
        s.expect("Send Ctrl-Alt-Delete")
        s.keys("q")
        s.expect(r"NAME +STATE")
    with case("action menu"), open_list(home) as s:
        select(s, "router")
        s.keys("x")
        s.golden("menu", "┌─ router")
        s.keys("q")
        s.gone("┌─")
        s.keys("x")
        s.expect("┌─ router")
        s.keys("s")
        s.expect("router started")
        s.expect(r"router +running")
    with case("filter"), open_list(home) as s:
        s.keys("/")
        s.type("we")
        s.expect(r"^[▸>] . web")
        s.gone(r"router")
        s.keys("Enter")
        s.expect("filter: we")
        s.keys("Escape")
        s.expect("router")
        s.keys("/")
        s.type("state:paus")
        s.expect(r"^[▸>] . db")
        s.keys("Escape")
        s.expect("router")
    with case("pages: log, host, viewer"), open_list(home) as s:
        os.makedirs(os.path.join(home.vms, "web", "log"))
        with open(os.path.join(home.vms, "web", "log", "vm.log"), "wb") as f:
            f.write(b"one\nred \x1b[31mtwo\xff\nthree\n")
        select(s, "web")
        s.keys("L")
        s.golden("log", "== vm.log")
        with open(os.path.join(home.vms, "web", "log", "vm.log"), "ab") as f:
            f.write(b"four\n")
        s.expect("^four")
        s.keys("q", "v")
        s.golden("viewer", "Viewer for web")
        s.keys("q", "H")
        s.expect("Acceleration +no KVM")
        s.keys("q")
        s.expect(r"NAME +STATE")


def test_power(home):
    with case("start, pause, resume, shut down"), open_list(home) as s:
        select(s, "router")
        s.keys("s")
        s.expect("router started")
        s.expect(r"router +running")
        s.keys("p")
        s.expect(r"router +paused")
        s.keys("s")
        s.expect(r"router +running")
        s.keys("o")
        s.expect(r"router +off")
        s.keys("o")
        s.expect("router is not running")
    with case("a failed start says what to do"):
        home.vm("broken", VM % {"name": "broken"})
        with open_list(home) as s:
            select(s, "broken")
            s.keys("s")
            s.golden("start-failed", "locked by process 41")
    with case("an operation under way is shown"), open_list(home, env=dict(RUNNING, FAKE_SLOW="1")) as s:
        select(s, "router")
        s.keys("s")
        s.expect(r"router +starting")
        s.keys("s")
        s.expect("router is starting")
        s.expect(r"router +running")
    with case("Enter while it starts opens the console"), open_list(home, env=dict(RUNNING, FAKE_SLOW="1")) as s:
        select(s, "router")
        s.keys("s", "Enter")
        s.expect("No screen|Connecting")
        s.expect("^login:")
    with case("an open menu follows the state"), open_list(home, env=dict(RUNNING, FAKE_SLOW="1")) as s:
        select(s, "router")
        s.keys("s", "x")
        s.expect("┌─ router")
        s.expect("router started")
        s.keys("p")
        s.expect(r"router +paused")


def test_danger(home):
    with case("Enter never confirms a power-off"), open_list(home) as s:
        select(s, "web")
        s.keys("K")
        s.golden("kill", "Power off web")
        s.keys("Enter")
        s.gone("Power off web")
        s.stays(r"web +running")
        s.keys("K")
        s.expect("Power off web")
        s.keys("Tab")
        s.keys("Enter")
        s.expect("Enter does not confirm")
        s.keys("Escape")
        s.gone("Power off web")
        s.stays(r"web +running")
    with case("y twice does"), open_list(home) as s:
        select(s, "web")
        s.keys("K")
        s.expect("Power off web")
        s.keys("y")
        s.expect("press y again")
        s.keys("y")
        s.expect(r"web +off")
    with case("keys typed before a question was on the screen are dropped"), open_list(home) as s:
        select(s, "web")
        s.type("Kyy")
        s.expect("Power off web")
        s.expect(r"web +running")
        s.keys("Escape")
    with case("a pasted text runs no commands"), open_list(home) as s:
        select(s, "web")
        s.paste("K\nyy\nqq\nD\nweb\n")
        s.keys("?")
        s.expect("^VM list")
        s.keys("q")
        s.stays(r"web +running")
    with case("deleting asks for the name"), open_list(home) as s:
        select(s, "router")
        s.keys("D")
        s.golden("delete", "Delete router")
        s.keys("Enter")
        s.expect("type router, or Esc")
        s.type("rout")
        s.keys("Enter")
        s.expect("type router, or Esc")
        s.type("er")
        s.keys("Enter")
        s.gone("Delete router")
        s.expect("router deleted")
        wait_for(lambda: not os.path.exists(os.path.join(home.vms, "router")), "the folder is still there")
    with case("a running VM cannot be deleted"), open_list(home) as s:
        select(s, "web")
        s.keys("D")
        s.expect("web is running: shut it down first")
    with case("no two keys lose anything"), open_list(home) as s:
        select(s, "web")
        for first, title in (("K", "Power off web"), ("R", "Reset web")):
            for second in [*string.ascii_letters, *string.digits, "Enter", "Space", "Tab", "Delete", "BSpace", "F10"]:
                s.keys(first)
                s.expect(title)
                s.keys(second)
                s.keys("Escape")
                s.gone(title)
        s.stays(r"web +running")
        if not os.path.exists(home.yaml("web")):
            raise Failure("vm.yaml is gone")


def move_to(s, label, key="Down"):
    """Moves to a field of a form."""
    for _ in range(60):
        before = s.cursor(), s.text()
        if before[1].split("\n")[before[0][1]].strip().startswith(label):
            return
        s.keys(key)
        wait_for(lambda seen=before: (s.cursor(), s.text()) != seen, "the cursor does not move")
    raise Failure("no field %s:\n%s" % (label, s.text()))


def choose(s, label, word, key="Down"):
    """Moves to a field and goes through its choices."""
    move_to(s, label, key)
    for _ in range(20):
        if re.search(r"%s +[◂<]? *%s\b" % (re.escape(label), word), s.text()):
            return
        before = s.text()
        s.keys("Space")
        wait_for(lambda seen=before: s.text() != seen, "the choice does not change")
    raise Failure("no choice %s:\n%s" % (word, s.text()))


def fill(s, label, text):
    """Moves down to a field and replaces its text."""
    move_to(s, label)
    s.keys("C-u")
    s.type(text)
    s.expect(r"%s +%s[ ▲▼]*$" % (re.escape(label), re.escape(text)) if text else re.escape(label) + "[ ▲▼]*$")


def test_create():
    home = Home()
    with case("create form"), Screen(home) as s:
        s.expect("No VMs yet")
        s.keys("n")
        s.golden("create", "^ New VM")
    with case("create form at 40x10"), Screen(home, size=(40, 10)) as s:
        s.expect("No VMs yet")
        s.keys("n")
        s.golden("create-40x10", "^ New VM")
    with case("mistakes are shown under their fields, nothing is lost"), Screen(home) as s:
        s.expect("No VMs yet")
        s.keys("n")
        s.expect("^ New VM")
        fill(s, "Name", "Web")
        fill(s, "Memory", "2000")
        fill(s, "Disk size", "4GB")
        s.keys("F10")
        s.golden("create-mistakes", "names are lower-case")
        s.keys("Escape")
        s.golden("discard", "Discard changes")
        s.keys("Enter")
        s.gone("Discard changes")
        s.expect("Name +Web")
        s.keys("Escape")
        s.expect("Discard changes")
        s.keys("y")
        s.expect("No VMs yet")
    with case("create writes vm.yaml"), Screen(home) as s:
        s.expect("No VMs yet")
        s.keys("n")
        s.expect("^ New VM")
        fill(s, "Name", "web")
        fill(s, "Memory", "2GiB")
        fill(s, "Disk size", "4GiB")
        fill(s, "Network ports", "2222:22")
        s.keys("F10")
        s.expect("web created")
        s.expect(r"^▸ ○ web +off")
        want = ("version: 1\nname: web\ncpus: 1\nmemory: 2GiB\ndisks:\n  - id: disk0\n    path: disks/disk0.raw\n"
                "    size: 4GiB\nnetworks:\n  - id: net0\n    mode: user\n    forwards:\n      - \"127.0.0.1:2222:22\"\n")
        got = home.read("web")
        if got.split("\n", 1)[1] != want:
            raise Failure(got)
    with case("a name that exists"), Screen(home) as s:
        s.expect("web")
        s.keys("n")
        s.expect("^ New VM")
        fill(s, "Name", "web")
        s.keys("F10")
        s.expect("a VM of this name exists")
    home.close()


def test_edit():
    home = deck()
    before = home.read("web")
    with case("edit form"), open_list(home) as s:
        select(s, "web")
        s.keys("e")
        s.golden("edit", "^ Edit web")
    with case("one changed field changes one line"), open_list(home) as s:
        select(s, "web")
        s.keys("e")
        s.expect("^ Edit web")
        fill(s, "Memory", "3GiB")
        s.keys("F10")
        s.expect("web saved; the running VM takes it at its next start")
        if home.read("web") != before.replace("2GiB ", "3GiB "):
            raise Failure(home.read("web"))
        with open(home.yaml("web") + ".bak", encoding="utf-8") as f:
            if f.read() != before:
                raise Failure("the backup differs")
    with case("a second disk, a forward less"), open_list(home) as s:
        select(s, "db")
        s.keys("e")
        s.expect("^ Edit db")
        fill(s, "Disk 1 image", "disks/more.raw")
        fill(s, "Disk 1 size", "1GiB")
        fill(s, "Network 0 ports", "")
        s.keys("F10")
        s.expect("db saved")
        want = (VM % {"name": "db"}).replace("    size: 20GiB\n", "    size: 20GiB\n  - path: disks/more.raw\n    size: 1GiB\n")
        want = want.replace('["2222:22"]', "null")
        if home.read("db") != want:
            raise Failure(home.read("db"))
    with case("an emptied image path removes the disk"), open_list(home) as s:
        select(s, "db")
        s.keys("e")
        s.expect("^ Edit db")
        fill(s, "Disk 0 image", "")
        s.keys("F10")
        s.expect("db saved")
        if "disk0.raw" in home.read("db") or "more.raw" not in home.read("db"):
            raise Failure(home.read("db"))
    with case("a second network card, and its removal"), open_list(home) as s:
        select(s, "win11")
        s.keys("e")
        s.expect("^ Edit win11")
        fill(s, "Network 1 ports", "80:80")
        s.keys("F10")
        s.expect("needs a card: see its mode")
        choose(s, "Network 1 mode", "user", "Up")
        s.keys("F10")
        s.expect("win11 saved")
        want = VM % {"name": "win11"} + "  - mode: user\n    forwards: [\"80:80\"]\n"
        if home.read("win11") != want:
            raise Failure(home.read("win11"))
        s.keys("e")
        s.expect("^ Edit win11")
        choose(s, "Network 1 mode", "absent")
        s.keys("F10")
        wait_for(lambda: home.read("win11") == VM % {"name": "win11"}, lambda: home.read("win11"))
    with case("a card besides the default one, and none at all"), open_list(home) as s:
        home.vm("plain", "version: 1\n")
        s.expect("plain")
        select(s, "plain")
        for card, mode, want in (("Network 1 mode", "none", "networks:\n  - mode: user\n  - mode: none\n"),
                                 ("Network 1 mode", "absent", "networks:\n  - mode: user\n"),
                                 ("Network 0 mode", "absent", "networks: []\n")):
            s.keys("e")
            s.expect("^ Edit plain")
            choose(s, card, mode)
            s.keys("F10")
            wait_for(lambda want=want: home.read("plain") == "version: 1\n" + want, lambda: home.read("plain"))
            s.expect("NAME +STATE")
    with case("a file that changed meanwhile is not overwritten"), open_list(home) as s:
        select(s, "router")
        s.keys("e")
        s.expect("^ Edit router")
        with open(home.yaml("router"), "a", encoding="utf-8") as f:
            f.write("# by someone else\n")
        fill(s, "Memory", "1GiB")
        s.keys("F10")
        s.expect("changed by someone else")
        s.expect("Memory +1GiB")
        if "by someone else" not in home.read("router"):
            raise Failure(home.read("router"))
    home.close()


def test_editor():
    home = deck()
    script = os.path.join(home.path, "editor")
    marker = os.path.join(home.path, "round")

    def editor(body):
        with open(script, "w", encoding="utf-8") as f:
            f.write("#!/bin/sh\n" + body)
        os.chmod(script, stat.S_IRWXU)

    env = dict(RUNNING, EDITOR=script + " --option")
    with case("$EDITOR: mistakes are shown, the second round is saved"), open_list(home, env=env) as s:
        # first round makes a mistake, second mends it
        editor('echo "$1 $2" >> %s; if grep -q 2Gib "$3"; then sed -i s/2Gib/4GiB/ "$3"; '
               'else sed -i "s/memory: 2GiB/memory: 2Gib0/; s/2Gib0/2Gib/; s/cpus: 2/cpus: two/" "$3"; '
               'sed -i "s/memory: 2Gib/memory: 2Gibx/" "$3"; fi\n' % marker)
        select(s, "router")
        s.keys("E")
        s.golden("editor-mistakes", "Mistakes in vm.yaml")
        editor('echo "$1 $2" >> %s; sed -i "s/2Gibx/4GiB/; s/cpus: two/cpus: 3/" "$3"\n' % marker)
        s.keys("y")
        s.expect("router saved")
        if "memory: 4GiB" not in home.read("router") or "cpus: 3" not in home.read("router"):
            raise Failure(home.read("router"))
        with open(marker, encoding="utf-8") as f:
            lines = f.read().split("\n")
        if lines[:2] != ["--option +1", "--option +4"]:
            raise Failure(lines)
    with case("$EDITOR: nothing changed, and a failing editor"), open_list(home, env=env) as s:
        editor("exit 0\n")
        select(s, "router")
        s.keys("E")
        s.expect("router: not changed")
        editor("exit 3\n")
        s.keys("E")
        s.expect("ended with status 3")
        if os.path.exists(os.path.join(home.vms, "router", ".vm.edit.yaml")):
            raise Failure("the draft was left behind")
    home.close()


def test_console(home):
    with case("console: screen, keys, escape"), open_list(home) as s:
        select(s, "web")
        s.keys("c")
        s.golden("console", "^login:")
        s.type("ls")
        s.keys("Enter", "C-c", "Up", "F2", "Escape")
        s.expect(r"login: ls<ret><ctrl-c><up><f2><esc>")
        s.keys("C-]", "d")
        s.expect(r"<ctrl-alt-delete>")
        s.keys("C-]", "q")
        s.expect(r"NAME +STATE")
        s.stays(r"web +running")
    with case("console: serial port"), open_list(home, env={"FAKE_RUNNING": "win11"}) as s:
        select(s, "win11")
        s.keys("Enter")
        s.expect("login:")
        s.keys("C-]", "f")
        s.golden("serial", "serial login:")
        s.type("root")
        s.keys("Enter")
        s.expect("serial login: root")
        s.keys("C-]", "p")
        s.golden("paste", "Text to type")
        s.type("typed text")
        s.keys("Enter")
        s.expect("^typed text")
        s.paste("pasted\ntext")
        s.expect("^typed textpasted\\ntext")
        s.keys("C-]", "?")
        s.golden("console-help", "Console, after")
        s.keys("q")
        s.expect("serial login: root")
        s.keys("C-]", ".")
        s.expect(r"NAME +STATE")
    with case("console at 40x10 follows the cursor"), open_list(home, size=(40, 10)) as s:
        select(s, "web")
        s.keys("c")
        s.golden("console-40x10", "login:")
        s.keys("C-]", "Down")
        s.keys("C-]", "Down")
        s.keys("C-]", "Down")
        s.keys("C-]", "Down")
        s.expect("last row of the guest")
    with case("console in ASCII"), open_list(home, lang="C") as s:
        select(s, "web")
        s.keys("c")
        s.golden("console-ascii", "login:")
    with case("console in graphics"), open_list(home, env=dict(RUNNING, FAKE_GRAPHICS="web")) as s:
        select(s, "web")
        s.keys("c")
        s.golden("console-graphics", "graphics, 1024x768")
    with case("console alone"), Screen(home, env=RUNNING, args=["console", "web"]) as s:
        s.golden("console", "^login:")
        s.type("ls")
        s.keys("Enter")
        s.expect(r"login: ls<ret>")
        s.keys("C-]", "?")
        s.expect("Console, after")
        s.keys("q", "C-]", "q")
        s.expect("Left the console; the VM goes on")
        s.expect("exit status 0\nicanon echo")
    with case("console alone of a VM that does not run"), Screen(home, args=["console", "web"]) as s:
        s.expect("The VM has ended")
        s.expect("exit status 0\nicanon echo")
    with case("console of a VM that ends"), open_list(home) as s:
        select(s, "web")
        s.keys("c")
        s.expect("^login:")
        s.keys("C-]", "q")
        s.expect(r"NAME +STATE")
        s.keys("o")
        s.expect(r"web +off")
        s.keys("c")
        s.expect("web is not running: start it first")


def test_leaving(home):
    with case("quitting says that VMs keep running and gives the terminal back"), open_list(home) as s:
        s.keys("q")
        s.expect("2 VMs keep running")
        s.expect("exit status 0\nicanon echo")
    for name, number in (("TERM", 0), ("HUP", 0), ("SEGV", 139), ("ABRT", 134)):
        with case("the terminal is given back after SIG" + name), open_list(home) as s:
            os.kill(s.pid(), getattr(__import__("signal"), "SIG" + name))
            s.expect("exit status %d" % number)
            s.expect("icanon echo")
    with case("without a terminal it says so"):
        env = dict(os.environ, **home.env())
        p = subprocess.run([FAKEDECK], env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
        if p.returncode != 2 or "not a terminal" not in p.stderr:
            raise Failure("%d %s" % (p.returncode, p.stderr))
    with case("a terminal that cannot move the cursor"), Screen(home, term="dumb") as s:
        s.expect('the terminal type "dumb" cannot move')
        s.expect("exit status 7")
    with case("an unknown terminal type"), Screen(home, term="nonsense") as s:
        s.expect('unknown terminal type "nonsense"')
        s.expect("exit status 7")


def test_hostile():
    home = Home()
    home.vm("evil", 'version: 1\ndescription: "a\\x1b[31mb\\u202ecd\\u0007\\u009b5m\\u200b"\n')
    home.vm("nice", 'version: 1\ndescription: "日本語 café"\n')
    with case("control characters of a file do not reach the terminal"), open_list(home, env={}) as s:
        s.expect(r"contains\s+the\s+control\s+character")
        raw = s.text(colours=True)
        if "\u202e" in raw or "\u009b" in raw or "\x07" in raw:
            raise Failure(repr(raw))
        s.keys("j")
        s.expect("日本語 café")
    home.close()


def test_real():
    """The same with the real client, no VM running."""
    home = Home()
    with case("real client: create, edit, delete"), Screen(home, program=VMDECK) as s:
        s.expect("No VMs yet")
        s.keys("n")
        s.expect("^ New VM")
        fill(s, "Name", "web")
        fill(s, "Disk size", "4MiB")
        s.keys("F10")
        s.expect("web created")
        size = os.stat(os.path.join(home.vms, "web/disks/disk0.raw")).st_size
        if size != 4 << 20:
            raise Failure("the disk has %d bytes" % size)
        s.expect(r"^▸ ○ web +off")
        s.keys("e")
        s.expect("^ Edit web")
        fill(s, "CPUs", "3")
        s.keys("F10")
        s.expect("web saved")
        s.expect("3 vCPUs")
        s.keys("D")
        s.expect("Delete web")
        s.type("web")
        s.keys("Enter")
        s.expect("No VMs yet")
        if os.path.exists(os.path.join(home.vms, "web")):
            raise Failure("the folder is still there")
    home.close()


def main():
    home = deck()
    test_list(home)
    test_resize(home)
    test_navigation(home)
    test_power(home)
    test_console(home)
    test_leaving(home)
    test_danger(home)
    home.close()
    test_create()
    test_edit()
    test_editor()
    test_hostile()
    test_real()
    return 1 if failed() else 0


if __name__ == "__main__":
    sys.exit(main())
