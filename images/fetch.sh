#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Fetches guest software from the distribution's packages into images/media, without root: packages are
# downloaded with a package state of our own and unpacked, never installed. Already there: nothing is done.
#   images/fetch.sh RECIPE...     recipes: linux busybox linux-i386 busybox-i386 grub memtest installer
set -eu
cd "$(dirname "$0")"
media=$PWD/media
state=$media/.apt
mkdir -p "$media"

die() { echo "images: $*" >&2; exit 1; }

command -v apt-get >/dev/null || die "this recipe needs a Debian-like host (apt-get); put the files into $media yourself"

apt() {
    apt-get -qq -o Dir::State="$state/state" -o Dir::State::status="$state/status" \
        -o Dir::Cache="$state/cache" -o APT::Architecture=amd64 -o APT::Architectures::=amd64 \
        -o APT::Architectures::=i386 -o APT::Sandbox::User=root -o Debug::NoLocking=1 "$@"
}

lists() {
    [ -e "$state/fresh" ] && return
    mkdir -p "$state/state/lists/partial" "$state/cache/archives/partial"
    : > "$state/status"
    echo "images: reading the package lists" >&2
    # one list of many may be out of step on a mirror; what is missing then shows at the download
    apt update 2>"$state/update.log" || echo "images: some package lists could not be read (see $state/update.log)" >&2
    : > "$state/fresh"
}

# unpack PACKAGE FOLDER
unpack() {
    lists
    echo "images: fetching $1" >&2
    tmp=$(mktemp -d "$media/.unpack.XXXXXX")
    (cd "$tmp" && apt download "$1") || { rm -rf "$tmp"; die "cannot download package $1"; }
    dpkg-deb -x "$tmp"/*.deb "$tmp/root"
    rm -rf "$2"
    mv "$tmp/root" "$2"
    rm -rf "$tmp"
}

# the package that a metapackage stands for today
resolve() {
    lists
    apt -s --no-install-recommends install "$1" 2>/dev/null |
        sed -n 's/^Inst \(linux-image-[0-9][^ ]*\) .*/\1/p' | head -n 1
}

# kernel METAPACKAGE FOLDER: vmlinuz, modules, version
kernel() {
    pkg=$(resolve "$1")
    [ -n "$pkg" ] || die "cannot find the kernel behind $1"
    unpack "$pkg" "$2"
    (cd "$2" && ln -s boot/vmlinuz-* vmlinuz)
}

recipe() {
    case $1 in
    linux) [ -e "$media/linux/vmlinuz" ] || kernel linux-image-cloud-amd64 "$media/linux" ;;
    linux-i386) [ -e "$media/linux-i386/vmlinuz" ] || kernel linux-image-686:i386 "$media/linux-i386" ;;
    busybox) [ -e "$media/busybox/bin/busybox" ] || unpack busybox-static "$media/busybox" ;;
    busybox-i386) [ -e "$media/busybox-i386/bin/busybox" ] || unpack busybox-static:i386 "$media/busybox-i386" ;;
    grub) [ -e "$media/grub/usr/lib/grub-rescue/grub-rescue-cdrom.iso" ] || unpack grub-rescue-pc "$media/grub" ;;
    memtest) [ -e "$media/memtest/boot/memtest86+x64.bin" ] || unpack memtest86+ "$media/memtest" ;;
    installer)
        [ -e "$media/installer/usr" ] || unpack debian-installer-12-netboot-amd64 "$media/installer"
        for kind in text gtk; do
            from=usr/lib/debian-installer/images/12/amd64/$kind/debian-installer/amd64
            mkdir -p "$media/installer/$kind"
            ln -sfn "../$from/linux" "$media/installer/$kind/linux"
            ln -sfn "../$from/initrd.gz" "$media/installer/$kind/initrd.gz"
        done
        ;;
    *) die "unknown recipe \"$1\": linux, linux-i386, busybox, busybox-i386, grub, memtest or installer" ;;
    esac
}

[ $# -gt 0 ] || die "name a recipe: linux, linux-i386, busybox, busybox-i386, grub, memtest or installer"
for r in "$@"; do
    recipe "$r"
done
