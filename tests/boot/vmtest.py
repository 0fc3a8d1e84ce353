# SPDX-License-Identifier: GPL-2.0-or-later
"""What the boot tests share: a private home, consoles to expect on, TAP output.

Nothing here sleeps for a fixed time to let something happen: every wait is for a condition, with a limit."""
import contextlib
import fcntl
import http.server
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VMDECK = os.environ.get("VMDECK", os.path.join(ROOT, "build/rel/vmdeck"))
MEDIA = os.path.join(ROOT, "images/media")
# machines are noisy and tests share them: limits are generous, figures are measured elsewhere
PATIENCE = float(os.environ.get("VMTEST_PATIENCE", "1"))

_failed = False


class Failure(Exception):
    pass


def media(*names):
    path = os.path.join(MEDIA, *names)
    if not os.path.exists(path):
        raise Failure("%s is missing: run `make media`" % path)
    return path


def report(name, ok, detail="", skip=None):
    global _failed
    if skip:
        print("ok - %s # SKIP %s" % (name, skip))
    elif ok:
        print("ok - %s" % name)
    else:
        _failed = True
        for line in str(detail).splitlines()[-50:]:
            print("# %s" % line)
        print("not ok - %s" % name)
    sys.stdout.flush()


@contextlib.contextmanager
def case(name):
    """One TAP line: passes unless the body raises."""
    try:
        yield
    except (Failure, OSError, subprocess.SubprocessError) as e:
        report(name, False, e)
    else:
        report(name, True)


def end_now(proc):
    """Ends a `vmdeck run` whose guest may not answer the power button: the second signal does not ask."""
    for _ in range(50):
        proc.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            return proc.wait(0.2)
    os.killpg(proc.pid, signal.SIGKILL)
    return proc.wait()


def finish():
    sys.exit(1 if _failed else 0)


def wait_until(what, fn, seconds):
    """fn's first true value."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        value = fn()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure("%s: not within %d s" % (what, seconds))
        time.sleep(0.1)


class Console:
    """A byte stream to a guest: what was read, and waiting for text in it."""

    def __init__(self, read_fd, write_fd):
        self.read_fd, self.write_fd = read_fd, write_fd
        self.text = ""
        self.pos = 0
        self.eof = False

    def _read(self, timeout):
        ready, _, _ = select.select([self.read_fd], [], [], timeout)
        if ready:
            data = os.read(self.read_fd, 65536)
            if not data:
                self.eof = True
            self.text += data.decode("utf-8", "replace")

    def expect(self, pattern, seconds=60):
        """Waits for the regular expression after what was matched last; returns the match."""
        end = time.monotonic() + seconds * PATIENCE
        regex = re.compile(pattern)
        while True:
            m = regex.search(self.text, self.pos)
            if m:
                self.pos = m.end()
                return m
            if self.eof or time.monotonic() > end:
                raise Failure("no %r within %d s%s; the console's end:\n%s" % (
                    pattern, seconds, " (stream ended)" if self.eof else "", self.text[-3000:]))
            self._read(0.2)

    def send(self, text):
        os.write(self.write_fd, text.encode())

    def run(self, command, seconds=30, prompt="vm# "):
        """Types a command at the demo guest's prompt; returns its output."""
        mark = "done-%d" % int(time.monotonic() * 1000)
        self.send("%s; echo %s''=$?\n" % (command, mark))
        start = self.pos
        m = self.expect(mark + r"=(\d+)", seconds)
        out = self.text[start:m.start()]
        out = out.split("\n", 1)[1] if "\n" in out else out
        self.expect(re.escape(prompt), seconds)
        return int(m.group(1)), out.replace("\r", "")


