# SPDX-License-Identifier: GPL-2.0-or-later
"""What the benchmarks of I/O, boot, scaling and footprint share: a small guest, vmdeck and QEMU's TCG side by side.

Rounds are interleaved, so that a noisy machine spoils both sides alike; tables show medians and their ratio."""
import os
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VMDECK = os.environ.get("VMDECK", os.path.join(ROOT, "vmdeck"))
MEDIA = os.environ.get("MEDIA", os.path.join(ROOT, "images/media"))
VNCPROBE = os.path.join(ROOT, "build/rel/tests/tools/vncprobe")
QEMU = shutil.which("qemu-system-x86_64")
RUNS = int(os.environ.get("RUNS", "3"))
OUT = os.path.join(ROOT, "build/bench")
SIDES = ["vmdeck"] + (["tcg"] if QEMU else [])
MODULES = ["virtio", "virtio_ring", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk",
           "failover", "net_failover", "virtio_net"]


def die(text):
    print("bench: " + text, file=sys.stderr)
    sys.exit(1)


def find(what, *places):
    for p in places:
        if os.path.exists(p):
            return p
    die("%s is missing: run `make media`, or say MEDIA=FOLDER" % what)


def kernel():
    boot = os.path.join(MEDIA, "boot")
    others = sorted(os.listdir(boot)) if os.path.isdir(boot) else []
    return find("the guest kernel", os.path.join(MEDIA, "linux/vmlinuz"),
                *(os.path.join(boot, n) for n in others if n.startswith("vmlinuz")))


def cpio(entries):
    """A "newc" archive of (name, mode, data) with the console device."""
    out = bytearray()

    def add(name, mode, data=b"", major=0, minor=0):
        raw = name.encode() + b"\0"
        fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, major, minor, len(raw), 0]
        out.extend(b"070701" + b"".join(b"%08x" % f for f in fields) + raw)
        out.extend(b"\0" * (-len(out) % 4) + data)
        out.extend(b"\0" * (-len(out) % 4))

    add("dev", 0o40755)
    add("dev/console", 0o20600, major=5, minor=1)
    for e in entries:
        add(*e)
    add("TRAILER!!!", 0)
    return bytes(out)


def initrd():
    """The guest of guest/perf.c with the virtio modules of the kernel, made anew each time."""
    os.makedirs(OUT, exist_ok=True)
    program = os.path.join(OUT, "perf-init")
    source = os.path.join(ROOT, "tests/perf/guest/perf.c")
    subprocess.run(["gcc", "-std=gnu11", "-O2", "-static", "-o", program, source], check=True)
    found = {}
    for folder, _, names in os.walk(MEDIA, followlinks=True):
        if "/lib/modules/" in folder:
            found.update({n[:-3]: os.path.join(folder, n) for n in names if n.endswith(".ko")})
    order = [m for m in MODULES if m in found]
    entries = [("init", 0o100755, open(program, "rb").read()), ("modules", 0o40755),
               ("modules/order", 0o100644, ("\n".join(order) + "\n").encode())]
    entries += [("modules/" + m, 0o100644, open(found[m], "rb").read()) for m in order]
    path = os.path.join(OUT, "perf-initrd")
    with open(path, "wb") as f:
        f.write(cpio(entries))
    return path


