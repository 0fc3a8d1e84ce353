#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes a raw disk with a small Debian 12: systemd, the cloud kernel and its initramfs, GRUB for BIOS in the MBR, a
# login prompt on the screen and on the serial port; root has no password.
#   images/debian.sh OUT.raw [MIRROR]
# Needs mmdebstrap and e2fsprogs. Not as root, it needs user namespaces, as mmdebstrap then does.
set -eu
[ $# -ge 1 ] || { echo "usage: $0 OUT.raw [MIRROR]" >&2; exit 2; }
out=$1 mirror=${2:-}
for tool in mmdebstrap mke2fs; do
    PATH=$PATH:/usr/sbin command -v $tool >/dev/null || { echo "images: $tool is missing" >&2; exit 1; }
done
[ "$(id -u)" = 0 ] || exec unshare --map-auto --map-root-user "$0" "$@"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

mmdebstrap --variant=minbase \
    --include=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,udev,dbus,login,kmod,iproute2,e2fsprogs,grub-pc-bin,grub-common \
    bookworm "$root" $mirror
echo debian > "$root/etc/hostname"
echo "/dev/vda1 / ext4 defaults 0 1" > "$root/etc/fstab"
sed -i 's/^root:[^:]*:/root::/' "$root/etc/shadow"
mkdir -p "$root/boot/grub"
cat > "$root/boot/grub/grub.cfg" <<'CFG'
set timeout=0
linux /vmlinuz root=/dev/vda1 ro console=tty0 console=ttyS0,115200
initrd /initrd.img
boot
CFG
chroot "$root" grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /boot/grub/core.img \
    biosdisk part_msdos ext2 normal linux configfile
rm -rf "$root/var/cache/apt/archives" "$root/var/lib/apt/lists"

# MBR, GRUB's core behind it where its first sector looks for the rest, and one partition from 1 MiB
sectors=$((1024 * 2048))
head -c 440 "$root/usr/lib/grub/i386-pc/boot.img" > "$work/mbr"
le32() { printf "\\$(printf %o $(($1 & 255)))\\$(printf %o $(($1 >> 8 & 255)))\\$(printf %o $(($1 >> 16 & 255)))\\$(printf %o $(($1 >> 24 & 255)))"; }
{
    cat "$work/mbr"
    printf 'vmdk\0\0'                             # disk signature
    printf '\200\376\377\377\203\376\377\377'     # active, CHS out of reach, Linux
    le32 2048
    le32 "$sectors"
    head -c 48 /dev/zero
    printf '\125\252'
    cat "$root/boot/grub/core.img"
} > "$out"
PATH=$PATH:/usr/sbin mke2fs -q -t ext4 -d "$root" -L root -E offset=$((2048 * 512)) "$out" $((sectors / 2))k