class Home:
    """A private home with XDG folders below a temporary folder; the VMs in it end with it."""

    def __init__(self):
        os.makedirs(os.path.join(ROOT, "build/tmp"), exist_ok=True)
        self.dir = tempfile.mkdtemp(prefix="t", dir=os.path.join(ROOT, "build/tmp"))
        # the socket's path has at most 107 bytes: keep the runtime folder short
        self.run_dir = tempfile.mkdtemp(prefix="vmd")
        self.env = dict(os.environ, HOME=self.dir, XDG_DATA_HOME=self.dir + "/data",
                        XDG_CONFIG_HOME=self.dir + "/config", XDG_RUNTIME_DIR=self.run_dir,
                        XDG_STATE_HOME=self.dir + "/state", TERM="xterm-256color", LANG="C.UTF-8")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        try:
            out = subprocess.run([VMDECK, "ls", "-q"], env=self.env, capture_output=True, text=True,
                                 timeout=20)
            for name in out.stdout.split():
                subprocess.run([VMDECK, "kill", "-y", name], env=self.env, capture_output=True, timeout=20)
        except (OSError, subprocess.SubprocessError):
            pass
        shutil.rmtree(self.dir, ignore_errors=True)
        shutil.rmtree(self.run_dir, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.dir, *names)

    def vmdeck(self, *args, check=True, timeout=60, text=True, stdin=None):
        p = subprocess.run([VMDECK, *args], env=self.env, capture_output=True, text=text,
                           timeout=timeout * PATIENCE, input=stdin)
        if check and p.returncode != 0:
            raise Failure("vmdeck %s: status %d\n%s%s" % (" ".join(args), p.returncode, p.stdout, p.stderr))
        return p

    @contextlib.contextmanager
    def ephemeral(self, *args):
        """`vmdeck run --ephemeral --serial stdio ...`: yields (process, console)."""
        proc = subprocess.Popen([VMDECK, "run", "--ephemeral", "--serial", "stdio", *args], env=self.env,
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                stderr=open(self.path("stderr"), "wb"), start_new_session=True)
        try:
            yield proc, Console(proc.stdout.fileno(), proc.stdin.fileno())
        finally:
            if proc.poll() is None:
                end_now(proc)

    @contextlib.contextmanager
    def serial(self, name):
        """`vmdeck console --serial NAME`: yields a console."""
        proc = subprocess.Popen([VMDECK, "console", "--serial", name], env=self.env, stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            yield Console(proc.stdout.fileno(), proc.stdin.fileno())
        finally:
            proc.kill()
            proc.wait()

    @contextlib.contextmanager
    def terminal(self, *args):
        """`vmdeck ...` on a pseudo-terminal of 80x24: yields (process, console)."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
        proc = subprocess.Popen([VMDECK, *args], env=self.env, stdin=slave, stdout=slave, stderr=slave,
                                start_new_session=True)
        try:
            yield proc, Console(master, master)
        finally:
            proc.kill()
            proc.wait()
            os.close(slave)
            os.close(master)

    def screen(self, name):
        """The text screen, "" while there is none."""
        p = self.vmdeck("screenshot", name, "--text", check=False)
        return p.stdout if p.returncode == 0 else ""

    def wait_screen(self, name, pattern, seconds):
        regex = re.compile(pattern)
        last = [""]

        def look():
            last[0] = self.screen(name)
            return regex.search(last[0])

        try:
            return wait_until("screen of %s showing %r" % (name, pattern), look, seconds)
        except Failure as e:
            raise Failure("%s; the screen:\n%s" % (e, last[0])) from None


def vnc_address(home, name):
    """Host and port of the VM's VNC server."""
    m = re.search(r"(\d+\.\d+\.\d+\.\d+):(\d+)", home.vmdeck("view", "--print", name).stdout)
    if not m:
        raise Failure("view --print names no address")
    return m.group(1), int(m.group(2))


def vnc_password(home, name):
    path = home.path("data/vmdeck/vms", name, "vnc.pass")
    with open(path, encoding="utf-8") as f:
        return f.read().strip()


VNCPROBE = os.path.join(ROOT, "build/rel/tests/tools/vncprobe")


def vncprobe(home, name, *args, timeout=60):
    """Runs the libvncclient viewer against the VM; its output."""
    host, port = vnc_address(home, name)
    p = subprocess.run([VNCPROBE, *args, "%s:%d" % (host, port)], timeout=timeout * PATIENCE, text=True,
                       capture_output=True, env=dict(os.environ, VNC_PASSWORD=vnc_password(home, name)))
    if p.returncode != 0:
        raise Failure("vncprobe: status %d\n%s%s" % (p.returncode, p.stdout, p.stderr))
    return p.stdout


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


@contextlib.contextmanager
def web_server(folder):
    """An HTTP server on loopback; yields its port."""
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kw):
            super().__init__(*args, directory=folder, **kw)

        def log_message(self, *args):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
