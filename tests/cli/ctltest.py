# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of the command line share: a guest that counts on COM1, and a raw control connection."""
import array
import json
import os
import socket
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "boot"))
from vmtest import Failure, wait_until  # noqa: E402

LOAD = 0x100000


def counting_guest(path):
    """A multiboot image of address fields: writes abc...zabc... to COM1 for ever and "counting" to the text screen; the
    byte 'e' on COM1 makes it write 5 to the exit port."""
    code = bytes.fromhex(
        "be 00000000"         # mov esi, text           (patched)
        "bf 00800b00"         # mov edi, 0xb8000
        "b9 08000000"         # mov ecx, 8
        "b4 07"               # mov ah, 7
        "ac 66ab e2fb"        # 1: lodsb; stosw; loop 1
        "b3 61"               # mov bl, 'a'
        "66bafd03 ec"         # next: mov dx, 0x3fd; in al, dx
        "a801 740d"           # test al, 1; jz send
        "66baf803 ec"         # mov dx, 0x3f8; in al, dx
        "3c65 7504"           # cmp al, 'e'; jne send
        "b005 e6f4"           # mov al, 5; out 0xf4, al
        "66bafd03 ec"         # send: mov dx, 0x3fd; in al, dx
        "a820 74f7"           # test al, 0x20; jz send
        "66baf803 88d8 ee"    # mov dx, 0x3f8; mov al, bl; out dx, al
        "fec3 80fb7b 7502"    # inc bl; cmp bl, 'z' + 1; jne 2
        "b361"                # mov bl, 'a'
        "b9 40420f00"         # 2: mov ecx, 1000000
        "49 75fd"             # 3: dec ecx; jnz 3
        "ebc5".replace(" ", ""))
    header = struct.pack("<III", 0x1BADB002, 0x10000, -(0x1BADB002 + 0x10000) & 0xFFFFFFFF)
    start = LOAD + 32
    text = start + len(code)
    code = code[:1] + struct.pack("<I", text) + code[5:]
    # the jump at the end goes back to `next`
    next_at = code.index(bytes.fromhex("66bafd03ec a801".replace(" ", "")))
    code = code[:-1] + struct.pack("b", next_at - len(code))
    body = code + b"counting"
    end = start + len(body)
    header += struct.pack("<IIIII", LOAD, LOAD, end, end, start)
    with open(path, "wb") as f:
        f.write(header + body)


def counts(before, letters, wrapped=True):
    """True when the letters go on where `before` ended, none lost."""
    want = before
    for c in letters:
        want = "a" if want == "z" else chr(ord(want) + 1)
        if c != want:
            return False
    return wrapped


class Control:
    """A connection to a VM's control socket."""

    def __init__(self, home, name, negotiate=True):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(os.path.join(home.run_dir, "vmdeck", name, "control.sock"))
        self.data = b""
        self.events = []
        self.greeting = self.read()
        if negotiate:
            self.call("qmp_capabilities")

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.sock.close()

    def read(self):
        while b"\n" not in self.data:
            more = self.sock.recv(65536)
            if not more:
                raise Failure("control connection closed")
            self.data += more
        line, self.data = self.data.split(b"\n", 1)
        return json.loads(line)

    def send(self, data, fds=()):
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sent = self.sock.sendmsg([data], ancillary)
        self.sock.sendall(data[sent:])

    def answer(self):
        while True:
            v = self.read()
            if "event" not in v:
                return v
            self.events.append(v)

    def execute(self, command, fds=(), **args):
        message = {"execute": command, "id": 7}
        if args:
            message["arguments"] = {k.replace("_", "-"): v for k, v in args.items()}
        self.send(json.dumps(message).encode() + b"\n", fds)
        return self.answer()

    def call(self, command, fds=(), **args):
        v = self.execute(command, fds, **args)
        if "return" not in v:
            raise Failure("%s: %s" % (command, v))
        return v["return"]

    def event(self, name):
        def find():
            for v in self.events:
                if v["event"] == name:
                    return v
            self.events.append(self.read())
            return None
        return wait_until("event " + name, find, 20)
