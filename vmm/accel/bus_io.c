/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm/accel/bus_io.h"

static uint64_t pio_read(void *bus, uint16_t port, unsigned size)
{
    return bus_pio_read(bus, port, size);
}

static void pio_write(void *bus, uint16_t port, uint64_t value, unsigned size)
{
    bus_pio_write(bus, port, value, size);
}

static uint64_t mmio_read(void *bus, uint64_t gpa, unsigned size)
{
    return bus_mmio_read(bus, gpa, size);
}

static void mmio_write(void *bus, uint64_t gpa, uint64_t value, unsigned size)
{
    bus_mmio_write(bus, gpa, value, size);
}

static uint8_t pic_ack(void *bus)
{
    return bus_pic_ack(bus);
}

static void ioapic_eoi(void *bus, uint8_t vector)
{
    bus_ioapic_eoi(bus, vector);
}

static bool ferr(void *bus, bool level)
{
    return bus_ferr(bus, level);
}

static void freeze(void *bus, bool frozen)
{
    if (frozen)
        bus_lock(bus);
    else
        bus_unlock(bus);
}

const struct cpu_io_ops accel_bus_io = {
    .pio_read = pio_read,
    .pio_write = pio_write,
    .mmio_read = mmio_read,
    .mmio_write = mmio_write,
    .pic_ack = pic_ack,
    .ioapic_eoi = ioapic_eoi,
    .ferr = ferr,
    .freeze = freeze,
};
