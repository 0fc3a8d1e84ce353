/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A machine without a CPU for device tests: bus, 16 MiB of RAM, a PCI bus and a virtual clock. What
 * leaves the devices (interrupt lines, MSIs, requests) is recorded. Two of them may live at once. */
#ifndef TESTS_LIB_DEVTEST_H
#define TESTS_LIB_DEVTEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "vmm/dev/dev.h"

#define DT_RAM_SIZE (16 * MIB)

#define DT_DOORBELLS 8
#define DT_IRQFDS    8

struct devtest {
    struct mem *mem;
    struct bus *bus;
    struct pci_bus *pci;
    struct clock *clock;
    struct dev_env env;

    int gsi[GSI_COUNT];             /* level now */
    unsigned gsi_rises[GSI_COUNT];  /* times it went from 0 to 1 */
    int extint;                     /* output of the PIC */
    unsigned msi_count;
    uint64_t msi_address;           /* of the last one */
    uint32_t msi_data;
    unsigned request_count;
    enum machine_request request;   /* the last one */
    int request_value;
    bool accelerated; /* takes doorbells and irqfds, as KVM does; see dt_ring, dt_messages */
    struct {
        uint64_t address;
        int fd;
    } bells[DT_DOORBELLS];
    unsigned bell_count;
    struct {
        uint64_t address;
        uint32_t data;
        int fd;
    } irqfds[DT_IRQFDS];
    unsigned irqfd_count;
    struct {
        uint64_t address;
        uint32_t data;
        bool masked;
    } route[GSI_COUNT];
};

/* Sets everything up; env.loop is NULL, set it before dt_add where a device needs one. */
void dt_init(struct devtest *t);
/* Devices are freed by the test before. */
void dt_fini(struct devtest *t);
/* A device ready for dev_set_*; realize it with dt_realize, which fails the test on an error. */
struct dev *dt_new(struct devtest *t, const char *cls);
void dt_realize(struct dev *d);
/* Both at once, for devices that need no properties. */
struct dev *dt_add(struct devtest *t, const char *cls);

static inline uint32_t dt_in(struct devtest *t, uint16_t port, unsigned size)
{
    return (uint32_t)bus_pio_read(t->bus, port, size);
}
static inline uint8_t dt_inb(struct devtest *t, uint16_t port)
{
    return (uint8_t)dt_in(t, port, 1);
}
static inline uint16_t dt_inw(struct devtest *t, uint16_t port)
{
    return (uint16_t)dt_in(t, port, 2);
}
static inline uint32_t dt_inl(struct devtest *t, uint16_t port)
{
    return dt_in(t, port, 4);
}
static inline void dt_outb(struct devtest *t, uint16_t port, uint8_t v)
{
    bus_pio_write(t->bus, port, v, 1);
}
static inline void dt_outw(struct devtest *t, uint16_t port, uint16_t v)
{
    bus_pio_write(t->bus, port, v, 2);
}
static inline void dt_outl(struct devtest *t, uint16_t port, uint32_t v)
{
    bus_pio_write(t->bus, port, v, 4);
}
static inline uint64_t dt_read(struct devtest *t, uint64_t gpa, unsigned size)
{
    return bus_mmio_read(t->bus, gpa, size);
}
static inline void dt_write(struct devtest *t, uint64_t gpa, uint64_t v, unsigned size)
{
    bus_mmio_write(t->bus, gpa, v, size);
}
/* A vCPU's write as KVM does it: to a doorbell, if there is one at gpa, else as dt_write. */
void dt_ring(struct devtest *t, uint64_t gpa, uint64_t v, unsigned size);
/* Messages so far, those sent by eventfd included; msi_address and msi_data tell the last one. */
unsigned dt_messages(struct devtest *t);
/* Configuration space of devfn, without a host bridge. */
static inline uint32_t dt_cfg_read(struct devtest *t, unsigned devfn, unsigned reg, unsigned size)
{
    return pci_config_read(t->pci, BIT(31) | devfn << 8 | (reg & 0xfc), reg & 3, size);
}
static inline void dt_cfg_write(struct devtest *t, unsigned devfn, unsigned reg, uint32_t v,
                                unsigned size)
{
    pci_config_write(t->pci, BIT(31) | devfn << 8 | (reg & 0xfc), reg & 3, v, size);
}
/* Moves guest time, firing timers. */
static inline void dt_advance(struct devtest *t, int64_t ns)
{
    clock_advance(t->clock, ns);
}

#endif
