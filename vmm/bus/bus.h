/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The system bus of one VM: port and memory I/O from vCPUs to devices, interrupt lines (GSIs), MSI,
 * doorbells (ioeventfd), and what devices ask of the machine (reset, power off).
 *
 * Locking: bus_pio_* and bus_mmio_* are called by vCPU threads with no lock held and take the machine
 * lock around the device's function, so that all device code of a VM is single-threaded; the loop and
 * the clock of the VM take the same lock around callbacks. Everything else here is called with the
 * machine lock held (or before the VM runs). */
#ifndef VMDECK_BUS_BUS_H
#define VMDECK_BUS_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/base/err.h"
#include "vmm/base/thread.h"
#include "vmm/bus/irq.h"
#include "vmm/mem/mem.h"

#define GSI_COUNT 24 /* IOAPIC pins; 0-15 also reach the PIC */

struct bus;
struct pio_region;

enum machine_request { MACHINE_RESET, MACHINE_POWEROFF, MACHINE_DEBUG_EXIT, MACHINE_PANIC };

/* What lies above the bus; set once by the VM, before there are devices. */
struct bus_host_ops {
    /* PIC output INTR to LINT0. */
    void (*extint)(void *opaque, int level);
    void (*msi)(void *opaque, uint64_t address, uint32_t data);
    /* The IOAPIC's message for a pin changed (KVM's split irqchip wants to know for EOI exits). */
    void (*ioapic_route)(void *opaque, unsigned pin, uint64_t address, uint32_t data, bool masked);
    /* value: exit status for MACHINE_DEBUG_EXIT. Takes effect after the current access. */
    void (*request)(void *opaque, enum machine_request req, int value);
    /* See bus_add_doorbell and bus_set_irqfd. */
    bool (*ioeventfd)(void *opaque, bool pio, uint64_t address, unsigned size, int fd, bool add);
    bool (*irqfd)(void *opaque, int fd, uint64_t address, uint32_t data, bool on);
};

struct bus *bus_new(struct mem *mem);
void bus_free(struct bus *bus);
void bus_set_host(struct bus *bus, const struct bus_host_ops *ops, void *opaque);
struct mem *bus_mem(struct bus *bus);
void bus_lock(struct bus *bus);
void bus_unlock(struct bus *bus);

/* ---- from the vCPUs ---- */

uint64_t bus_pio_read(struct bus *bus, uint16_t port, unsigned size);
void bus_pio_write(struct bus *bus, uint16_t port, uint64_t value, unsigned size);
uint64_t bus_mmio_read(struct bus *bus, uint64_t gpa, unsigned size);
void bus_mmio_write(struct bus *bus, uint64_t gpa, uint64_t value, unsigned size);
uint8_t bus_pic_ack(struct bus *bus);
void bus_ioapic_eoi(struct bus *bus, uint8_t vector);
/* FERR# of the first vCPU; returns IGNNE#. Where nothing is connected errors are ignored. */
bool bus_ferr(struct bus *bus, bool level);

/* ---- for devices ---- */

/* Access of 1, 2 or 4 bytes; wider than max_size is split, narrower than min_size is given to the
 * device as it is. Unclaimed ports read all ones. */
struct pio_ops {
    uint32_t (*read)(void *opaque, uint16_t offset, unsigned size);
    void (*write)(void *opaque, uint16_t offset, uint32_t value, unsigned size);
    unsigned max_size; /* 0: 4 */
};
struct pio_region *bus_add_pio(struct bus *bus, const char *name, uint16_t port, unsigned len,
                               const struct pio_ops *ops, void *opaque);
/* Moves, hides or shows (BARs). Later regions win where they overlap. */
void bus_pio_set(struct bus *bus, struct pio_region *r, uint16_t port, bool enabled);

/* Input n of the interrupt controllers; level is OR-ed by nobody: one driver per line, or the driver
 * counts. The returned line lives as long as the bus. */
const struct irq_line *bus_gsi(struct bus *bus, unsigned n);
/* Interrupt controllers connect themselves: called for each change of any GSI. */
void bus_connect_gsi(struct bus *bus, void (*set)(void *opaque, unsigned n, int level), void *opaque);
void bus_connect_pic(struct bus *bus, uint8_t (*ack)(void *opaque), void *opaque);
void bus_connect_ioapic(struct bus *bus, void (*eoi)(void *opaque, uint8_t vector), void *opaque);
void bus_connect_ferr(struct bus *bus, bool (*ferr)(void *opaque, bool level), void *opaque);
void bus_extint(struct bus *bus, int level);
void bus_msi(struct bus *bus, uint64_t address, uint32_t data);
void bus_ioapic_route(struct bus *bus, unsigned pin, uint64_t address, uint32_t data, bool masked);
void bus_request(struct bus *bus, enum machine_request req, int value);

/* Doorbell: asks the accelerator to signal fd (an eventfd) when a vCPU writes size bytes (0: any
 * number) to the address, instead of leaving the guest. False: it cannot. A write that reaches the bus all the
 * same, as all do with the software CPU and those of instructions that KVM does not execute itself, calls the
 * device's write op as ever: a device serves both ways. Delete with the same arguments. */
bool bus_add_doorbell(struct bus *bus, bool pio, uint64_t address, unsigned size, int fd);
void bus_del_doorbell(struct bus *bus, bool pio, uint64_t address, unsigned size, int fd);

/* Asks the accelerator to send the message whenever fd (an eventfd) is written; for an fd that it has, from now on
 * this message. False: it cannot, and has nothing to do with fd (any more); bus_msi works always. */
bool bus_set_irqfd(struct bus *bus, int fd, uint64_t address, uint32_t data);
/* Before fd is closed. */
void bus_clear_irqfd(struct bus *bus, int fd);

struct bus_stats {
    uint64_t pio_reads, pio_writes, mmio_reads, mmio_writes, unclaimed;
};
void bus_get_stats(struct bus *bus, struct bus_stats *out);

#endif
