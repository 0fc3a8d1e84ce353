#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Second half of `make run`: registers the VM "demo" and opens vmdeck. Without a terminal on standard output it boots
# the demo headless instead, shows its console until a command typed into the guest has answered, writes a
# PNG of the screen and says how to connect a viewer.
set -eu
vmdeck=$(realpath "$1")
cd "$(dirname "$0")"
media=$PWD/media

if ! "$vmdeck" info demo >/dev/null 2>&1; then
    "$vmdeck" create demo --kernel "$media/linux/vmlinuz" --initrd "$media/demo-initramfs.gz" \
        --append "console=tty0 console=ttyS0" --memory 256MiB --cpus 1 --vnc auto
fi
if [ -t 1 ]; then
    exec "$vmdeck"
fi

started=no
finish() { [ $started = no ] || "$vmdeck" kill demo >/dev/null 2>&1 || true; }
trap finish EXIT
"$vmdeck" start demo
started=yes

fifo=$(mktemp -d)/in
mkfifo "$fifo"
log=$media/demo-console.log
: > "$log"
"$vmdeck" console --serial demo <"$fifo" >"$log" 2>/dev/null &
console=$!
exec 3>"$fifo"
wait_for() { # TEXT SECONDS
    n=0
    while ! grep -q "$1" "$log"; do
        n=$((n + 1))
        if [ $n -ge "$2" ]; then
            cat "$log"
            echo "demo: \"$1\" did not appear within $2 s" >&2
            return 1
        fi
        sleep 1
    done
}
ok=0
wait_for "vm# " 120 && printf 'echo the answer is $((6 * 7))\n' >&3 && wait_for "the answer is 42" 30 || ok=1
sed 's/\r$//' "$log"
echo
if [ $ok = 0 ]; then
    "$vmdeck" screenshot demo -o "$media/demo.png"
    echo "demo: screen written to $media/demo.png"
    "$vmdeck" view --print demo
fi
exec 3>&-
kill $console 2>/dev/null || true
rm -rf "$(dirname "$fifo")"
exit $ok
