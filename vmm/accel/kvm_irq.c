/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages and doorbells. The GSI routing table has two parts: the pins of our IOAPIC, which sends its messages
 * by KVM_SIGNAL_MSI and is mirrored there only so that the kernel exits on EOI of level-triggered vectors; and
 * behind them one GSI for each irqfd. Machine lock, but for kvm_msi. */
#include <errno.h>
#include <string.h>

#include "vmm/accel/kvm_priv.h"
#include "vmm/base/log.h"

void kvm_irq_init(struct kvm *k)
{
    for (unsigned i = 0; i < KVM_IRQFDS; i++)
        k->irqfds[i] = -1;
}

void kvm_msi(struct accel *a, uint64_t address, uint32_t data)
{
    struct kvm_msi msi = {
        .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data};

    if (kvm_ioctl(kvm_of(a)->vm_fd, KVM_SIGNAL_MSI, &msi) < 0)
        log_guest("kvm", "message 0x%x to 0x%llx was not delivered: %s", data,
                  (unsigned long long)address, strerror(errno));
}

/* ---- routing ---- */

/* The kernel takes the table as a whole; irqfds that are there follow it. */
static bool set_route(struct kvm *k, unsigned gsi, const struct kvm_irq_routing_entry *new)
{
    struct {
        struct kvm_irq_routing hdr;
        struct kvm_irq_routing_entry entries[KVM_GSIS];
    } table = {.hdr = {.nr = 0}};

    if (memcmp(&k->routes[gsi], new, sizeof(*new)) == 0)
        return true;
    k->routes[gsi] = *new;
    for (unsigned i = 0; i < KVM_GSIS; i++)
        if (k->routes[i].type)
            table.entries[table.hdr.nr++] = k->routes[i];
    if (kvm_ioctl(k->vm_fd, KVM_SET_GSI_ROUTING, &table) < 0) {
        log_guest("kvm", "cannot set the routing of GSI %u: %s", gsi, strerror(errno));
        return false;
    }
    return true;
}

static bool route_message(struct kvm *k, unsigned gsi, uint64_t address, uint32_t data)
{
    struct kvm_irq_routing_entry r = {.gsi = gsi, .type = KVM_IRQ_ROUTING_MSI};

    r.u.msi.address_lo = (uint32_t)address;
    r.u.msi.address_hi = (uint32_t)(address >> 32);
    r.u.msi.data = data;
    return set_route(k, gsi, &r);
}

static void route_nothing(struct kvm *k, unsigned gsi)
{
    set_route(k, gsi, &(struct kvm_irq_routing_entry){0});
}

/* The kernel reads vector and trigger mode of the entries of the IOAPIC's pins from the routing
 * table to know which EOIs to report (kvm_scan_ioapic_routes). */
void kvm_ioapic_route(struct accel *a, unsigned pin, uint64_t address, uint32_t data, bool masked)
{
    struct kvm *k = kvm_of(a);

    if (pin >= GSI_COUNT)
        return;
    if (masked)
        route_nothing(k, pin);
    else
        route_message(k, pin, address, data);
}

/* ---- eventfds ---- */

bool kvm_ioeventfd(struct accel *a, bool pio, uint64_t address, unsigned size, int fd, bool add)
{
    struct kvm_ioeventfd io = {.addr = address, .len = size, .fd = fd};

    if (pio)
        io.flags |= KVM_IOEVENTFD_FLAG_PIO;
    if (!add)
        io.flags |= KVM_IOEVENTFD_FLAG_DEASSIGN;
    return kvm_ioctl(kvm_of(a)->vm_fd, KVM_IOEVENTFD, &io) == 0;
}

static bool find_irqfd(const struct kvm *k, int fd, unsigned *index)
{
    for (*index = 0; *index < KVM_IRQFDS; ++*index)
        if (k->irqfds[*index] == fd)
            return true;
    return false;
}

static bool connect_irqfd(struct kvm *k, int fd, unsigned gsi, bool on)
{
    struct kvm_irqfd irqfd = {.fd = (uint32_t)fd, .gsi = gsi,
                              .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN};

    return kvm_ioctl(k->vm_fd, KVM_IRQFD, &irqfd) == 0;
}

bool kvm_irqfd(struct accel *a, int fd, uint64_t address, uint32_t data, bool on)
{
    struct kvm *k = kvm_of(a);
    unsigned i;
    bool known = find_irqfd(k, fd, &i);

    if (on) {
        if (!known && !find_irqfd(k, -1, &i))
            return false;
        if (route_message(k, GSI_COUNT + i, address, data) &&
            (known || connect_irqfd(k, fd, GSI_COUNT + i, true))) {
            k->irqfds[i] = fd;
            return true;
        }
    }
    if (known)
        connect_irqfd(k, fd, GSI_COUNT + i, false);
    if (known || on)
        route_nothing(k, GSI_COUNT + i);
    if (known)
        k->irqfds[i] = -1;
    return !on;
}
