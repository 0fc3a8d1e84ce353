# SPDX-License-Identifier: GPL-2.0-or-later
"""Drives the terminal UI in a tmux of its own and compares its screens.

Every wait is for a condition with a limit. `UPDATE=1 tests/tui/test_tui.py` writes the golden screens anew; look at
the difference before you commit it."""
import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
FAKEDECK = os.environ.get("FAKEDECK", os.path.join(ROOT, "build/rel/tests/tui/fakedeck"))
VMDECK = os.environ.get("VMDECK", os.path.join(ROOT, "build/rel/vmdeck"))
GOLDEN = os.path.join(ROOT, "tests/tui/golden")
UPDATE = os.environ.get("UPDATE") == "1"
PATIENCE = 15 * float(os.environ.get("VMTEST_PATIENCE", "1"))

_failed = []


class Failure(Exception):
    pass


@contextlib.contextmanager
def case(name):
    """One TAP line: passes unless the body raises."""
    try:
        yield
    except (Failure, OSError, subprocess.SubprocessError) as e:
        for line in str(e).splitlines():
            print("# " + line)
        print("not ok - " + name, flush=True)
        _failed.append(name)
    else:
        print("ok - " + name, flush=True)


def failed():
    return bool(_failed)


def wait_for(condition, what, seconds=PATIENCE):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(what() if callable(what) else what)
        time.sleep(0.02)


class Home:
    """A private set of folders with VMs in it."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="tui", dir="/tmp")  # screens wrap paths: always the same length
        self.vms = os.path.join(self.path, "data/vmdeck/vms")
        os.makedirs(self.vms)
        os.makedirs(os.path.join(self.path, "run"), mode=0o700)

    def env(self):
        return {"HOME": self.path, "XDG_DATA_HOME": self.path + "/data", "XDG_STATE_HOME": self.path + "/state",
                "XDG_RUNTIME_DIR": self.path + "/run", "XDG_CONFIG_HOME": self.path + "/config"}

    def vm(self, name, text):
        os.makedirs(os.path.join(self.vms, name))
        with open(self.yaml(name), "w", encoding="utf-8") as f:
            f.write(text)

    def yaml(self, name):
        return os.path.join(self.vms, name, "vm.yaml")

    def read(self, name):
        with open(self.yaml(name), encoding="utf-8") as f:
            return f.read()

    def close(self):
        shutil.rmtree(self.path, ignore_errors=True)


class Screen:
    """A program in a terminal of a given size."""

    count = 0

    def __init__(self, home, size=(80, 24), program=None, args=(), env=None, term="tmux-256color", lang="C.UTF-8"):
        Screen.count += 1
        self.home = home
        self.socket = os.path.join(home.path, "tmux%d" % Screen.count)
        full = dict(os.environ, **home.env())
        for name in ("NO_COLOR", "LC_ALL", "EDITOR", "VISUAL", "TMUX"):
            full.pop(name, None)
        full.update(env or {})
        inner = ["env", "TERM=" + term, "LANG=" + lang, program or FAKEDECK, *args]
        # the exit status stays on the screen, and the terminal's modes can be asked for
        script = '"$@"; echo "exit status $?"; stty -a | grep -o -e "-\\?icanon" -e "-\\?echo " | tr "\\n" " "; exec cat'
        self.tmux("-u", "-f", "/dev/null", "new-session", "-d", "-x", str(size[0]), "-y", str(size[1]), "--", "sh", "-c", script,
                  "sh", *inner, env=full)

    def tmux(self, *args, env=None):
        p = subprocess.run(["tmux", "-S", self.socket, *args], capture_output=True, text=True, encoding="utf-8",
                           errors="replace", env=env, timeout=30, check=False)
        if p.returncode:
            raise Failure("tmux %s: %s" % (args[0], p.stderr.strip()))
        return p.stdout

    def close(self):
        with contextlib.suppress(Failure):
            self.tmux("kill-server")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()

    def text(self, colours=False):
        out = self.tmux("capture-pane", "-p", *(["-e"] if colours else []), "-t", "0")
        lines = [line.rstrip() for line in out.split("\n")]
        return "\n".join(lines).rstrip("\n") + "\n"

    def pid(self):
        """Of the program under test."""
        pane = self.tmux("display", "-p", "#{pane_pid}").strip()
        return int(subprocess.run(["pgrep", "-P", pane], capture_output=True, text=True, check=True).stdout.split()[0])

    def cursor(self):
        x, y = self.tmux("display", "-p", "#{cursor_x} #{cursor_y}").split()
        return int(x), int(y)

    def keys(self, *keys):
        """tmux names of keys, or single characters; one after the other."""
        self.tmux("send-keys", "-t", "0", *keys)

    def type(self, text):
        self.tmux("send-keys", "-t", "0", "-l", text)

    def paste(self, text):
        self.tmux("set-buffer", text)
        self.tmux("paste-buffer", "-p", "-t", "0")

    def resize(self, cols, rows):
        self.tmux("resize-window", "-x", str(cols), "-y", str(rows))

    def expect(self, pattern):
        """Waits until the regular expression is on the screen."""
        wait_for(lambda: re.search(pattern, self.text(), re.M),
                 lambda: "waited for /%s/, the screen is:\n%s" % (pattern, self.text()))

    def gone(self, pattern):
        wait_for(lambda: not re.search(pattern, self.text(), re.M),
                 lambda: "waited for /%s/ to go, the screen is:\n%s" % (pattern, self.text()))

    def stays(self, pattern):
        """On the screen, also after another key has been worked on (^L changes nothing)."""
        self.expect(pattern)
        self.keys("C-l")
        self.expect(pattern)

    def golden(self, name, pattern):
        """Waits for the pattern and then for the whole screen to be as recorded."""
        path = os.path.join(GOLDEN, name + ".txt")
        self.expect(pattern)
        if UPDATE:
            before = None
            while before != self.normal():
                before = self.normal()
                time.sleep(0.5)
            with open(path, "w", encoding="utf-8") as f:
                f.write(before)
            return
        with open(path, encoding="utf-8") as f:
            want = f.read()
        wait_for(lambda: self.normal() == want,
                 lambda: "screen %s differs\n--- expected\n%s--- got\n%s" % (name, want, self.normal()))

    def normal(self):
        """Without what differs between hosts."""
        text = self.text()
        text = text.replace(self.home.path, "/HOME")
        return re.sub(r"RAM (\S+)/\S+", r"RAM \1/32G", text)
