#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes a small initramfs for the demo guest and the tests: busybox, the virtio modules of the given kernel, a
# shell on the serial port and on the screen.
#   images/initramfs.sh OUT.cpio.gz KERNEL-FOLDER BUSYBOX-FOLDER
# The kernel folder is one of images/fetch.sh's. Guest command line words it knows:
#   net=off   no DHCP         quiet-shell   only the serial console
set -eu
[ $# -eq 3 ] || { echo "usage: $0 OUT KERNEL-FOLDER BUSYBOX-FOLDER" >&2; exit 2; }
out=$1 kernel=$2 busybox=$3
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root/bin" "$root/etc/udhcpc" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/root" \
    "$root/lib/modules" "$root/var/run"
cp "$busybox/bin/busybox" "$root/bin/busybox"
ln -s bin/busybox "$root/init"
ln -s bin "$root/sbin"

# in the order of their dependencies
for m in virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk failover \
    net_failover virtio_net rng-core virtio-rng evdev button virtio_input; do
    file=$(find "$kernel/lib/modules" -name "$m.ko" | head -n 1)
    [ -n "$file" ] || continue
    cp "$file" "$root/lib/modules/"
    echo "$m" >> "$root/etc/modules"
done

cat > "$root/etc/inittab" <<'EOF'
::sysinit:/etc/rc
ttyS0::respawn:/bin/busybox sh -l
tty1::respawn:/bin/busybox sh -l
::ctrlaltdel:/bin/busybox poweroff
EOF
cat > "$root/etc/profile" <<'EOF'
export PATH=/bin HOME=/root PS1='vm# '
cd
EOF
cat > "$root/etc/rc" <<'EOF'
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t devtmpfs none /dev 2>/dev/null
mount -t proc none /proc
mount -t sysfs none /sys
while read -r m; do insmod "/lib/modules/$m.ko" 2>/dev/null; done < /etc/modules
hostname vm
ip link set lo up
acpid -l /dev/null 2>/dev/null
if [ -e /sys/class/net/eth0 ] && ! grep -q net=off /proc/cmdline; then
    ip link set eth0 up
    udhcpc -i eth0 -s /etc/udhcpc/script -q -t 5 -n -b >/dev/null 2>&1 &
fi
echo
echo "Welcome to the vmdeck demo guest: Linux $(uname -r), $(nproc) CPU(s), $(awk '/MemTotal/ {print int($2/1024)}' /proc/meminfo) MiB."
echo "poweroff ends it."
echo
EOF
cat > "$root/etc/udhcpc/script" <<'EOF'
#!/bin/busybox sh
case $1 in
bound|renew)
    ip addr flush dev "$interface"
    ip addr add "$ip/${mask:-24}" dev "$interface"
    [ -n "$router" ] && ip route add default via "$router"
    for d in $dns; do echo "nameserver $d"; done > /etc/resolv.conf
    ;;
esac
EOF
mkdir -p "$root/etc/acpi/PWRF"
printf '#!/bin/busybox sh\npoweroff\n' > "$root/etc/acpi/PWRF/00000080"
chmod +x "$root/etc/rc" "$root/etc/udhcpc/script" "$root/etc/acpi/PWRF/00000080"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 | gzip -1) > "$out.tmp"
mv "$out.tmp" "$out"