def command(side, *, memory=512, cpus=1, boot=None, disk=None, net=False, vnc=None):
    """How to start the guest with its serial port on standard output. boot: (kernel, initrd, words); vnc: a
    port, with the password "benchvnc" in vmdeck."""
    if side == "vmdeck":
        cmd = [VMDECK, "run", "--ephemeral", "--accel", "software", "--memory", "%dMiB" % memory, "--cpus",
               str(cpus), "--serial", "stdio", "--vnc", "127.0.0.1:%d" % vnc if vnc else "off"]
        if vnc:
            password = os.path.join(OUT, "vnc.pass")
            with open(password, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as f:
                f.write("benchvnc\n")
            cmd += ["--set", "display.vnc.password_file=" + password]
        cmd += ["--disk", disk] if disk else []
        cmd += [] if net else ["--no-net"]
        if boot:
            cmd += ["--kernel", boot[0], "--initrd", boot[1], "--append", boot[2]]
    else:
        cmd = [QEMU, "-accel", "tcg,thread=multi", "-cpu", "max", "-m", str(memory), "-smp", str(cpus),
               *(("-vnc", "127.0.0.1:%d" % (vnc - 5900)) if vnc else ("-display", "none")), "-serial", "stdio", "-monitor", "none", "-no-reboot"]
        cmd += ["-drive", "file=%s,if=virtio,format=raw" % disk] if disk else []
        cmd += ["-nic", "user,model=virtio-net-pci"] if net else ["-nic", "none"]
        if boot:
            cmd += ["-kernel", boot[0], "-initrd", boot[1], "-append", boot[2]]
    return cmd


class Guest:
    """A machine that runs until its block of `with` ends."""

    def __init__(self, cmd):
        self.home = tempfile.mkdtemp(prefix="vmdeck-bench-")
        env = dict(os.environ, XDG_DATA_HOME=self.home, XDG_RUNTIME_DIR=self.home, XDG_CONFIG_HOME=self.home)
        self.log = open(os.path.join(OUT, "console.log"), "wb")
        self.start = time.monotonic()
        self.proc = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=env,
                                     start_new_session=True)
        os.set_blocking(self.proc.stdout.fileno(), False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.proc.stdout, selectors.EVENT_READ)
        self.text = b""

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for sig in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.proc.poll() is not None:
                break
            (os.killpg if sig == signal.SIGKILL else os.kill)(self.proc.pid, sig)
            try:
                self.proc.wait(1)
            except subprocess.TimeoutExpired:
                pass
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)

    def read(self, seconds):
        """What came within so many seconds; None at the end."""
        if not self.selector.select(seconds):
            return b""
        chunk = os.read(self.proc.stdout.fileno(), 65536)
        self.log.write(chunk)
        self.log.flush()
        self.text += chunk
        return chunk or None

    def expect(self, *words, limit=600):
        """Seconds since the start when the first of words appears."""
        end = time.monotonic() + limit
        while not any(w.encode() in self.text for w in words):
            if self.read(1.0) is None or time.monotonic() > end:
                die("%s did not show %s; see build/bench/console.log" % (self.proc.args[0], " or ".join(words)))
        return time.monotonic() - self.start

    def pids(self):
        """All processes of the machine, which are one session."""
        out = []
        for name in os.listdir("/proc"):
            if name.isdigit():
                try:
                    if os.getsid(int(name)) == self.proc.pid:
                        out.append(int(name))
                except OSError:
                    pass
        return out

    def cpu_seconds(self):
        total = 0
        for pid in self.pids():
            with open("/proc/%d/stat" % pid) as f:
                fields = f.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")


def results(cmd, limit=600):
    with Guest(cmd) as g:
        g.expect("GUEST-DONE", limit=limit)
    return results_of(g)


def results_of(g):
    """{name: value} of a guest's RESULT lines."""
    found = {}
    for line in g.text.decode("latin1").splitlines():
        words = line.split()
        if "FAIL" in words:
            print("bench: the guest says: " + line, file=sys.stderr)
        if "RESULT" in words:
            at = words.index("RESULT")
            found[words[at + 1]] = float(words[at + 2])
    return found


def picture(port):
    """Width, height and pixels (3 bytes each: red, green, blue) of the screen behind a VNC port, or None."""
    shot = os.path.join(OUT, "screen.ppm")
    p = subprocess.run([VNCPROBE, "--ppm", shot, "127.0.0.1:%d" % port], stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=dict(os.environ, VNC_PASSWORD="benchvnc"))
    if p.returncode != 0:
        return None
    with open(shot, "rb") as f:
        _, width, height, _, pixels = f.read().split(maxsplit=4)
    return int(width), int(height), pixels


def append(words):
    return "console=ttyS0 quiet panic=-1 perf=" + ",".join(words)


class Table:
    """Samples of both sides, and one line for each figure. better: "more" or "less"."""

    def __init__(self, title):
        self.title, self.rows, self.samples = title, [], {}
        if not QEMU:
            print("bench: no QEMU to compare with: install the package qemu-system-x86", file=sys.stderr)

    def row(self, key, text, goal):
        self.rows.append((key, text, goal))

    def add(self, side, key, value):
        self.samples.setdefault((side, key), []).append(value)
        print("%s %s %.3f" % (side, key, value), file=sys.stderr)

    def add_all(self, side, found):
        for key, value in found.items():
            self.add(side, key, value)

    def median(self, side, key):
        return statistics.median(self.samples[(side, key)]) if (side, key) in self.samples else None

    def show(self):
        def text(value):
            return "%12s" % ("-" if value is None else "%.2f" % value if value < 100 else "%.0f" % value)

        print("\n%-44s%12s%12s%9s   %s" % (self.title, "vmdeck", "TCG", "ratio", "goal"))
        for key, what, goal in self.rows:
            ours, tcg = self.median("vmdeck", key), self.median("tcg", key)
            ratio = "%9.2f" % (ours / tcg) if ours is not None and tcg else "%9s" % "-"
            print("%-44s%s%s%s   %s" % (what, text(ours), text(tcg), ratio, goal))
        sys.stdout.flush()
